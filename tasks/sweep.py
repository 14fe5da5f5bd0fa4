"""Finding what got stuck: a lost ring, a worker that died between two lines, an outbox row not applied.

Each sweep returns what it found and logs only when it did something.
"""

from __future__ import annotations

from typing import Any

import structlog
from celery import Task, shared_task
from sqlalchemy import select

from actions.credit import push_outbox
from actions.resources import Resources
from intake.gate_errors import Unreconciled
from intake.journal import START
from intake.records import Position
from models.draws import Draw
from models.draws import Position as PositionRow
from models.tickets import Closing
from rules.draws import LIVE
from rules.errors import IntakeUnavailable
from tasks.each import each
from tasks.persist import persist

_log = structlog.get_logger()


def sweep_journals(res: Resources) -> int:
    """Drains journals that grew without anybody coming, and watches the server's memory; returns records stored."""
    _watch_memory(res)
    with res.sessions() as session:
        live = select(Draw.name, PositionRow.serial, PositionRow.sub, Draw.stopped)
        rows = session.execute(
            live.join(PositionRow, PositionRow.draw_id == Draw.id).where(Draw.status.in_(LIVE)).order_by(Draw.id)
        ).all()
    tops = res.journal.last([name for name, *_ in rows])
    behind = [
        name
        for name, serial, sub, stopped in rows
        if stopped is not None or (tops[name] or START) > Position(serial, sub)
    ]
    return each(behind, lambda name: persist(res, name))


def _watch_memory(res: Resources) -> None:
    """Above its share of memory the gate sells no more, so that closing, voiding and draining still can."""
    try:
        used, allowed = res.gate.memory()
        res.gate.set_full(bool(allowed) and used > allowed * res.settings.memory_sale_share)
    except Unreconciled:
        raise
    except IntakeUnavailable:
        _log.warning("memory_not_watched", exc_info=True)  # draining matters more


def sweep_draws(res: Resources) -> int:
    """Rings again for draws that wait for a step: seal, settlement, refund. Returns how many."""
    with res.sessions() as session:
        closed = select(Draw.name).join(Closing, Closing.draw_id == Draw.id).where(Draw.status == "closed")
        waiting = {
            "draws.seal": session.scalars(closed).all(),
            "draws.settle": session.scalars(select(Draw.name).where(Draw.status.in_(("resulted", "settling")))).all(),
            "draws.void": session.scalars(select(Draw.name).where(Draw.status == "voiding")).all(),
        }
    for task, names in waiting.items():
        for name in names:
            res.doorbell.ring(task, name)
    return sum(map(len, waiting.values()))


def sweep_wallets(res: Resources) -> int:
    """Applies outbox rows that were committed and not pushed; returns how many."""
    pushed = push_outbox(res)
    if pushed:
        _log.info("outbox_swept", count=pushed)
    return pushed


@shared_task(name="sweep.journals", bind=True)
def sweep_journals_task(self: Task[Any, Any]) -> None:
    """Every second."""
    self.app.run_with_resources(sweep_journals)


@shared_task(name="sweep.draws", bind=True)
def sweep_draws_task(self: Task[Any, Any]) -> None:
    """Every second."""
    self.app.run_with_resources(sweep_draws)


@shared_task(name="sweep.wallets", bind=True)
def sweep_wallets_task(self: Task[Any, Any]) -> None:
    """Every two seconds."""
    self.app.run_with_resources(sweep_wallets)


@shared_task(name="wallets.push", bind=True)
def wallets_push(self: Task[Any, Any], user_id: str | None = None) -> None:
    """Rung after a commit that loosened wallets."""
    self.app.run_with_resources(push_outbox, int(user_id) if user_id else None)
