"""Closing a draw, and moving a cutoff: intents in PostgreSQL, applied by the gate, then posted."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import func, update

from actions.resources import Resources
from intake.gate_errors import DrawUnknown, Unreconciled
from models.draws import Draw, Intent, close_was_asked, draw_by_name, lock_draw, waiting_intents
from models.gate_state import share_generation
from rules.errors import CutoffPassed, Invalid, WrongState


def close_in_gate(res: Resources, name: str, *, asked: bool) -> bool:
    """Closes the draw in the gate, at once if a person asked, else if its cutoff has come. Safe to repeat.

    The draw is `closed` in the database once its close marker is persisted. False: not yet, or the gate lacks the draw.
    """
    try:
        closed = res.gate.close(name, asked=asked)
    except DrawUnknown:
        return False
    if closed is None:
        return False
    res.doorbell.ring("tickets.persist", name)
    return True


def ask_to_close(res: Resources, actor_id: int, name: str) -> None:
    """Records that somebody means to close the draw: from here on nothing reopens it. Raises NoSuchDraw, WrongState."""
    with res.sessions.begin() as session:
        draw = lock_draw(session, name)
        if close_was_asked(session, draw.id) and draw.status not in ("voiding", "void"):
            return
        if draw.status != "open":
            raise WrongState(f"The draw is {draw.status}.")
        session.add(Intent(kind="close", draw_id=draw.id, payload={}, asked_by=actor_id))


def ask_to_move_cutoff(
    res: Resources, actor_id: int, name: str, cutoff_at: datetime, draws_at: datetime, reason: str
) -> str | None:
    """Records the wish to move an open draw's cutoff, or moves a scheduled draw's at once; the intent's id, or None.

    Raises NoSuchDraw, CutoffPassed, WrongState, Invalid.
    """
    with res.sessions.begin() as session:
        draw = lock_draw(session, name)
        if draw.status not in ("scheduled", "open"):
            raise (CutoffPassed if draw.cutoff_at <= res.clock.now() else WrongState(f"The draw is {draw.status}."))
        if min(draw.cutoff_at, cutoff_at) <= res.clock.now():
            raise CutoffPassed
        if not draw.opens_at < cutoff_at <= draws_at:
            raise Invalid(errors=[{"path": "cutoff_at", "message": "opens_at < cutoff_at <= draws_at must hold"}])
        if draw.status == "scheduled":
            session.execute(update(Draw).where(Draw.id == draw.id).values(cutoff_at=cutoff_at, draws_at=draws_at))
            return None
        payload = {"cutoff_at": cutoff_at.isoformat(), "draws_at": draws_at.isoformat(), "reason": reason}
        intent = Intent(kind="cutoff", draw_id=draw.id, payload=payload, asked_by=actor_id)
        session.add(intent)
        session.flush()
        return str(intent.id)


def complete_intents(res: Resources, name: str) -> int:
    """Applies the draw's waiting intents and posts what the gate answered; gives how many are done. Safe to repeat."""
    with res.sessions() as session:
        draw = draw_by_name(session, name)
        intents = waiting_intents(session, draw.id) if draw else []
    done = 0
    for intent in intents:
        # The generation that is about to answer: another may be adopted before the answer is posted.
        generation = res.gate.identity.generation if res.gate.identity else None
        if intent.kind == "close":
            done += close_in_gate(res, name, asked=True) and _post(res, intent, generation, "posted", {})
        else:
            done += _complete_cutoff(res, name, intent, generation)
    return done


def _complete_cutoff(res: Resources, name: str, intent: Intent, generation: int | None) -> bool:
    cutoff_at = datetime.fromisoformat(intent.payload["cutoff_at"])
    try:
        applied = res.gate.move_cutoff(name, str(intent.id), round(cutoff_at.timestamp() * 1000))
    except DrawUnknown:
        return False
    if not applied:
        return _post(res, intent, generation, "refused", {})
    moved = {"cutoff_at": cutoff_at, "draws_at": datetime.fromisoformat(intent.payload["draws_at"])}
    return _post(res, intent, generation, "posted", moved)


def _post(res: Resources, intent: Intent, generation: int | None, status: str, values: dict[str, Any]) -> bool:
    """Posts an answered intent, if the gate's generation is still the one that answered; else it is asked again."""
    with res.sessions.begin() as session:
        if share_generation(session) != generation:
            raise Unreconciled("the gate that answered this intent is no more")
        # The draw's row before the intent's, as everywhere.
        session.get_one(Draw, intent.draw_id, with_for_update=True)
        statement = update(Intent).where(Intent.id == intent.id, Intent.status == "asked")
        posted = session.execute(statement.values(status=status, done_at=func.now()).returning(Intent.id)).first()
        if posted and values:
            # Its close marker may have been persisted meanwhile: the cutoff was moved all the same.
            live = Draw.id == intent.draw_id, Draw.status.in_(("open", "closed"))
            session.execute(update(Draw).where(*live).values(values))
    return posted is not None
