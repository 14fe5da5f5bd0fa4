"""Events as clients are told them, live and when they come back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy.orm import Session

from actions.resources import Resources
from models.events import KEPT, Event, events_between, last_sent
from rules.texts import rfc3339


class Told(NamedTuple):
    """An event on its way to clients: `body` is {seq, at, …}."""

    seq: int
    name: str
    rooms: list[str]
    body: dict[str, Any]


def told(event: Event) -> Told:
    """A numbered event as it is told."""
    assert event.seq is not None
    body = {"seq": event.seq, "at": rfc3339(event.at), **event.data}
    return Told(event.seq, event.name, event.rooms, body)


def missed(res: Resources, since: int, upto: int, rooms: Sequence[str]) -> tuple[list[Told], bool]:
    """What those in the rooms were told with `since` < seq <= `upto`, and whether that is all of it: only the last
    KEPT events are kept."""
    with res.sessions() as session:
        events = _between(session, since, upto, rooms)
        last = last_sent(session)  # read after the events: what goes meanwhile counts as gone
    return events, last - KEPT <= since <= last


def sent_since(res: Resources, seq: int) -> tuple[list[Told], int]:
    """Every event after that number which is known to have been sent, and the number of the last that is."""
    with res.sessions() as session:
        last = last_sent(session)
        return _between(session, seq, last), last


def sent(res: Resources) -> int:
    """The number of the last event that is known to have been sent."""
    with res.sessions() as session:
        return last_sent(session)


def _between(session: Session, after: int, upto: int, rooms: Sequence[str] | None = None) -> list[Told]:
    return [told(event) for event in events_between(session, after, upto, rooms)] if after < upto else []
