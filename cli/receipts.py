"""`drawbreak check-receipt`: whether a receipt is ours, even if its ticket is in no store any more."""

from __future__ import annotations

import json
from datetime import datetime
from typing import IO

import click

from cli.here import resources_here
from rules.tickets import Line, Ticket, code_matches, ticket_number


@click.command("check-receipt")
@click.argument("files", type=click.File(), nargs=-1, required=True)
def check_receipt(files: tuple[IO[str], ...]) -> None:
    """Say whether each receipt in FILES (JSON, as the API gave it; - for standard input) was issued here, unaltered.

    The code is made from the ticket's content with the installation's key, so it proves a ticket that was lost with a
    server, too.
    """
    read = [_read(file) for file in files]
    with resources_here() as res:
        key = res.settings.code_key
        fine = [
            number == ticket_number(ticket.draw, ticket.serial) and code_matches(key, ticket, code)
            for ticket, number, code in read
        ]
    for (_, number, _), genuine in zip(read, fine, strict=True):
        click.echo(f"{number}: " + ("GENUINE" if genuine else "NOT OURS, or altered"))
    if not all(fine):
        raise SystemExit(1)


def _read(file: IO[str]) -> tuple[Ticket, str, str]:
    """(the ticket that the receipt tells of, its number, its code)."""
    try:
        body = json.load(file)
        lines = tuple(Line(line["play"], line["number"], line["stake"]) for line in body["lines"])
        accepted_ms = round(datetime.fromisoformat(body["accepted_at"]).timestamp() * 1000)
        ticket = Ticket(
            body["draw_id"], body["serial"], body["id"], body["agent_id"], accepted_ms, lines, body["available"]
        )
        ticket_number(ticket.draw, ticket.serial)  # raises where no ticket can have that place
        return ticket, str(body["number"]), str(body["code"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise click.ClickException(f"not a receipt: {error!r}") from error
