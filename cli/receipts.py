"""`drawbreak check-receipt`: whether a receipt is ours, even if its ticket is in no store any more."""

from __future__ import annotations

import json
from datetime import datetime
from typing import IO

import click

from cli.here import resources_here
from rules.tickets import Line, Ticket, code_matches, ticket_number


@click.command("check-receipt")
@click.argument("file", type=click.File())
def check_receipt(file: IO[str]) -> None:
    """Say whether the receipt in FILE (JSON, as the API gave it; - for standard input) was issued here, unaltered.

    The code is made from the ticket's content with the installation's key, so it proves a ticket that was lost with a
    server, too.
    """
    try:
        body = json.load(file)
        lines = tuple(Line(line["play"], line["number"], line["stake"]) for line in body["lines"])
        accepted_ms = round(datetime.fromisoformat(body["accepted_at"]).timestamp() * 1000)
        ticket = Ticket(
            body["draw_id"], body["serial"], body["id"], body["agent_id"], accepted_ms, lines, body["available"]
        )
        number, code = body["number"], str(body["code"])
        same_number = ticket_number(ticket.draw, ticket.serial) == number
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise click.ClickException(f"not a receipt: {error!r}") from error
    with resources_here() as res:
        genuine = same_number and code_matches(res.settings.code_key, ticket, code)
    click.echo(f"{number}: " + ("GENUINE" if genuine else "NOT OURS, or altered"))
    if not genuine:
        raise SystemExit(1)
