"""A draw's journal as the database can write it again: every record up to the position, in journal order."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from itertools import takewhile

from sqlalchemy import select
from sqlalchemy.orm import Session

from intake.records import CloseRecord, GapRecord, OpenRecord, Position, VoidRecord
from models.dead_letters import DeadLetter, annulled_records, waiting_records
from models.draws import Draw
from models.journal_rows import count_records, read_ids, read_tickets
from models.tickets import Closing, Gap, Void

Placed = tuple[Position, bytes]


def stored_records(session: Session, draw: Draw, position: Position) -> Iterator[Placed]:
    """Every record up to the position, byte for byte as the gate wrote it, and the dead letters at their places."""
    opened = OpenRecord(round((draw.opened_at or draw.opens_at).timestamp() * 1000), draw.name)
    parts: list[Iterable[Placed]] = [
        [(Position(0, 1), opened.text().encode())],
        _tickets(session, draw),
        _voids(session, draw),
        _gaps(session, draw),
        _closing(session, draw),
        _letters(waiting_records(session, draw.id)),
        _letters(annulled_records(session, draw.id)),
    ]
    return takewhile(lambda placed: placed[0] <= position, heapq.merge(*parts))


def count_stored(session: Session, draw: Draw, position: Position) -> int:
    """How many records the journal must hold up to the position."""
    return count_records(session, draw.id, draw.date, *position) + (1 if position >= (0, 1) else 0)


def stored_ids(session: Session, draw: Draw) -> Iterator[tuple[str, str]]:
    """(ticket id, state) as the gate keeps them; later ones replace earlier ones."""
    for ticket_id, serial in read_ids(session, draw.id, draw.date):
        yield ticket_id, str(serial)
    for void in _void_rows(session, draw):
        yield void.ticket_id.hex, f"{void.ticket_serial or ''}{void.kind[0]}"


def _letters(records: Iterable[DeadLetter]) -> Iterator[Placed]:
    for place, raw in (letter.record() for letter in records):
        yield Position(*place), raw


def _tickets(session: Session, draw: Draw) -> Iterator[Placed]:
    for row in read_tickets(session, draw.id, draw.date):
        yield Position(row.serial, 0), row.record.encode()


def _void_rows(session: Session, draw: Draw) -> Iterable[Void]:
    return session.scalars(select(Void).where(Void.draw_id == draw.id).order_by(Void.serial, Void.sub))


def _voids(session: Session, draw: Draw) -> Iterator[Placed]:
    for void in _void_rows(session, draw):
        made_ms = round(void.made_at.timestamp() * 1000)
        ticket = void.ticket_serial or 0
        record = VoidRecord(void.kind[0], void.agent_id, void.ticket_id.hex, made_ms, ticket, void.stake, void.reason)
        yield Position(void.serial, void.sub), record.text().encode()


def _gaps(session: Session, draw: Draw) -> Iterator[Placed]:
    for gap in session.scalars(select(Gap).where(Gap.draw_id == draw.id).order_by(Gap.last_serial)):
        record = GapRecord(round(gap.made_at.timestamp() * 1000), gap.first_serial, gap.last_serial)
        yield Position(gap.last_serial, 0), record.text().encode()


def _closing(session: Session, draw: Draw) -> Iterator[Placed]:
    row = session.get(Closing, draw.id)
    if row is not None:
        made_ms = round(row.made_at.timestamp() * 1000)
        record = CloseRecord(made_ms, row.serial, row.tickets, row.stake, row.voids, row.voided_stake, row.why)
        yield Position(row.serial, row.sub), record.text().encode()
