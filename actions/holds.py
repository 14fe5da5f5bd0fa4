"""Disputed tickets: held, so that nothing is paid on them, and released."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func
from sqlalchemy.orm import Session

from actions.audit import record
from actions.claimable import find_claimable, lock_subject
from actions.resources import Resources
from actions.subtree import acting, reachable
from models.claims import Payout
from rules.errors import NotFound


def hold(res: Resources, actor_id: int, number: str, reason: str) -> dict[str, Any]:
    """Keeps the ticket from being paid, from before its draw is settled on; one that is held stays as it is.

    Raises TokenRevoked, NotFound (sold outside the actor's subtree), IntakeUnavailable.
    """
    return _set(res, actor_id, number, reason, held=True)


def release(res: Resources, actor_id: int, number: str, reason: str) -> dict[str, Any]:
    """Lets the ticket be paid again; one that is not held stays as it is. Raises what `hold` does."""
    return _set(res, actor_id, number, reason, held=False)


def _set(res: Resources, actor_id: int, number: str, reason: str, *, held: bool) -> dict[str, Any]:
    subject = find_claimable(res, number)
    if subject is None:
        raise NotFound
    with res.sessions.begin() as session:
        reachable(session, acting(session, actor_id), subject.agent_id)
        _, payout = lock_subject(session, subject)
        if held != (payout.held_at is not None):
            _change(session, payout, actor_id, reason, held)
        return _body(payout)


def _change(session: Session, payout: Payout, actor_id: int, reason: str, held: bool) -> None:
    before = {"held_by": payout.held_by, "reason": payout.held_reason}
    # Not when the transaction began: it may have waited here for a claim that was paid meanwhile.
    payout.held_at = func.clock_timestamp() if held else None
    payout.held_by, payout.held_reason = (actor_id, reason) if held else (None, None)
    session.flush()
    session.refresh(payout)
    action = "ticket.hold" if held else "ticket.release"
    after = {"held_by": payout.held_by, "reason": reason}
    record(session, action, f"ticket:{payout.number}", None if held else before, after)


def _body(payout: Payout) -> dict[str, Any]:
    return {
        "number": payout.number,
        "held": payout.held_at is not None,
        "held_at": payout.held_at and payout.held_at.isoformat(),
        "held_by": payout.held_by,
        "reason": payout.held_reason,
    }
