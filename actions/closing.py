"""Closing a draw, moving its cutoff, changing its limits: intents in PostgreSQL, applied by the gate, then posted."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import func, null, update
from sqlalchemy.orm import Session

from actions.audit import record
from actions.resources import Resources
from intake.gate_errors import DrawUnknown, Unreconciled
from models.draws import Draw, DrawLimits, Intent, Position, close_was_asked, draw_by_name, lock_draw, waiting_intents
from models.gate_state import share_generation
from models.tickets import Closing
from rules.draws import LIVE
from rules.errors import CutoffPassed, Invalid, WrongState
from rules.limits import Limits


def close_in_gate(res: Resources, name: str, *, asked: bool) -> bool:
    """Closes the draw in the gate, at once if a person asked, else if its cutoff has come. Safe to repeat.

    The draw is `closed` in the database once its close marker is persisted. False: not yet, or the gate lacks the draw.
    Raises Unreconciled when it must hold it.
    """
    try:
        closed = res.gate.close(name, asked=asked)
    except DrawUnknown:
        _may_be_unknown(res, name)
        return False
    if closed is None:
        return False
    res.doorbell.ring("tickets.persist", name)
    return True


def _may_be_unknown(res: Resources, name: str) -> None:
    """Raises Unreconciled if the gate must hold the draw: it has a journal whose close marker is not persisted."""
    with res.sessions() as session:
        draw = draw_by_name(session, name)
        position = session.get(Position, draw.id) if draw is not None else None
        if position is None or session.get(Closing, position.draw_id) is not None:
            return
        begun = (position.serial, position.sub) > (0, 0)
    if not begun and res.journal.last([name])[name] is None:
        return
    res.rebuild.fence()
    raise Unreconciled("the gate lacks a draw that has sold")


# ── asking ──────────────────────────────────────────────────────────────────────────────────────────────────


def ask_to_close(res: Resources, actor_id: int, name: str) -> None:
    """Records that somebody means to close the draw: from here on nothing reopens it. Raises NoSuchDraw, WrongState."""
    with res.sessions.begin() as session:
        draw = lock_draw(session, name)
        if close_was_asked(session, draw.id) and draw.status not in ("voiding", "void"):
            return
        if draw.status != "open":
            raise WrongState(f"The draw is {draw.status}.")
        _ask(session, draw, "close", {}, actor_id)
        record(session, "draw.close", f"draw:{name}", {"status": draw.status}, {"asked": "close"})


def ask_to_move_cutoff(
    res: Resources, actor_id: int, name: str, cutoff_at: datetime, draws_at: datetime, reason: str
) -> str | None:
    """Records the wish to move an open draw's cutoff, or moves a scheduled draw's at once; the intent's id, or None.

    Raises NoSuchDraw, CutoffPassed, WrongState, Invalid.
    """
    payload = {"cutoff_at": cutoff_at.isoformat(), "draws_at": draws_at.isoformat(), "reason": reason}
    with res.sessions.begin() as session:
        draw = lock_draw(session, name)
        _must_sell(res, draw)
        if min(draw.cutoff_at, cutoff_at) <= res.clock.now():
            raise CutoffPassed
        if not draw.opens_at < cutoff_at <= draws_at:
            raise Invalid(errors=[{"path": "cutoff_at", "message": "opens_at < cutoff_at <= draws_at must hold"}])
        about, before = f"draw:{name}", _times(draw)
        if draw.status == "scheduled":
            session.execute(update(Draw).where(Draw.id == draw.id).values(cutoff_at=cutoff_at, draws_at=draws_at))
            record(session, "draw.move_cutoff", about, before, payload)
            return None
        intent_id = _ask(session, draw, "cutoff", payload, actor_id)
        record(session, "draw.move_cutoff", about, before, {"asked": payload, "intent": intent_id})
        return intent_id


def ask_to_set_limits(res: Resources, actor_id: int, name: str, limits: Mapping[str, Any]) -> str | None:
    """Records the wish to change an open draw's limits, or sets a scheduled draw's; the intent's id, or None.

    None also if they are in force. Raises NoSuchDraw, CutoffPassed, WrongState, Invalid.
    """
    with res.sessions.begin() as session:
        draw = lock_draw(session, name)
        _must_sell(res, draw)
        Limits.from_dict(limits, draw.game)
        about = f"draw:{name}"
        if draw.status == "scheduled":
            before = {"limits": draw.asked_limits}
            session.execute(update(Draw).where(Draw.id == draw.id).values(asked_limits=dict(limits) or null()))
            record(session, "draw.limits", about, before, {"limits": dict(limits)})
            return None
        if draw.cutoff_at <= res.clock.now():
            raise CutoffPassed
        assert draw.limits is not None  # a CHECK ties them to opened_at
        wanted = Limits.from_dict({**draw.limits, "by_number": {}, **limits}).to_dict()
        waiting = any(intent.kind == "limits" for intent in waiting_intents(session, draw.id))
        if wanted == draw.limits and not waiting:
            return None
        intent_id = _ask(session, draw, "limits", {"limits": wanted}, actor_id)
        after = {"asked": wanted, "intent": intent_id}
        record(session, "draw.limits", about, {"limits": draw.limits, "version": draw.limits_version}, after)
        return intent_id


def _must_sell(res: Resources, draw: Draw) -> None:
    if draw.status not in ("scheduled", "open"):
        raise (CutoffPassed if draw.cutoff_at <= res.clock.now() else WrongState(f"The draw is {draw.status}."))


def _ask(session: Session, draw: Draw, kind: str, payload: dict[str, Any], actor_id: int) -> str:
    """Adds the intent. The draw's row is locked, so the clock orders intents as their transactions commit: whoever sees
    one sees those before it, and the gate takes them in the order in which they are posted."""
    asked = {"asked_by": actor_id, "asked_at": func.clock_timestamp()}
    intent = Intent(kind=kind, draw_id=draw.id, payload=payload, **asked)
    session.add(intent)
    session.flush()
    return str(intent.id)


def _times(draw: Draw) -> dict[str, str]:
    return {"cutoff_at": draw.cutoff_at.isoformat(), "draws_at": draw.draws_at.isoformat()}


# ── applying and posting ────────────────────────────────────────────────────────────────────────────────────


def complete_intents(res: Resources, name: str) -> int:
    """Applies the draw's waiting intents and posts what the gate answered; gives how many are done. Safe to repeat."""
    # The generation that is about to answer, of before we read what is asked: once another is adopted, somebody else
    # may have posted these and asked for more, which we must not undo.
    generation = res.gate.identity.generation if res.gate.identity else None
    with res.sessions() as session:
        draw = draw_by_name(session, name)
        intents = waiting_intents(session, draw.id) if draw else []
    done = 0
    for intent in intents:
        try:
            applied = _apply(res, name, intent, generation)
        except DrawUnknown:
            _may_be_unknown(res, name)
            applied = None
        if applied is None and _is_over(res, name):
            applied = intent.kind == "close"
        if applied is not None:
            done += _post(res, intent, generation, applied=applied)
    return done


