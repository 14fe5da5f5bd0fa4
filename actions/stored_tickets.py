"""Tickets as PostgreSQL knows them, for draws that the gate no longer holds, with the state of their draw."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from models.draws import Draw
from models.settlement import prizes_of
from models.tickets import Ticket as StoredTicket
from models.tickets import Void, lines_of
from rules.tickets import Line, Ticket

UNSEALED = ("scheduled", "open", "closed")


def as_tickets(session: Session, draws: dict[int, Draw], rows: Sequence[StoredTicket]) -> list[Ticket]:
    """The stored rows as the rules know them, in their order."""
    lines = lines_of(session, rows)
    return [
        Ticket(
            draws[row.draw_id].name,
            row.serial,
            str(row.id),
            row.agent_id,
            round(row.accepted_at.timestamp() * 1000),
            tuple(Line(line.play, line.number, line.stake) for line in lines[row.draw_id, row.serial]),
            row.available,
        )
        for row in rows
    ]


def voided_serials(session: Session, draw_id: int, serials: Sequence[int]) -> set[int]:
    """Which of these tickets of the draw are voided in the database."""
    query = select(Void.ticket_serial).where(Void.draw_id == draw_id, Void.ticket_serial.in_(serials), Void.stake > 0)
    return {serial for serial in session.scalars(query) if serial is not None}


def statuses(session: Session, draw: Draw, serials: Sequence[int], voided: set[int]) -> dict[int, str]:
    """Each ticket's status by serial: its own void, else what became of the draw. Losing tickets are not stored."""
    prizes: dict[int, int] = {}
    if draw.status == "settled":
        prizes = prizes_of(session, draw.id, draw.result_version, serials)
    found = {}
    for serial in serials:
        if serial in voided:
            found[serial] = "voided"
        elif draw.status == "void":
            found[serial] = "refunded"
        elif draw.status == "settled":
            found[serial] = "won" if serial in prizes else "lost"
        else:
            found[serial] = "accepted"
    return found
