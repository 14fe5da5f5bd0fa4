"""`drawbreak draws`: what an operator does about draws beside the API."""

from __future__ import annotations

from datetime import datetime

import click

from actions.draws import cancel_date, resume
from actions.sealed import AlteredAfterSeal, check_seal
from cli.here import resources_here
from cli.texts import Reason
from rules.errors import Problem
from rules.games import GAMES


@click.group()
def draws() -> None:
    """Cancelled dates, draws that stopped, and seals."""


@draws.command("cancel-date")
@click.argument("game", type=click.Choice(list(GAMES)))
@click.argument("date", type=click.DateTime(["%Y-%m-%d"]))
@click.option("--reason", required=True, type=Reason())
def cancel(game: str, date: datetime, reason: str) -> None:
    """Keep the schedule from making GAME's draws on DATE. Draws made already are voided through the API."""
    with resources_here() as res:
        cancel_date(res, game, date.date(), reason)
    click.echo(f"no {game} draws will be made for {date:%Y-%m-%d}")


@draws.command("resume")
@click.argument("name")
def resume_draw(name: str) -> None:
    """Let a draw go on that stopped because journal and database differed. Mend the difference first."""
    with resources_here() as res:
        try:
            reason = resume(res, name)
        except Problem as problem:
            raise click.ClickException(problem.detail) from problem
    click.echo(f"{name} goes on; it had stopped because: {reason}" if reason else f"{name} had not stopped")


@draws.command("check-seal")
@click.argument("name")
def check(name: str) -> None:
    """Compute the root of a sealed draw from its tickets as they are stored now; ends with 1 if it is another one."""
    with resources_here() as res:
        try:
            root = check_seal(res, name)
        except (AlteredAfterSeal, Problem) as problem:
            raise click.ClickException(str(problem)) from problem
    click.echo(f"{name}: the stored tickets give the sealed root {root}")