def _is_over(res: Resources, name: str) -> bool:
    """Whether the draw is closed for good by the database alone: a gate that has forgotten it has no answer to give."""
    with res.sessions() as session:
        draw = draw_by_name(session, name)
        return draw is not None and (draw.status not in LIVE or session.get(Closing, draw.id) is not None)


def _apply(res: Resources, name: str, intent: Intent, generation: int | None) -> bool | None:
    """Whether the gate takes the intent, None: it cannot say yet. The same intent gets the same answer."""
    if intent.kind == "close":
        return close_in_gate(res, name, asked=True) or None
    if intent.kind == "limits":
        limits = Limits.from_dict(intent.payload["limits"])
        return res.gate.set_limits(name, str(intent.id), limits, generation=generation)
    cutoff_at = datetime.fromisoformat(intent.payload["cutoff_at"])
    return res.gate.move_cutoff(name, str(intent.id), round(cutoff_at.timestamp() * 1000), generation=generation)


def _post(res: Resources, intent: Intent, generation: int | None, *, applied: bool) -> bool:
    """Posts an answered intent, if the gate's generation is still the one that answered; else it is asked again."""
    with res.sessions.begin() as session:
        if share_generation(session) != generation:
            raise Unreconciled("the gate that answered this intent is no more")
        # The draw's row before the intent's, as everywhere.
        draw = session.get_one(Draw, intent.draw_id, with_for_update=True)
        waiting = update(Intent).where(Intent.id == intent.id, Intent.status == "asked")
        status = {"status": "posted" if applied else "refused", "done_at": func.now()}
        if session.execute(waiting.values(status).returning(Intent.id)).first() is None:
            return False
        if intent.kind != "close":
            _post_change(session, draw, intent, applied=applied)
    return True


def _post_change(session: Session, draw: Draw, intent: Intent, *, applied: bool) -> None:
    """Makes the draw's row what the gate took, also if its close marker has been persisted meanwhile."""
    change = _new_limits(draw, intent) if intent.kind == "limits" else _new_times(draw, intent)
    outcome = CutoffPassed.code
    if applied:
        outcome = "done"
        # Limits were in force while it sold, whatever became of it; its times are not moved once it is sealed.
        if intent.kind == "limits" or draw.status in ("open", "closed"):
            session.execute(update(Draw).where(Draw.id == draw.id).values(change.values))
            session.add_all(change.rows)
    after = {**intent.payload, "intent": str(intent.id), "asked_by": intent.asked_by}
    record(session, change.action, f"draw:{draw.name}", change.before, after, outcome=outcome)


class _Change(NamedTuple):
    action: str
    before: dict[str, Any]
    values: dict[str, Any]  # of the draw's row
    rows: list[DrawLimits]  # to be added with it


def _new_limits(draw: Draw, intent: Intent) -> _Change:
    values = {"limits": intent.payload["limits"], "limits_version": draw.limits_version + 1}
    before = {"limits": draw.limits, "version": draw.limits_version}
    version = DrawLimits(draw_id=draw.id, version=values["limits_version"], limits=values["limits"])
    version.made_by = intent.asked_by
    return _Change("draw.limits", before, values, [version])


def _new_times(draw: Draw, intent: Intent) -> _Change:
    before = _times(draw)
    values = {name: datetime.fromisoformat(intent.payload[name]) for name in before}
    return _Change("draw.move_cutoff", before, values, [])
