"""Sealing a draw: one root from the journal and one from PostgreSQL, published only if the two agree.

All of it is one transaction that holds the position row from the first read on, so that neither a drain nor a
replayed dead letter changes what was compared. Locks in the order of the drain: position, then draw.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import structlog
from celery import Task, shared_task
from sqlalchemy import func, insert, select, text
from sqlalchemy.orm import Session

from actions.approvals import confirmed_request
from actions.resources import Resources
from actions.seals import LATE_SEAL
from actions.two_sources import Comparison, compare
from models.dead_letters import waiting_records
from models.draws import Draw, Position, advance, draw_by_name, lock_draw
from models.notifications import tell
from models.settlement import Seal, SealBlock, SealFailure
from models.tickets import Closing
from rules.notifications import out_of_balance

# A draw out of balance is read whole at every attempt, and sweeps come every second.
RETRY_AFTER_S = 60

_log = structlog.get_logger()


def seal(res: Resources, name: str, *, force: bool = False) -> bool:
    """Seals a closed and drained draw; True if this call did it. Safe to repeat and to run twice at once.

    A draw out of balance stays closed, with a row in seal_failures; it is tried again after RETRY_AFTER_S, or
    by `force`. Past `draws_at` it needs two superadmins (actions/seals.py). Raises Unreconciled,
    IntakeUnavailable.
    """
    with res.sessions.begin() as session:
        ready = _ready(session, name, force)
        if ready is None:
            return False
        draw, position, closing = ready
        if not _in_time(session, draw, res.clock.now()):
            _log.warning("seal_needs_two_superadmins", draw=name, draws_at=draw.draws_at.isoformat())
            return False
        found = compare(res, session, draw, position, closing)
        if found.difference is None:
            sealed = _publish(session, draw, found, res.clock.now())
        else:
            session.add(SealFailure(draw_id=draw.id, difference=found.difference))
            _tell(session, name, found.difference)
            sealed = False
    if found.difference is not None:
        failed, serials = found.difference["failed"], [item["serial"] for item in found.difference["serials"]]
        _log.error("seal_out_of_balance", draw=name, failed=failed, serials=serials)
    if sealed:
        res.doorbell.ring("events.send")
        _log.info("draw_sealed", draw=name, root=found.stored.root.hex(), tree_size=found.stored.size)
        with res.sessions.begin() as session:  # of its own: what only helps the planner must not undo a seal
            session.execute(select(func.analyze_tickets(draw.date)))
    return sealed


def _ready(session: Session, name: str, force: bool) -> tuple[Draw, Position, Closing] | None:
    """The draw with its position locked; None: not yet, not any more, or another worker holds it."""
    draw = draw_by_name(session, name)
    if draw is None or draw.status != "closed" or draw.stopped is not None:
        return None
    query = select(Position).where(Position.draw_id == draw.id).with_for_update(skip_locked=True)
    position, closing = session.scalar(query), session.get(Closing, draw.id)
    if position is None or closing is None or (position.serial, position.sub) != (closing.serial, closing.sub):
        return None
    if waiting_records(session, draw.id):
        return None
    return None if _failed_lately(session, draw.id) and not force else (draw, position, closing)


def _failed_lately(session: Session, draw_id: int) -> bool:
    lately = func.now() - text(f"interval '{RETRY_AFTER_S} seconds'")
    query = select(SealFailure.id).where(SealFailure.draw_id == draw_id, SealFailure.failed_at > lately).limit(1)
    return session.scalar(query) is not None


def _in_time(session: Session, draw: Draw, now: datetime) -> bool:
    """Whether the draw may be sealed now: before it is drawn, or late with two superadmins' word."""
    return now < draw.draws_at or confirmed_request(session, draw.name, LATE_SEAL) is not None


def _tell(session: Session, name: str, difference: dict[str, Any]) -> None:
    """Of a difference that stays the same from attempt to attempt once."""
    why = f"the two sources differ: {', '.join(difference['failed'])}"
    tell(session, [out_of_balance(name, "seal", why, once=json.dumps(difference, sort_keys=True, default=str))])


def _publish(session: Session, draw: Draw, found: Comparison, now: datetime) -> bool:
    """Writes the seal and moves the draw; False: the draw was voided meanwhile, or has been drawn by now."""
    locked = lock_draw(session, draw.name)
    if locked.status != "closed" or locked.stopped is not None:
        return False
    if not _in_time(session, locked, now):
        return False
    late = now >= locked.draws_at
    request = confirmed_request(session, draw.name, LATE_SEAL) if late else None
    counts, live = found.stored.counts, found.stored.live()
    values = {
        "draw_id": draw.id,
        "tree_size": found.stored.size,
        "merkle_root": found.stored.root,
        "sealed_at": now,
        "late": late,
        "reason": request.content["reason"] if request is not None else None,
        "restored": found.restored,
        "gaps": found.gaps,
        "tickets": counts["tickets"],
        "voided": counts["voids"],
        # One that was voided before counts as voided.
        "annulled": counts["tickets"] - counts["voids"] - (live["tickets"] - live["voids"]),
        "stake": live["stake"] - live["voided_stake"],
        "sums_hash": found.sums.digest(),
    }
    session.execute(insert(Seal).values(values))
    blocks = [{"draw_id": draw.id, "block": i, "hash": hash_} for i, hash_ in enumerate(found.stored.hashes)]
    if blocks:
        session.execute(insert(SealBlock), blocks)
    return advance(session, draw.id, ["closed"], "sealed", sealed_at=now)


@shared_task(name="draws.seal", bind=True)
def draws_seal(self: Task[Any, Any], name: str) -> None:
    """Rung when a close marker was persisted or a late seal confirmed, and by the sweep."""
    self.app.run_with_resources(seal, name)
