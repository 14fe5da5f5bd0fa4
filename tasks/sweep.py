"""Finding what got stuck: a lost ring, a worker that died between two lines, an outbox row not applied.

Each sweep returns what it found and logs only when it did something.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import structlog
from celery import Task, shared_task
from sqlalchemy import func, select

from actions.credit import push_outbox
from actions.failure_kinds import NotKept
from actions.failures import HeldBack, attempt
from actions.resources import Resources
from actions.store_records import PERSIST
from intake.doorbell import QUEUES
from intake.gate_errors import Unreconciled
from intake.journal import START
from intake.records import BadRecord, Position, TicketRecord, decode
from models.draws import Draw
from models.draws import Position as PositionRow
from models.people import WalletOutbox
from models.tickets import Closing
from rules.draws import LIVE
from rules.errors import IntakeUnavailable
from tasks.each import each
from tasks.found import AT_WORK, found
from tasks.persist import persist

# Whoever is rung for comes in a fraction of this, unless the ring was lost or nobody hears it. Until then the sweep
# would only be in his way.
RUNG_LATELY_MS = 500

_log = structlog.get_logger()


def sweep_journals(res: Resources) -> int:
    """Drains journals that nobody came for, and watches the server's memory; returns records stored."""
    _watch_memory(res)
    with res.sessions() as session:
        live = select(Draw.name, PositionRow.serial, PositionRow.sub, Draw.stopped)
        rows = session.execute(
            live.join(PositionRow, PositionRow.draw_id == Draw.id).where(Draw.status.in_(LIVE)).order_by(Draw.id)
        ).all()
    tops = res.journal.last([name for name, *_ in rows])
    stopped = [name for name, _, _, why in rows if why is not None]
    stored_to = {name: Position(*at) for name, *at, why in rows if why is None}
    behind = {name: position for name, position in stored_to.items() if (tops[name] or START) > position}
    try:
        each(stopped, lambda name: persist(res, name))  # tells the gate again
    finally:
        stored = _drain_all(res, behind)
    return stored


def _drain_all(res: Resources, behind: Mapping[str, Position]) -> int:
    stored: dict[str, int] = {}
    try:
        return each(_unrung(res, behind), lambda name: _drain(res, name), stored)
    finally:
        found("sweep.journals", journals=sum(map(bool, stored.values())), records=sum(stored.values()))


def _unrung(res: Resources, behind: Mapping[str, Position]) -> list[str]:
    """Those that have waited for a while: for the others somebody was rung for just now, and is on his way."""
    if not behind:
        return []
    now_ms = res.rebuild.now_ms()
    oldest = {name: res.journal.read_after(name, position, 1) for name, position in behind.items()}
    ages = {name: now_ms - _made_ms(records[0][1]) for name, records in oldest.items() if records}
    # Made later than now: the server's clock was set back, and says nothing.
    return [name for name, age in ages.items() if not 0 <= age < RUNG_LATELY_MS]


def _made_ms(raw: bytes) -> int:
    """When the record was made, by the gate's clock; of one that nobody can read, long ago."""
    try:
        record = decode(raw)
    except BadRecord:
        return 0
    return record.accepted_ms if isinstance(record, TicketRecord) else record.made_ms


def _drain(res: Resources, name: str) -> int:
    """What goes wrong is kept as the draw's own: it holds back neither the sweep nor the other draws."""
    try:
        run = partial(persist, res, name, pause_s=0)
        return attempt(res.sessions, PERSIST, [name], QUEUES[PERSIST], run, passes=(Unreconciled,))
    except HeldBack:
        return 0
    except (Unreconciled, NotKept):
        raise
    except Exception as error:
        _log.error("step_failed", item=name, error=repr(error))
        return 0


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
    """Rings again for draws that wait for a step: seal, settlement, refund, check. Returns how many."""
    with res.sessions() as session:
        unchecked = select(Draw.name).where(Draw.status == "settled", Draw.checked_version != Draw.result_version)
        closed = select(Draw.name).join(Closing, Closing.draw_id == Draw.id).where(Draw.status == "closed")
        waiting = {
            "draws.seal": session.scalars(closed).all(),
            "draws.settle": session.scalars(select(Draw.name).where(Draw.status.in_(("resulted", "settling")))).all(),
            "draws.void": session.scalars(select(Draw.name).where(Draw.status == "voiding")).all(),
            "draws.check": session.scalars(unchecked).all(),
        }
    for task, names in waiting.items():
        for name in names:
            res.doorbell.ring(task, name)
    return sum(map(len, waiting.values()))


def sweep_wallets(res: Resources) -> int:
    """Applies outbox rows that were committed and not pushed; returns how many."""
    late = select(func.count()).select_from(WalletOutbox).where(WalletOutbox.applied_at.is_(None))
    with res.sessions() as session:
        missed = session.scalar(late.where(WalletOutbox.created_at < func.now() - AT_WORK)) or 0
    pushed = push_outbox(res)
    found("sweep.wallets", outbox_rows=min(missed, pushed))
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
