"""`drawbreak audit`: whether the audit log is what was written."""

from __future__ import annotations

from pathlib import Path

import click

from actions.audit_chain import heads_file, torn_lines
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
        kept = {path: path.read_text(errors="replace").splitlines() for path in files}
        lines = [line for lines in kept.values() for line in lines if line.strip()]
        with res.sessions() as session:
            head, findings = verify_chain(session, lines)
    torn = [(path, number) for path, lines_there in kept.items() for number in torn_lines(lines_there)]
    for path, number in torn:
        click.echo(f"{path}, line {number}: a head that was written in part; it says nothing", err=True)
    for finding in findings:
        click.echo(finding)
    if findings:
        raise SystemExit(1)
    click.echo(f"{head.seq} rows are chained as they were written; the head is {head.hash.hex()}")
    click.echo(f"{len(lines) - len(torn)} kept heads agree" if files else "there are no kept heads to compare with")
