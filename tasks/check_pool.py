"""Holding a settled draw's tickets against its seal: payments prove one ticket each, this proves them all."""

from __future__ import annotations

from typing import Any

import structlog
from celery import Task, shared_task
from sqlalchemy import update
from sqlalchemy.orm import Session

from actions.notifications import tell_of_contradiction
from actions.resources import Resources
from actions.sealed import AlteredAfterSeal, check_pool
from models.draws import Draw, draw_by_name
from models.settlement import lock_pool_check

_log = structlog.get_logger()


def check_draw(res: Resources, name: str) -> bool:
    """Marks the settled draw's version as checked, unless it is, or another is being checked; True if this call did it.
    Safe to repeat.

    Raises AlteredAfterSeal, with an alarm: the tickets that are stored are not those that were sealed.
    """
    try:
        with res.sessions.begin() as session:
            return _check(session, name)
    except AlteredAfterSeal as problem:
        _log.error("pool_unlike_seal", draw=name, reason=str(problem))
        tell_of_contradiction(res, name, "check after settling", problem)
        raise


def _check(session: Session, name: str) -> bool:
    draw = draw_by_name(session, name)
    if draw is None or draw.status != "settled" or draw.checked_version == draw.result_version:
        return False
    if not lock_pool_check(session):
        return False
    check_pool(session, draw)
    version = {"checked_version": draw.result_version}
    session.execute(update(Draw).where(Draw.id == draw.id).values(version))
    return True


@shared_task(name="draws.check", bind=True)
def draws_check(self: Task[Any, Any], name: str) -> None:
    """Rung when a draw was settled, and by the sweep."""
    self.app.run_with_resources(check_draw, name)
