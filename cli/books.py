"""`drawbreak books`: whether the ledger says what tickets, winners, payouts and claims say."""

from __future__ import annotations

import click
from sqlalchemy import text

from actions.books import check
from cli.here import resources_here


@click.group()
def books() -> None:
    """The double-entry ledger."""


@books.command("check")
def check_books() -> None:
    """Make every balance anew from what it stands for; each difference is a line, and the exit status 1.

    Works on one snapshot, and changes nothing: sales and settlements may go on meanwhile.
    """
    with resources_here() as res, res.sessions() as session:
        session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        session.execute(text("SET TRANSACTION READ ONLY"))
        differences = check(session)
    for difference in differences:
        click.echo(difference)
    if differences:
        raise SystemExit(1)
    click.echo("the books are right")
