"""Ringing for steps that failed, when the time of their next try has come."""

from __future__ import annotations

from collections import Counter
from typing import Any

from celery import Task, shared_task

from actions.failures import due
from actions.resources import Resources
from tasks.found import found

RINGS_MAX = 100  # at a time; the rest comes in the next second


def ring_due(res: Resources) -> int:
    """Rings for what is due; how many. A ring that is lost is rung anew (intake/doorbell.py, AGAIN_S)."""
    ready = due(res.sessions, RINGS_MAX)
    for task, arguments in ready:
        res.doorbell.ring(task, *arguments, again=True)
    found("sweep.retries", **Counter(task for task, _ in ready))
    return len(ready)


@shared_task(name="sweep.retries", bind=True)
def sweep_retries(self: Task[Any, Any]) -> None:
    """Every second."""
    ring_due(self.app.resources)  # whatever the gate's state is
