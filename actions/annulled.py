"""What two persons annulled of a draw (actions/annulling.py), read from the bytes that the dead letters keep."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from sqlalchemy import select
from sqlalchemy.orm import Session

from actions.receipts import hyphenated
from intake.records import BadRecord, Position, Record, TicketRecord, VoidRecord, decode
from models.dead_letters import DeadLetter, annulled_records
from models.draws import Draw
from rules.tickets import Ticket

_LAST_MS = 253_402_300_799_999  # the end of the year 9999: no receipt can name a later instant


@dataclass
class Annulled:
    """The annulled records of one draw."""

    raw: dict[Position, bytes] = field(default_factory=dict)  # all of them, as they are in the journal
    tickets: dict[int, TicketRecord] = field(default_factory=dict)  # by serial
    voids: dict[int, int] = field(default_factory=dict)  # stake that the gate gave back, by the voided ticket's serial
    cancelled: set[str] = field(default_factory=set)  # ids that were killed
    unread_subs: int = 0  # of those behind a serial, how many nobody can read: each may have been a void

    def status(self, serial: int) -> str:
        """Of one of the tickets. Its terminal has been told that it is voided, if it is."""
        return "voided" if serial in self.voids else "annulled"


def understood(place: Position, raw: bytes) -> Record | None:
    """The record that these bytes are; None: they are none, or a ticket that no gate has accepted there and then."""
    try:
        record = decode(raw)
    except BadRecord:
        return None
    if isinstance(record, TicketRecord) and (place.sub or record.accepted_ms > _LAST_MS):
        return None
    return record


def annulled_in(session: Session, draw_id: int) -> Annulled:
    """Everything that was annulled of the draw; hardly ever there is anything."""
    return _read(annulled_records(session, draw_id))


def ticket_of_record(draw: str, serial: int, record: TicketRecord) -> Ticket:
    """The ticket that a record of the journal is."""
    about = hyphenated(record.id), record.agent_id, record.accepted_ms
    return Ticket(draw, serial, *about, record.lines, record.available)


def annulled_tickets(session: Session, draw_id: int | None = None) -> Iterator[tuple[Draw, Ticket, str]]:
    """(draw, ticket, status) of every annulled ticket, of that draw or of all. They are few: nobody sells them."""
    query = select(DeadLetter.draw_id).where(DeadLetter.status == "annulled").distinct()
    if draw_id is not None:
        query = query.where(DeadLetter.draw_id == draw_id)
    for draw in session.scalars(select(Draw).where(Draw.id.in_(query)).order_by(Draw.id)):
        found = annulled_in(session, draw.id)
        for serial, record in found.tickets.items():
            yield draw, ticket_of_record(draw.name, serial, record), found.status(serial)


def _read(letters: Sequence[DeadLetter]) -> Annulled:
    found = Annulled()
    for letter in letters:
        place, raw = letter.record()
        position = Position(*place)
        found.raw[position] = raw
        record = understood(position, raw)
        if isinstance(record, TicketRecord):
            found.tickets[position.serial] = record
        elif isinstance(record, VoidRecord):
            if record.stake:
                found.voids[record.ticket_serial] = record.stake
            if record.kind == "c":
                found.cancelled.add(record.id)
        else:
            found.unread_subs += position.sub > 0
    return found
