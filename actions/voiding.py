"""Voiding a draw: two persons decide it, and every stake goes back (tasks/void_draw.py)."""

from __future__ import annotations

from typing import Any

import structlog
from sqlalchemy import delete, func
from sqlalchemy.orm import Session

from actions.approvals import confirmed_request, keep_request, mark_confirmed, took_part, waiting_request
from actions.audit import record
from actions.closing import complete_intents
from actions.resources import Resources
from models.draws import Draw, Intent, PendingApproval, advance, close_was_asked, lock_draw
from rules.errors import IntakeUnavailable, WrongState

VOID = "void"

VOIDABLE = ("scheduled", "open", "closed", "sealed", "resulted")

_log = structlog.get_logger()


def ask(res: Resources, actor_id: int, name: str, reason: str) -> dict[str, Any]:
    """Asks to void a draw; sales go on until another person confirms. Raises NoSuchDraw, WrongState."""
    with res.sessions.begin() as session:
        draw = lock_draw(session, name)
        if took_part(confirmed_request(session, draw.name, VOID), actor_id):
            return {"status": "voiding", "draw_id": name}
        _must_be_voidable(draw)
        keep_request(session, draw.name, VOID, actor_id, {"reason": reason})
        record(session, "draw.void", f"draw:{name}", after={"reason": reason})
    return {"status": "awaiting_confirmation", "draw_id": name, "reason": reason}


def confirm(res: Resources, actor_id: int, name: str) -> dict[str, Any]:
    """The second person's word: nothing is sold from here on, and every stake goes back once all is drained.

    The same call again gets the same answer. Raises NoSuchDraw, WrongState, SamePerson.
    """
    with res.sessions.begin() as session:
        draw = lock_draw(session, name)
        earlier = confirmed_request(session, draw.name, VOID)
        if earlier is None or earlier.content["confirmed_by"] != actor_id:
            _must_be_voidable(draw)
            mark_confirmed(waiting_request(session, draw.name, VOID, actor_id), actor_id)
            record(session, "draw.void", f"draw:{name}", {"status": draw.status}, {"status": "voiding"})
            _begin(session, draw, actor_id)
    try:
        complete_intents(res, name)
    except (
        IntakeUnavailable
    ) as problem:  # the intent stands: a sweep closes the draw in the gate, and no rebuild opens it
        _log.warning("close_waits_for_the_gate", draw=name, reason=problem.detail)
    res.doorbell.ring("draws.void", name)
    return {"status": "voiding", "draw_id": name}


def _must_be_voidable(draw: Draw) -> None:
    if draw.status not in VOIDABLE:
        raise WrongState(f"The draw is {draw.status}.")


def _begin(session: Session, draw: Draw, actor_id: int) -> None:
    """Moves the draw, means it to be closed, and drops what waited for a second person to go on with it."""
    if draw.status == "open" and not close_was_asked(session, draw.id):
        session.add(Intent(kind="close", draw_id=draw.id, payload={}, asked_by=actor_id))
    if not advance(session, draw.id, VOIDABLE, "voiding", voiding_at=func.now()):
        raise WrongState
    others = PendingApproval.kind.in_(("result", "correction"))
    session.execute(delete(PendingApproval).where(PendingApproval.object == draw.name, others))
