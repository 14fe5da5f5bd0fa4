"""From the journal into the database: one transaction locks the draw's position, reads behind it, stores, moves it.

Order, exactly-once effect, and taking over after a kill all follow from that one row: a transaction that dies leaves
the position where it was, and whoever comes next reads the same records again.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import structlog
from celery import Task, shared_task
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from actions.failures import succeeded
from actions.resources import Resources
from actions.store_records import PERSIST, Differs, DrainStopped, store
from intake.gate_errors import Unreconciled
from intake.records import BadRecord, CloseRecord, GapRecord, Position, decode
from models.dead_letters import RECORD
from models.draws import Draw, advance, draw_by_name
from models.draws import Position as PositionRow
from models.gate_state import gate_state
from models.notifications import tell
from rules.draws import LIVE
from rules.notifications import out_of_balance
from runtime.metrics import note_dead_letter

SHIFT_S = 1.0  # above a batch; a worker that is to end waits no longer for it, nor another draw in a rush
# While tickets come fast a batch is let grow: what a batch costs beside its tickets is most of a small one.
FAST = 20  # tickets in a batch
PAUSE_S = 0.08

_log = structlog.get_logger()


def persist(res: Resources, name: str, *, pause_s: float = PAUSE_S) -> int:
    """Drains the draw's journal until it is empty, held by another worker, or SHIFT_S are over; gives what it stored.

    `pause_s`: how long a batch may grow while tickets come fast. Raises DrainStopped (nothing of that batch is stored),
    Unreconciled, and the database's errors.
    """
    stored = 0
    fast = False
    last_look = False  # only then the bell goes: while the drain goes on, nobody needs to ring
    ends = time.monotonic() + SHIFT_S
    while True:
        if time.monotonic() > ends:
            res.doorbell.ring("tickets.persist", name)  # under a steady rush this would never end; others wait, too
            return stored
        try:
            count = _persist_batch(res, name, unring=last_look, pause_s=pause_s if fast else 0)
        except DrainStopped as problem:
            _stop(res, name, problem)
            raise
        if count is None:
            return stored  # another worker holds the position, and looks once more after its last commit
        stored += count
        if count == 0 and last_look and not _has_more(res, name):
            return stored
        last_look = count == 0
        fast = FAST <= count < res.settings.persist_batch_max


def _persist_batch(res: Resources, name: str, *, unring: bool, pause_s: float) -> int | None:
    """Stores one batch; None if the position is held elsewhere or the draw takes no records."""
    closed = False
    with res.sessions.begin() as session:
        draw = draw_by_name(session, name)
        if draw is None:
            return None
        if draw.stopped is not None:
            res.gate.stop(name)  # again: the one that stopped it may have died before it told the gate
            return None
        position = _lock_position(session, draw.id)
        if position is None:
            return None
        if gate_state(session).generation != res.journal.generation:
            raise Unreconciled("another generation has been reconciled")
        time.sleep(pause_s)  # within the lock: whoever else is rung for sees that somebody is at it, and goes
        if unring:  # before the journal is read: what is written after the read rings again
            res.doorbell.unring(name)
        batch = res.journal.read_after(name, position, res.settings.persist_batch_max)
        if not batch:
            return 0
        if draw.status not in LIVE:
            raise Differs(f"the journal of a draw that is {draw.status} has grown")
        _check_order(position, batch)
        refused = store(session, draw, batch, low_credit=res.settings.low_credit)
        last = batch[-1][0]
        # A drain that goes on for long may be killed again and again by others, and is not what kills.
        succeeded(session, PERSIST, [name])
        values = {"serial": last.serial, "sub": last.sub, "moved_at": func.now()}
        session.execute(update(PositionRow).where(PositionRow.draw_id == draw.id).values(values))
        if _is_close_marker(batch[-1][1]):
            closed = True
            advance(session, draw.id, ["open"], "closed", closed_at=func.now())
    for letter in refused:
        note_dead_letter(RECORD)
        _log.error("dead_letter", draw=name, position=str(letter.position), reason=letter.reason)
    if closed:
        res.doorbell.ring("draws.seal", name)
        res.doorbell.ring("draws.void", name)
        res.doorbell.ring("events.send")
    return len(batch)


def _lock_position(session: Session, draw_id: int) -> Position | None:
    query = select(PositionRow.serial, PositionRow.sub).where(PositionRow.draw_id == draw_id)
    row = session.execute(query.with_for_update(skip_locked=True)).first()
    return None if row is None else Position(row.serial, row.sub)


def _check_order(position: Position, batch: Sequence[tuple[Position, bytes]]) -> None:
    """Serials run 1..N: only a gap record may skip any. Raises Differs."""
    last = position.serial
    for place, raw in batch:
        if place.serial not in (last, last + 1) or (place.serial == last) != (place.sub > 0):
            gap = _decoded_gap(raw)
            if gap is None or gap.first != last + 1 or gap.last != place.serial:
                raise Differs(f"the journal goes from serial {last} to {place}")
        last = place.serial


def _decoded_gap(raw: bytes) -> GapRecord | None:
    try:
        record = decode(raw)
    except BadRecord:
        return None
    return record if isinstance(record, GapRecord) else None


def _is_close_marker(raw: bytes) -> bool:
    try:
        return isinstance(decode(raw), CloseRecord)
    except BadRecord:
        return False


def _has_more(res: Resources, name: str) -> bool:
    """One more look, without the lock: a record written between our read and our commit finds its drain here."""
    with res.sessions() as session:
        draw = draw_by_name(session, name)
        row = session.get(PositionRow, draw.id) if draw is not None else None
        if row is None:
            return False
        position = Position(row.serial, row.sub)
    return bool(res.journal.read_after(name, position, 1))


def _stop(res: Resources, name: str, problem: DrainStopped) -> None:
    """A difference stops the draw until an engineer clears it; anything else is tried again by the next sweep."""
    _log.error("drain_stopped", draw=name, reason=str(problem), sales_stopped=isinstance(problem, Differs))
    if isinstance(problem, Differs):
        with res.sessions.begin() as session:
            session.execute(update(Draw).where(Draw.name == name).values(stopped=str(problem)))
            tell(session, [out_of_balance(name, "storing stopped", str(problem))])
        res.gate.stop(name)  # the sweep repeats it


@shared_task(name="tickets.persist", bind=True)
def tickets_persist(self: Task[Any, Any], name: str) -> None:
    """Rung by the gate's bell and by the sweep."""
    self.app.run_with_resources(persist, name)
