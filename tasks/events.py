"""Telling live what was noted as events: each gets its number, then goes out in that order, at least once.

The numbers are committed before anything is sent, so whoever sends again after a death sends the same ones, and whoever
listens knows them by their numbers.
"""

from __future__ import annotations

from typing import Any

import msgspec
import structlog
from celery import Task, shared_task

from actions.live_events import told
from actions.resources import Resources
from models.events import events_between, lock_numbers, mark_sent, number_events
from rules.errors import IntakeUnavailable

BATCH = 200

_log = structlog.get_logger()


def send_events(res: Resources) -> int:
    """Sends all events that wait; how many. 0 also where another worker is at it."""
    sent = 0
    while True:
        with res.sessions.begin() as session:
            numbers = lock_numbers(session)
            if numbers is None:
                return sent
            number_events(session, numbers, BATCH)
        with res.sessions.begin() as session:
            numbers = lock_numbers(session)
            if numbers is None:
                return sent
            events = events_between(session, numbers.sent, numbers.given)
            if not events:
                return sent
            try:
                res.live.publish([msgspec.json.encode(told(event)) for event in events])
            except IntakeUnavailable:
                _log.warning("live_queue_away", events=len(events))  # whoever tells them looks here every second
            mark_sent(session, numbers.given)
        sent += len(events)


@shared_task(name="events.send", bind=True)
def events_send(self: Task[Any, Any]) -> None:
    """Rung after a commit that noted an event, and every second."""
    send_events(self.app.resources)  # whatever the gate's state is
