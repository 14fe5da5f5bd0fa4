"""Giving every stake of a voided draw back: once it is drained to its close marker, in one transaction.

Locks in the order of the drain: position, then draw, then wallets.
"""

from __future__ import annotations

from typing import Any

import structlog
from celery import Task, shared_task
from sqlalchemy import case, func, select, update
from sqlalchemy.orm import Session

from actions.approvals import confirmed_request
from actions.closing import close_in_gate
from actions.notifications import tell_of_contradiction
from actions.resources import Resources
from actions.sealed import check_pool
from actions.voiding import VOID
from models.dead_letters import waiting_records
from models.draws import Draw, Intent, Position, advance, draw_by_name, lock_draw
from models.ledger import post
from models.people import add_to_balances, lock_wallets, loosen
from models.settlement import Seal
from models.tickets import AgentSum, Closing
from rules.errors import Contradiction

_log = structlog.get_logger()


class SumsDiffer(Contradiction):
    """The agents' sums of a draw do not add up to its own; no stake goes back on such figures."""


def void_draw(res: Resources, name: str) -> bool:
    """Refunds a draw that is to be voided and makes it void; True if this call did it. Safe to repeat.

    False: not to be voided, not drained yet, or dead letters wait. Raises SumsDiffer, IntakeUnavailable, and
    AlteredAfterSeal where the tickets are not those that were sealed: nothing goes back for one that was never sold.
    """
    with res.sessions() as session:
        draw = draw_by_name(session, name)
    if draw is None or draw.status != "voiding":
        return False
    if draw.opened_at is not None:
        close_in_gate(res, name, asked=True)
    try:
        refunds = _refund(res, draw)
    except Contradiction as problem:
        tell_of_contradiction(res, name, "void", problem)
        raise
    if refunds is None:
        return False
    _log.info("draw_voided", draw=name, agents=len(refunds), refunded=sum(refunds.values()))
    if refunds:
        res.doorbell.ring("wallets.push")
    res.doorbell.ring("events.send")
    return True


def _refund(res: Resources, draw: Draw) -> dict[int, int] | None:
    """The one transaction: centavos given back by agent, or None if it is not the time."""
    with res.sessions.begin() as session:
        position = session.scalar(select(Position).where(Position.draw_id == draw.id).with_for_update())
        locked = lock_draw(session, draw.name)
        if locked.status != "voiding" or locked.stopped is not None:
            return None
        if position is not None and not _drained(res, session, locked, position):
            return None
        if waiting_records(session, draw.id):
            return None
        if session.get(Seal, draw.id) is not None:
            check_pool(session, locked)
        refunds = _live_stakes(session, draw.id)
        if sum(refunds.values()) != (position.stake - position.voided_stake if position is not None else 0):
            raise SumsDiffer(draw.name)
        _end_intents(session, draw.id)  # before the wallets are locked, as everywhere
        if refunds:
            _give_back(session, locked, refunds)
        advance(session, draw.id, ["voiding"], "void", voided_at=func.now())
    return refunds


def _drained(res: Resources, session: Session, draw: Draw, position: Position) -> bool:
    """Whether everything that the gate ever accepted is in the database."""
    closing = session.get(Closing, draw.id)
    if closing is not None:
        return (position.serial, position.sub) == (closing.serial, closing.sub)
    if (position.serial, position.sub) != (0, 0):
        return False
    # Opened here, but perhaps never in the gate: then no marker will come. Nobody opens it there while we
    # hold the position, and a gate that forgot it answers nothing before a rebuild.
    return not close_in_gate(res, draw.name, asked=True)


def _live_stakes(session: Session, draw_id: int) -> dict[int, int]:
    live = AgentSum.stake - AgentSum.voided_stake
    query = select(AgentSum.agent_id, live).where(AgentSum.draw_id == draw_id, live != 0)
    return dict(session.execute(query).all())


def _give_back(session: Session, draw: Draw, refunds: dict[int, int]) -> None:
    request = confirmed_request(session, draw.name, VOID)
    lock_wallets(session, list(refunds))
    add_to_balances(session, refunds)
    loosen(session, refunds, "refund")
    post(
        session,
        "refund",
        refunds,
        {"sales": -sum(refunds.values())},
        draw_id=draw.id,
        made_by=request.content["confirmed_by"] if request is not None else None,
        note=request.content["reason"] if request is not None else None,
    )


def _end_intents(session: Session, draw_id: int) -> None:
    """What was still asked of the gate is answered by the void: it is closed, and no cutoff moves."""
    status = case((Intent.kind == "close", "posted"), else_="refused")
    waiting = update(Intent).where(Intent.draw_id == draw_id, Intent.status == "asked")
    session.execute(waiting.values(status=status, done_at=func.now()))


@shared_task(name="draws.void", bind=True)
def draws_void(self: Task[Any, Any], name: str) -> None:
    """Rung when a void was confirmed or a close marker persisted, and by the sweep."""
    self.app.run_with_resources(void_draw, name)
