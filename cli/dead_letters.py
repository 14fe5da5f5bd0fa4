"""`drawbreak dead-letters`: records of the journal that the database refused."""

from __future__ import annotations

import json

import click
from rich.console import Console
from rich.table import Table

from actions.dead_letters import listed, one, replay
from cli.here import resources_here
from rules.errors import NotFound


@click.group("dead-letters")
def dead_letters() -> None:
    """Records of the journal that the database refused: kept, shown, replayed."""


@dead_letters.command("list")
@click.option("--all", "everything", is_flag=True, help="Also those that were replayed.")
def list_letters(everything: bool) -> None:
    """List dead letters, newest first."""
    with resources_here() as res:
        letters = listed(res, None if everything else "waiting")
    table = Table("id", "draw", "position", "status", "attempts", "last at", "reason")
    for letter in letters:
        keys = ("id", "draw_id", "position", "status", "attempts", "last_at", "reason")
        table.add_row(*(str(letter[key]) for key in keys))
    Console().print(table if letters else "no dead letters")


@dead_letters.command("show")
@click.argument("letter_id", type=int)
def show_letter(letter_id: int) -> None:
    """Show one dead letter with its record."""
    with resources_here() as res:
        try:
            click.echo(json.dumps(one(res, letter_id), indent=2, ensure_ascii=False))
        except NotFound as error:
            raise click.ClickException(f"there is no dead letter {letter_id}") from error


@dead_letters.command("replay")
@click.argument("letter_ids", type=int, nargs=-1, required=True)
def replay_letters(letter_ids: tuple[int, ...]) -> None:
    """Store records again, once the reason is gone; safe to repeat."""
    failed = False
    with resources_here() as res:
        for letter_id in sorted(letter_ids):
            try:
                outcome = replay(res, letter_id)
            except NotFound:
                click.echo(f"{letter_id}: there is no such dead letter")
                failed = True
                continue
            click.echo(f"{letter_id}: " + ("replayed" if outcome.replayed else f"still refused: {outcome.reason}"))
            failed = failed or not outcome.replayed
    if failed:
        raise SystemExit(1)
