"""Telling those outside, and forgetting what was told long ago."""

from __future__ import annotations

from typing import Any

from celery import Task, shared_task

from actions.deliveries import deliver, forget_old, send_out


@shared_task(name="sweep.notifications", bind=True)
def sweep_notifications(self: Task[Any, Any]) -> None:
    """Every second."""
    send_out(self.app.resources)  # whatever the gate's state is


@shared_task(name="notifications.deliver", bind=True)
def notifications_deliver(self: Task[Any, Any], delivery_id: int) -> None:
    """Rung by the sweep, by the delivery before it, and when it failed and its time has come."""
    deliver(self.app.resources, int(delivery_id))


@shared_task(name="notifications.forget", bind=True)
def notifications_forget(self: Task[Any, Any]) -> None:
    """Every hour."""
    forget_old(self.app.resources)
