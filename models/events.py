"""What is to be told live: noted in the transaction of what happened, numbered and sent after it (tasks/events.py)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Boolean, Text, delete, func, insert, select, text, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Base, Big, Instant, Json, Str

KEPT = 1_000  # for whoever was away and asks what he missed


class Event(Base):
    """`seq`: its place among all events, given before it is sent; None until then. `rooms`: rules.rooms."""

    __tablename__ = "events"

    id: Mapped[Big] = mapped_column(primary_key=True)
    seq: Mapped[Big | None]
    name: Mapped[Str]
    at: Mapped[Instant] = mapped_column(server_default=func.clock_timestamp())
    data: Mapped[Json]
    rooms: Mapped[list[str]] = mapped_column(ARRAY(Text))


class EventNumbers(Base):
    """`given`: the last number that an event has; `sent`: up to here all are known to have been sent."""

    __tablename__ = "event_numbers"

    one_row: Mapped[bool] = mapped_column(Boolean, primary_key=True)
    given: Mapped[Big]
    sent: Mapped[Big]


def note_event(session: Session, name: str, data: Mapping[str, Any], rooms: Sequence[str]) -> None:
    """Notes an event for those in any of the rooms; nobody hears of it unless the transaction commits.

    Whoever wants it told at once rings for "events.send" after the commit; else a sweep does within a second.
    """
    note_events(session, name, [(data, rooms)])


def note_events(session: Session, name: str, events: Sequence[tuple[Mapping[str, Any], Sequence[str]]]) -> None:
    """The same for any number of (data, rooms)."""
    if events:
        session.execute(insert(Event), [{"name": name, "data": dict(d), "rooms": list(r)} for d, r in events])


def lock_numbers(session: Session) -> EventNumbers | None:
    """The numbers, locked until the transaction ends; None: somebody else is sending."""
    return session.scalar(select(EventNumbers).with_for_update(skip_locked=True))


def number_events(session: Session, numbers: EventNumbers, most: int) -> int:
    """Numbers up to `most` events that have none yet, oldest first; how many. `numbers` is locked."""
    statement = text(
        """
        UPDATE events SET seq = n.seq FROM (
            SELECT id, :given + row_number() OVER (ORDER BY id) AS seq FROM (
                SELECT id FROM events WHERE seq IS NULL ORDER BY id LIMIT :most) AS waiting) AS n
        WHERE events.id = n.id
        """
    )
    count: int = session.execute(statement, {"given": numbers.given, "most": most}).rowcount  # type: ignore[attr-defined]
    numbers.given += count
    return count


def events_between(session: Session, after: int, upto: int, rooms: Sequence[str] | None = None) -> Sequence[Event]:
    """Numbered events with `after` < seq <= `upto`, in their order; of these rooms only, if any are given."""
    query = select(Event).where(Event.seq > after, Event.seq <= upto).order_by(Event.seq)
    if rooms is not None:
        query = query.where(Event.rooms.overlap(list(rooms)))
    return session.scalars(query).all()


def mark_sent(session: Session, upto: int) -> None:
    """Records that every event up to that number was sent, and forgets those that nobody may ask for any more."""
    session.execute(update(EventNumbers).values(sent=upto))
    session.execute(delete(Event).where(Event.seq <= upto - KEPT))


def event_numbers(session: Session) -> EventNumbers:
    """As they are now. What is being sent has a number up to `given`, and may have been heard."""
    return session.scalars(select(EventNumbers)).one()
