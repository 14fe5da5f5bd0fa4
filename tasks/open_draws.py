"""Opening draws whose time has come, and letting the gate sell those that it does not hold yet."""

from __future__ import annotations

from typing import Any

import structlog
from celery import Task, shared_task
from sqlalchemy import select

from actions.opening import open_in_database, open_in_gate
from actions.resources import Resources
from models.draws import Draw, Position, due_to_open
from tasks.each import each

_log = structlog.get_logger()


def open_draws(res: Resources) -> int:
    """Opens what is due; safe to repeat and to run twice at once. Returns how many the gate began to sell."""
    with res.sessions() as session:
        due = [draw.id for draw in due_to_open(session, res.clock.now())]
    each(due, lambda draw_id: open_in_database(res, draw_id))
    with res.sessions() as session:
        never_sold = select(Draw.id).join(Position, Position.draw_id == Draw.id)
        never_sold = never_sold.where(Draw.status == "open", Position.serial == 0, Position.sub == 0)
        waiting = session.scalars(never_sold.order_by(Draw.cutoff_at)).all()
    opened = each(waiting, lambda draw_id: open_in_gate(res, draw_id))
    if opened:
        _log.info("draws_opened", count=opened)
        res.doorbell.ring("events.send")
    return opened


@shared_task(name="draws.open", bind=True)
def draws_open(self: Task[Any, Any]) -> None:
    """Every second, and rung when a draw is made after its opening time."""
    self.app.run_with_resources(open_draws)
