"""What is to be told live: noted in the transaction of what happened, numbered and sent after it (tasks/events.py)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Text, func, insert
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Base, Big, Instant, Json, Str


class Event(Base):
    """`seq`: its place among all events, given when it is sent; None until then. `rooms`: rules.rooms."""

    __tablename__ = "events"

    id: Mapped[Big] = mapped_column(primary_key=True)
    seq: Mapped[Big | None]
    name: Mapped[Str]
    at: Mapped[Instant] = mapped_column(server_default=func.clock_timestamp())
    data: Mapped[Json]
    rooms: Mapped[list[str]] = mapped_column(ARRAY(Text))


def note_event(session: Session, name: str, data: Mapping[str, Any], rooms: Sequence[str]) -> None:
    """Notes an event for those in any of the rooms; nobody hears of it unless the transaction commits.

    Whoever wants it told at once rings for "events.send" after the commit; else a sweep does within a second.
    """
    note_events(session, name, [(data, rooms)])


def note_events(session: Session, name: str, events: Sequence[tuple[Mapping[str, Any], Sequence[str]]]) -> None:
    """The same for any number of (data, rooms)."""
    if events:
        session.execute(insert(Event), [{"name": name, "data": dict(d), "rooms": list(r)} for d, r in events])
