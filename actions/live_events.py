"""Events as clients are told them, live and when they come back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy.orm import Session

from actions.resources import Resources
from models.events import KEPT, Event, event_numbers, events_between
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
        numbers = event_numbers(session)  # read after the events: what goes meanwhile counts as gone
    return events, numbers.sent - KEPT <= since <= numbers.given


def sent_since(res: Resources, seq: int) -> list[Told] | None:
    """Every event after that number which is known to have been sent; None: no event has that number (any more)."""
    with res.sessions() as session:
        numbers = event_numbers(session)
        return None if numbers.given < seq else _between(session, seq, numbers.sent)


def sent(res: Resources) -> int:
    """The number of the last event that is known to have been sent."""
    with res.sessions() as session:
        return event_numbers(session).sent


def _between(session: Session, after: int, upto: int, rooms: Sequence[str] | None = None) -> list[Told]:
    return [told(event) for event in events_between(session, after, upto, rooms)] if after < upto else []
