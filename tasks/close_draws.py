"""Closing draws whose cutoff has come by the gate's clock, and completing intents that died half-way."""

from __future__ import annotations

from typing import Any

import structlog
from celery import Task, shared_task
from sqlalchemy import exists, func, or_, select

from actions.closing import close_in_gate, complete_intents
from actions.resources import Resources
from models.draws import Draw, Intent
from tasks.each import each
from tasks.found import AT_WORK, found

_log = structlog.get_logger()


def close_draws(res: Resources) -> int:
    """Asks the gate to close what is due, and completes intents; safe to repeat. Returns how many were closed."""
    with res.sessions() as session:
        late = func.count().filter(Intent.asked_at < func.now() - AT_WORK)
        asked = select(Draw.name, late).join(Intent, Intent.draw_id == Draw.id).where(Intent.status == "asked")
        with_intents = dict(session.execute(asked.group_by(Draw.name)).all())
        # Whoever closed a draw by hand: the marker may have been lost since, and only we write it anew.
        closed_by_hand = exists().where(Intent.draw_id == Draw.id, Intent.kind == "close")
        over = or_(Draw.cutoff_at <= res.clock.now(), closed_by_hand)
        due = session.scalars(select(Draw.name).where(Draw.status == "open", over)).all()
    done: dict[str, int] = {}
    try:
        each(with_intents, lambda name: complete_intents(res, name), done)
    finally:
        found("draws.close", intents=sum(min(with_intents[name], count) for name, count in done.items()))
        closed = each(due, lambda name: close_in_gate(res, name, asked=False))
    if closed:
        _log.info("draws_closed", count=closed)
    return closed


@shared_task(name="draws.close", bind=True)
def draws_close(self: Task[Any, Any]) -> None:
    """Every second."""
    self.app.run_with_resources(close_draws)
