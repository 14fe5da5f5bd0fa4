"""`drawbreak audit`: whether the audit log is what was written."""

from __future__ import annotations

from pathlib import Path

import click

from actions.audit_chain import heads_file
from actions.audit_chain import verify as verify_chain
from cli.here import resources_here


@click.group()
def audit() -> None:
    """The audit log and the chain of hashes over it."""


@audit.command()
@click.option("--heads", type=click.Path(exists=True, dir_okay=False, path_type=Path), multiple=True)
def verify(heads: tuple[Path, ...]) -> None:
    """Compute the whole chain anew and compare; exit 1 with what was found.

    --heads: files of kept heads, one "seq hash" a line; without it the one under VAR, if it is there.
    """
    with resources_here() as res:
        own = heads_file(res)
        files = heads or ((own,) if own.exists() else ())
        lines = [line for path in files for line in path.read_text().splitlines() if line.strip()]
        with res.sessions() as session:
            head, findings = verify_chain(session, lines)
    for finding in findings:
        click.echo(finding)
    if findings:
        raise SystemExit(1)
    click.echo(f"{head.seq} rows are chained as they were written; the head is {head.hash.hex()}")
    click.echo(f"{len(lines)} kept heads agree" if files else "there are no kept heads to compare with")
