"""Tickets as PostgreSQL knows them, for draws that the gate no longer holds, with the state of their draw."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from actions.resources import Resources
from models.claims import payouts_of, pending_numbers
from models.draws import Draw
from models.settlement import prizes_of
from models.tickets import Ticket as StoredTicket
from models.tickets import Void, lines_of
from rules import claims
from rules.tickets import Line, Ticket


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


def claim_until(res: Resources, draw: Draw) -> datetime:
    """The instant from which the draw's prizes cannot be claimed any more."""
    return claims.claim_until(draw.draws_at, res.settings.claim_days)


def statuses(res: Resources, session: Session, draw: Draw, serials: Sequence[int], voided: set[int]) -> dict[int, str]:
    """Each ticket's status by serial: its own void, else what became of the draw. Losing tickets are not stored."""
    found = dict.fromkeys(serials, "refunded" if draw.status == "void" else "accepted")
    if draw.status == "settled":
        found |= _settled_statuses(session, draw, serials, over=res.clock.now() >= claim_until(res, draw))
    return found | {serial: "voided" for serial in serials if serial in voided}


def _settled_statuses(session: Session, draw: Draw, serials: Sequence[int], *, over: bool) -> dict[int, str]:
    prizes = prizes_of(session, draw.id, draw.result_version, serials)
    payouts = payouts_of(session, draw.id, serials)
    pending = pending_numbers(session, [payout.number for payout in payouts.values()])
    found = {}
    for serial in serials:
        payout = payouts.get(serial)
        paid, expired = (payout.paid, payout.expired) if payout is not None else (0, 0)
        waits = payout is not None and payout.number in pending
        found[serial] = claims.claim_status(prizes.get(serial, 0), paid, expired, pending=waits, over=over)
    return found
