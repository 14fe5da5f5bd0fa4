"""`drawbreak dead-letters`: what could not be done and waits for a person."""

from __future__ import annotations

import json
from typing import NoReturn

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from actions.dead_letters import discard, one, page, replay
from cli.here import resources_here
from cli.texts import Reason
from models.dead_letters import MESSAGE, RECORD, TASK, LetterFilter
from rules.errors import NotFound, Problem

ALL = "all"
_COLUMNS = ("id", "kind", "what", "status", "attempts", "last_at", "error")
_LIMIT = 50


@click.group("dead-letters")
def dead_letters() -> None:
    """Records that the database refused, tasks that failed, messages nobody understood: kept, shown, replayed."""


@dead_letters.command("list")
@click.option("--status", type=click.Choice(["waiting", "replayed", "annulled", "discarded", ALL]), default="waiting")
@click.option("--kind", type=click.Choice([RECORD, TASK, MESSAGE]), help="Only these.")
@click.option("--draw", help="Only the records of this draw.")
@click.option("--before", help="Only those with lower ids: the next page.")
def list_letters(status: str, kind: str | None, draw: str | None, before: str | None) -> None:
    """List dead letters, newest first."""
    wanted = LetterFilter(None if status == ALL else status, kind, draw)
    with resources_here() as res:
        try:
            letters = page(res, wanted, _LIMIT, before)
        except Problem as problem:
            _refused(problem)
    table = Table(*_COLUMNS)
    for letter in letters["items"]:
        what = letter["task"] or "?" if letter["draw_id"] is None else f"{letter['draw_id']} {letter['position']}"
        if letter["arguments"]:
            what += f" {json.dumps(letter['arguments'], ensure_ascii=False)}"
        # As Text: square brackets in a name or an error are no markup.
        table.add_row(*(Text(str(cell)) for cell in ({**letter, "what": what}[name] for name in _COLUMNS)))
    Console().print(table if letters["items"] else "no dead letters")
    if letters["next"] is not None:
        click.echo(f"there are more: --before {letters['next']}")


@dead_letters.command("show")
@click.argument("letter_id", type=click.IntRange(0))
def show_letter(letter_id: int) -> None:
    """Show one dead letter with all that is known of it."""
    with resources_here() as res:
        try:
            click.echo(json.dumps(one(res, letter_id), indent=2, ensure_ascii=False))
        except NotFound:
            _unknown(letter_id)


@dead_letters.command("replay")
@click.argument("letter_ids", type=click.IntRange(0), nargs=-1, required=True)
def replay_letters(letter_ids: tuple[int, ...]) -> None:
    """Store records again, or have tasks tried again, once the reason is gone; safe to repeat."""
    failed = False
    with resources_here() as res:
        for letter_id in sorted(letter_ids):
            try:
                done, why = replay(res, letter_id)
            except NotFound:
                done, why = False, "there is no such dead letter"
            except Problem as problem:
                done, why = False, problem.detail
            click.echo(f"{letter_id}: " + ("replayed" if done else f"not replayed: {why}"))
            failed = failed or not done
    if failed:
        raise SystemExit(1)


@dead_letters.command("discard")
@click.argument("letter_id", type=click.IntRange(0))
@click.option("--reason", required=True, type=Reason(), help="Kept with the letter and in the audit log.")
def discard_letter(letter_id: int, reason: str) -> None:
    """Give up a task or a message. A ticket's record is never discarded."""
    with resources_here() as res:
        try:
            discard(res, letter_id, reason)
        except NotFound:
            _unknown(letter_id)
        except Problem as problem:
            _refused(problem)
    click.echo(f"{letter_id}: discarded")


@dead_letters.command("annul")
@click.argument("letter_id", type=click.IntRange(0))
def annul_letter(letter_id: int) -> None:
    """Not here: two persons annul a ticket, each with a login of his own."""
    call = f"POST /v1/dead-letters/{letter_id}/annul"
    raise click.ClickException(f"two administrators annul a ticket by the API, both with the same reason: {call}")


def _unknown(letter_id: int) -> NoReturn:
    raise click.ClickException(f"there is no dead letter {letter_id}")


def _refused(problem: Problem) -> NoReturn:
    raise click.ClickException(problem.detail)
