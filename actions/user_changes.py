"""Changing a user: particulars, commission, credit limit, password, and below whom an agent stands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from actions import credit_limits
from actions.audit import record
from actions.credit import push_after_commit
from actions.ended_logins import push_ended
from actions.passwords import give_one_time_password
from actions.resources import Resources
from actions.standing import ask_to_tell, tell_standing_after_commit
from actions.subtree import acting, changeable, reachable
from actions.user_bodies import bodies
from actions.users import PRINTING, check_commission, check_template, may_give_limit, parent_for
from models.people import CommissionRate, User, lock_users
from rules.errors import Forbidden, InsufficientCredit, IntakeUnavailable, Invalid
from rules.rights import Role

PARTICULARS = frozenset({"full_name", "phone", "address"})
# How often we make way for somebody else who changes the same limit before we ask the caller to come again.
LIMIT_TRIES = 5
RETRY_AFTER_S = 1


def change_user(res: Resources, actor_id: int, user_id: int, data: Mapping[str, Any]) -> dict[str, Any]:
    """Changes what `data` names of a user below the actor, of oneself only one's particulars; gives the user.

    `data`: full_name, phone, address (None: empty), commission_bp, ticket_template, ticket_paper (mm), credit_limit
    (centavos, from administrators only), parent_id (agents only). All of it or nothing, but an agent's lower credit
    limit, which the gate decides, comes first. Raises NotFound, Forbidden, Invalid, InsufficientCredit;
    IntakeUnavailable: the lower limit is asked for, and the same call again tells what became of it.
    """
    for _ in range(LIMIT_TRIES):
        try:
            return _change(res, actor_id, user_id, data)
        except credit_limits.LimitWaits as earlier:
            _settle_earlier(res, earlier)
    raise IntakeUnavailable("Others are changing this credit limit; ask again.", retry_after=RETRY_AFTER_S)


def reset_password(res: Resources, actor_id: int, user_id: int) -> str:
    """Gives a user below the actor a one-time password; all his sessions end. Raises NotFound, Forbidden."""
    with res.sessions.begin() as session:
        actor = acting(session, actor_id)
        changeable(session, actor, user_id)
        lock_users(session, [user_id])
        # He may have been moved out of reach while we waited for his row.
        password = give_one_time_password(session, changeable(session, actor, user_id))
    push_ended(res)
    return password


def _settle_earlier(res: Resources, earlier: credit_limits.LimitWaits) -> None:
    try:
        credit_limits.settle_lowered(res, earlier.intent_id)
    except InsufficientCredit:
        return  # it was told, or will be told, to whoever asked for that one


def _change(res: Resources, actor_id: int, user_id: int, data: Mapping[str, Any]) -> dict[str, Any]:
    with res.sessions.begin() as session:
        actor, user = _checked(res, session, actor_id, user_id, data)
        by = credit_limits.lowers(session, user, data["credit_limit"]) if "credit_limit" in data else 0
        intent_id = credit_limits.ask_to_lower(session, actor.id, user, by) if by else None
        if intent_id is None:
            _apply(res, session, actor, user, data)
    if intent_id is not None:
        credit_limits.settle_lowered(res, intent_id)
        rest = {name: value for name, value in data.items() if name != "credit_limit"}
        with res.sessions.begin() as session:
            actor, user = _checked(res, session, actor_id, user_id, rest)
            _apply(res, session, actor, user, rest)
    if data.get("credit_limit"):
        push_after_commit(res, user_id)
    if "parent_id" in data:
        tell_standing_after_commit(res)
    with res.sessions() as session:
        return bodies(session, [session.get_one(User, user_id)])[0]


def _checked(
    res: Resources, session: Session, actor_id: int, user_id: int, data: Mapping[str, Any]
) -> tuple[User, User]:
    """(actor, user), the user's row locked, once the actor may do all that `data` asks for."""
    actor = acting(session, actor_id)
    user = reachable(session, actor, user_id)
    if user.id != actor.id:
        changeable(session, actor, user_id)
    elif not data.keys() <= PARTICULARS:
        raise Forbidden("Only somebody above you changes this.")
    check_template(res, data)
    lock_users(session, [user.id])
    if "credit_limit" in data:
        may_give_limit(actor, 1)
    if "parent_id" in data:
        if user.role != Role.AGENT:
            raise Invalid(errors=[{"path": "parent_id", "message": "only agents can be moved"}])
        parent_for(session, actor, data["parent_id"], Role(user.role))
    # He may have been moved out of reach while we waited for his row.
    return actor, reachable(session, actor, user_id)


def _apply(res: Resources, session: Session, actor: User, user: User, data: Mapping[str, Any]) -> None:
    """Makes the changes, and notes those that are any."""
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}

    def note(name: str, was: Any, becomes: Any) -> bool:
        if was != becomes:
            before[name], after[name] = was, becomes
        return bool(was != becomes)

    for name in sorted((PARTICULARS | set(PRINTING)) & data.keys()):
        if note(name, getattr(user, name), data[name]):
            setattr(user, name, data[name])
    moved = "parent_id" in data and note("parent_id", user.parent_id, data["parent_id"])
    if moved:
        parent = session.get_one(User, data["parent_id"])
        user.parent_id, user.ancestors = parent.id, [*parent.ancestors, parent.id]
        ask_to_tell(session, user.id, actor.id, {"parent_id": parent.id})
    rate = data.get("commission_bp", user.commission_bp)
    if note("commission_bp", user.commission_bp, rate) or moved:
        user.commission_bp = rate
        session.add(CommissionRate(user_id=user.id, bp=rate, ancestors=user.ancestors))
        session.flush()
        check_commission(res, session, user)
    session.flush()  # the user's row before the wallet's
    if "credit_limit" in data:
        note("credit_limit", credit_limits.set_now(session, user, data["credit_limit"]), data["credit_limit"])
    if after:
        record(session, "user.change", f"user:{user.id}", before, after)
