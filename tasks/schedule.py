"""Keeping the draws of the next SCHEDULE_DAYS days made, but for cancelled dates."""

from __future__ import annotations

import os
from datetime import time
from typing import Any

import structlog
from celery import Task, shared_task
from celery.signals import worker_ready
from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert

from actions.resources import Resources
from intake.doorbell import DEFAULT_QUEUE
from models.draws import CancelledDate, Draw, Game
from rules.draws import default_times, draw_name, due_draws, manila_date
from runtime.settings import Settings

_log = structlog.get_logger()


def schedule_draws(res: Resources) -> int:
    """Makes the missing draws whose cutoff is still to come, with their month's partitions; returns how many."""
    now = res.clock.now()
    made = 0
    with res.sessions.begin() as session:
        # Locked: who cancels a date waits for the draws that are being made, or is seen here.
        for game in session.scalars(select(Game).order_by(Game.game).with_for_update(read=True)).all():
            cancelled = set(session.scalars(select(CancelledDate.date).where(CancelledDate.game == game.game)))
            times = [time.fromisoformat(text) for text in game.times]
            for day, at in due_draws(manila_date(now), res.settings.schedule_days, times, cancelled):
                opens_at, cutoff_at, draws_at = default_times(day, at)
                if cutoff_at <= now:
                    continue
                values = {"name": draw_name(game.game, day, at), "game": game.game, "date": day, "time": at}
                values |= {"opens_at": opens_at, "cutoff_at": cutoff_at, "draws_at": draws_at}
                row = session.execute(insert(Draw).values(values).on_conflict_do_nothing().returning(Draw.date)).first()
                if row is not None:
                    session.execute(select(func.ensure_partitions(row.date)))
                    made += 1
    if made:
        _log.info("draws_scheduled", count=made)
    return made


@shared_task(name="draws.schedule", bind=True)
def draws_schedule(self: Task[Any, Any]) -> None:
    """Every ten minutes, and once when a worker has started: a new installation sells at once."""
    self.app.run_with_resources(schedule_draws)


@worker_ready.connect
def _schedule_at_once(sender: Any, **_: Any) -> None:
    if DEFAULT_QUEUE in sender.app.amqp.queues.consume_from and Settings.from_env(os.environ).schedule_days:
        draws_schedule.delay()
