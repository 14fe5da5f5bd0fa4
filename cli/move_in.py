"""`drawbreak import`: people, balances and unpaid winners of an older system."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from sqlalchemy.exc import DBAPIError, OperationalError

from actions.move_in import Outcome, move_in
from actions.moving_files import read_files
from cli.here import resources_here
from runtime.origin import Origin, origin, set_origin

_FILE = click.Path(exists=True, dir_okay=False, readable=True, path_type=Path)


@click.command("import")
@click.option("--users", type=_FILE, help="username, role, parent, …, password_hash")
@click.option("--balances", type=_FILE, help="username, balance; only with --users")
@click.option("--winners", type=_FILE, help="number, code, agent, prize, claim_until, note")
@click.option("--commit", is_flag=True, help="Write. Without it everything is tried and taken back.")
def import_(users: Path | None, balances: Path | None, winners: Path | None, commit: bool) -> None:
    """Move in from an older system: CSV files in UTF-8, money in pesos with two decimals; docs/moving-in.md.

    All or nothing: if anything is wrong, every finding is listed as file:line:column, nothing is written, and the exit
    code is 1.
    """
    if not (users or winners):
        raise click.UsageError("give --users or --winners")
    if balances and not users:
        raise click.UsageError("--balances are of people who move in: give --users, too")
    files = read_files(users, balances, winners)
    with resources_here() as res, _by_the_systems_user():
        try:
            outcome = move_in(res, files, commit=commit)
        except OperationalError as error:
            # The connection may have ended while the commit was on its way.
            unsure = "run it again, and it tells whether all was written or nothing"
            raise click.ClickException(f"{_words(error)}; {unsure}") from error
        except DBAPIError as error:
            raise click.ClickException(f"nothing was written: {_words(error)}") from error
    for finding in outcome.findings:
        click.echo(str(finding))
    if outcome.findings:
        raise click.ClickException(f"{len(outcome.findings)} findings; nothing was written")
    click.echo(_summary(outcome))
    click.echo("Written." if commit else "Nothing is wrong, and nothing was written: --commit does that.")


def _summary(outcome: Outcome) -> str:
    people = ", ".join(f"{count} {role}" for role, count in sorted(outcome.people.items())) or "nobody"
    return (
        f"people: {people}\n"
        f"balances: {_pesos(outcome.balances)}\n"
        f"winners: {outcome.winners}, prizes {_pesos(outcome.prizes)}"
    )


def _words(error: DBAPIError) -> str:
    """Only the first line: what follows shows the row that was refused, with its password hash."""
    diagnosis = getattr(error.orig, "diag", None)
    return getattr(diagnosis, "message_primary", None) or type(error.orig).__name__


def _pesos(centavos: int) -> str:
    whole, rest = divmod(abs(centavos), 100)
    return f"{'-' if centavos < 0 else ''}₱{whole:,}.{rest:02}"


@contextmanager
def _by_the_systems_user() -> Iterator[None]:
    """For the audit log: whoever is logged in on this machine."""
    before = origin()
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's user often has no name
        name = str(os.getuid())
    set_origin(Origin(actor=name))
    try:
        yield
    finally:
        set_origin(before)
