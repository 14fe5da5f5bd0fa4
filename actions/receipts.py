"""The receipt: what a terminal holds. The same ticket always gives the same receipt, wherever it is read from."""

from __future__ import annotations

from typing import Any

from intake.gate import Held
from rules.tickets import Line, Ticket, instant, qr_text, stake, ticket_code, ticket_number


def hyphenated(ticket_id: str) -> str:
    """The canonical text of a uuid given as 32 hex digits."""
    h = ticket_id
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"


def ticket_of(draw: str, held: Held) -> Ticket:
    """The ticket that the gate holds, as the rules know it."""
    record = held.record
    return Ticket(
        draw,
        held.serial,
        hyphenated(record.id),
        record.agent_id,
        record.accepted_ms,
        record.lines,
        record.available,
    )


def line_body(game: str, line: Line) -> dict[str, Any]:
    """One line in an answer."""
    return {"game": game, "play": line.play, "number": line.number, "stake": line.stake}


def receipt(code_key: bytes, ticket: Ticket, status: str) -> dict[str, Any]:
    """The receipt of a ticket; money in centavos."""
    number = ticket_number(ticket.draw, ticket.serial)
    code = ticket_code(code_key, ticket)
    game = ticket.draw.partition("-")[0]
    return {
        "number": number,
        "draw_id": ticket.draw,
        "serial": ticket.serial,
        "id": ticket.id,
        "code": code,
        "agent_id": ticket.agent_id,
        "lines": [line_body(game, line) for line in ticket.lines],
        "stake": stake(ticket.lines),
        "accepted_at": instant(ticket.accepted_ms),
        "status": status,
        "qr": qr_text(number, code),
        "available": ticket.available,
    }
