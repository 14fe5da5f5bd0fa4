"""Suspending and reactivating: decided in PostgreSQL, then told to the gate, which sells for nobody suspended.

Only a coordinator's suspension reaches those below him; an administrator's stops that person alone.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import structlog
from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session

from actions.audit import record
from actions.resources import Resources
from actions.subtree import acting, changeable, reachable
from actions.user_bodies import bodies
from models.draws import Intent
from models.gate_state import share_generation
from models.people import User, agents_below, lock_users, suspended_among
from rules.errors import Forbidden, IntakeUnavailable, LastSuperadmin
from rules.rights import RANK, Role

STANDING = "standing"

_log = structlog.get_logger()


def suspend(res: Resources, actor_id: int, user_id: int, reason: str) -> dict[str, Any]:
    """Suspends somebody below the actor: no login, no call and no sale of his is taken from the answer on.

    Raises NotFound, Forbidden, LastSuperadmin; IntakeUnavailable: suspended, but the gate has still to be told, which
    the same call again or a sweep does.
    """
    _set_status(res, actor_id, user_id, "suspended", reason)
    tell_standing(res)
    return _body(res, user_id)


def reactivate(res: Resources, actor_id: int, user_id: int) -> dict[str, Any]:
    """Takes a suspension back, unless somebody above the actor made it; under a suspended coordinator he stays
    suspended with him. Raises as `suspend`."""
    _set_status(res, actor_id, user_id, "active", None)
    tell_standing_after_commit(res)
    return _body(res, user_id)


def ask_to_tell(session: Session, user_id: int, asked_by: int | None, why: dict[str, Any]) -> None:
    """Notes that the gate must learn how this user and everyone below him stand."""
    session.add(Intent(kind=STANDING, user_id=user_id, payload=why, asked_by=asked_by))


def tell_standing_after_commit(res: Resources) -> None:
    """Tells the gate at once; if that is away, the sweep will."""
    try:
        tell_standing(res)
    except IntakeUnavailable as problem:
        _log.warning("standing_waits_for_the_gate", reason=problem.detail)


def tell_standing(res: Resources) -> int:
    """Tells the gate how everybody stands about whom that was asked; how many intents are done. Safe to repeat.

    What is told is read after all that was told before: one teller at a time, and the gate takes no older number.
    Raises IntakeUnavailable.
    """
    if not anything_to_tell(res):
        return 0
    with res.sessions.begin() as session:
        # No rebuild between the call and the note that it was made. Should the database give this transaction up
        # meanwhile, a rebuilt gate takes nothing that was read before.
        generation = share_generation(session)
        session.execute(text("SELECT pg_advisory_xact_lock(hashtext('standing'))"))
        intents = {row.id: row.user_id for row in session.execute(_waiting())}
        version = session.scalar(text("SELECT nextval('standing_version')"))
        assert isinstance(version, int)
        agents = agents_below(session, set(intents.values()))
        suspended = suspended_among(session, agents)
        res.gate.set_standing([(agent, agent in suspended) for agent in agents], version, generation=generation)
        done = update(Intent).where(Intent.id.in_(intents), Intent.status == "asked")
        session.execute(done.values(status="posted", done_at=func.now()))
    return len(intents)


def _waiting() -> Any:
    waiting = select(Intent.id, Intent.user_id).where(Intent.status == "asked", Intent.kind == STANDING)
    return waiting.order_by(Intent.asked_at)


def anything_to_tell(res: Resources, waited: timedelta | None = None) -> bool:
    """Whether anything is to be told to the gate; `waited`: that has waited for longer."""
    query = _waiting().limit(1)
    if waited is not None:
        query = query.where(Intent.asked_at < func.now() - waited)
    with res.sessions() as session:
        return session.execute(query).first() is not None


def _set_status(res: Resources, actor_id: int, user_id: int, status: str, reason: str | None) -> None:
    with res.sessions.begin() as session:
        user = _locked(session, actor_id, user_id, status)
        before, user.status = user.status, status
        if before == status:
            return
        user.suspended_by = actor_id if status == "suspended" else None
        why = {"status": status, **({"reason": reason} if reason is not None else {})}
        ask_to_tell(session, user.id, actor_id, why)
        action = "user.suspend" if status == "suspended" else "user.reactivate"
        record(session, action, f"user:{user.id}", {"status": before}, why)


def _locked(session: Session, actor_id: int, user_id: int, status: str) -> User:
    """The user with his row locked. Superadmins are locked together, or two could suspend each other."""
    actor = acting(session, actor_id)
    user = reachable(session, actor, user_id)
    superadmins = select(User.id).where(User.role == Role.SUPERADMIN)
    ids = set(session.scalars(superadmins)) if user.role == Role.SUPERADMIN else {user.id}
    locked = lock_users(session, ids | {user.id})
    acting(session, actor_id)  # while we waited, somebody may have suspended the actor
    if user.role == Role.SUPERADMIN and status == "suspended":
        others = [other for other in locked.values() if other.id != user.id and other.status == "active"]
        if user.status == "active" and not others:
            raise LastSuperadmin
    if status == "active" and user.suspended_by is not None:
        _must_not_stand_below(actor, session.get_one(User, user.suspended_by))
    return changeable(session, actor, user_id)


def _must_not_stand_below(actor: User, suspender: User) -> None:
    """Raises Forbidden: what somebody higher has suspended, somebody lower does not lift."""
    if actor.role == Role.SUPERADMIN:
        return
    if suspender.id in actor.ancestors or RANK[Role(suspender.role)] > RANK[Role(actor.role)]:
        raise Forbidden("Somebody above you has suspended this user.")


def _body(res: Resources, user_id: int) -> dict[str, Any]:
    with res.sessions() as session:
        return bodies(session, [session.get_one(User, user_id)])[0]
