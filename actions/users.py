"""People: who they are, who stands below whom, and their passwords."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, sessionmaker

from actions.audit import record
from actions.credit import push_after_commit
from actions.pages import cursor_after, place_of
from actions.passwords import check_password, hash_password
from actions.resources import Resources
from actions.standing import ask_to_tell, tell_standing_after_commit
from actions.subtree import acting, reachable
from actions.user_bodies import bodies
from models.ledger import Account
from models.people import (
    CommissionRate,
    User,
    Wallet,
    commissions_over,
    lock_wallets,
    loosen,
    share_users,
    subtree_page,
    suspended_among,
)
from rules.errors import Forbidden, Invalid, UsernameTaken
from rules.rights import ADMINISTRATORS, Role, may_create, may_stand_under

# As the database holds them, in lower case.
USERNAME = re.compile(r"\A[a-z0-9][a-z0-9._-]{2,31}\Z")
FIRST_USERNAME = "superadmin"
# How somebody's tickets are printed.
PRINTING = ("ticket_template", "ticket_paper")


def ensure_superadmin(sessions: sessionmaker[Session], password: str) -> bool:
    """Makes the first superadmin with that password; False: there is a superadmin already. Raises Invalid."""
    check_password(password, FIRST_USERNAME)
    try:
        with sessions.begin() as session:
            if session.scalar(select(User.id).where(User.role == Role.SUPERADMIN).limit(1)) is not None:
                return False
            _add(session, None, {"username": FIRST_USERNAME, "password": password, "role": Role.SUPERADMIN})
    except IntegrityError as error:
        if not _name_is_taken(error):
            raise
        return False  # another setup was faster
    return True


def me(res: Resources, user_id: int) -> dict[str, Any]:
    """The user's own data; `available` counts what has reached the database. Raises TokenRevoked."""
    with res.sessions() as session:
        return bodies(session, [acting(session, user_id)])[0]


def create_user(res: Resources, actor_id: int, data: Mapping[str, Any]) -> dict[str, Any]:
    """Makes a user below the actor, or below `parent_id` in his subtree, with a wallet and its account.

    `data`: username, password, role; maybe parent_id, full_name, phone, address, commission_bp, ticket_template,
    ticket_paper (mm), credit_limit (centavos, above 0 from administrators only). Raises Forbidden, NotFound (parent),
    Invalid, UsernameTaken.
    """
    role = Role(data["role"])
    check_password(data["password"], data["username"])
    check_template(res, data)
    try:
        with res.sessions.begin() as session:
            actor = acting(session, actor_id)
            if not may_create(Role(actor.role), role):
                raise Forbidden
            may_give_limit(actor, data.get("credit_limit"))
            parent = parent_for(session, actor, data.get("parent_id"), role)
            user = _add(session, parent, data)
            check_commission(res, session, user)
            body = bodies(session, [user])[0]
            record(session, "user.create", f"user:{user.id}", None, _recorded(body))
    except IntegrityError as error:
        if not _name_is_taken(error):
            raise
        raise UsernameTaken from error
    if data.get("credit_limit"):
        push_after_commit(res, user.id)
    if body["status"] == "suspended":
        tell_standing_after_commit(res)
    return body


def check_template(res: Resources, data: Mapping[str, Any]) -> None:
    """That the `ticket_template` in it, if there is any, is one that tickets can be printed by. Raises Invalid."""
    if "ticket_template" in data and not res.printer.knows(data["ticket_template"]):
        raise Invalid(errors=[{"path": "ticket_template", "message": "there is no template of that name"}])


def check_commission(res: Resources, session: Session, user: User) -> None:
    """Bounds what coordinators give away of the house's money; asked once the change is made. Raises Invalid."""
    most = res.settings.commission_bp_max
    if over := commissions_over(session, [user.id], most):
        username, total = over[0]
        message = f"a sale of {username} would earn {total} with all above; at most {most}"
        raise Invalid(errors=[{"path": "commission_bp", "message": message}])


def get_user(res: Resources, actor_id: int, user_id: int) -> dict[str, Any]:
    """A user of the actor's subtree. Raises NotFound."""
    with res.sessions() as session:
        return bodies(session, [reachable(session, acting(session, actor_id), user_id)])[0]


def users_page(res: Resources, actor_id: int, limit: int, cursor: str | None) -> dict[str, Any]:
    """{"items", "next"} of the actor's subtree, newest first. Raises Invalid (cursor)."""
    last = place_of(cursor)
    with res.sessions() as session:
        users = subtree_page(session, acting(session, actor_id), limit + 1, last)
        items = bodies(session, users[:limit])
    return {"items": items, "next": cursor_after(users, limit, lambda user: user.id)}


def may_give_limit(actor: User, limit: int | None) -> None:
    """Raises Forbidden where somebody who loads out of his own wallet would give the house's money."""
    if limit and Role(actor.role) not in ADMINISTRATORS:
        raise Forbidden("Only administrators give a credit limit; load from your own wallet instead.")


def parent_for(session: Session, actor: User, parent_id: int | None, role: Role) -> User:
    """Whom somebody of that role may stand under: a user of the actor's subtree. Raises NotFound, Invalid."""
    parent = actor if parent_id is None else reachable(session, actor, parent_id)
    if not may_stand_under(role, Role(parent.role)):
        message = f"nobody with the role {role} stands under a user with the role {parent.role}"
        raise Invalid(errors=[{"path": "parent_id", "message": message}])
    return parent


def _recorded(body: Mapping[str, Any]) -> dict[str, Any]:
    """What the audit log keeps of a new user."""
    kept = ("username", "role", "parent_id", "full_name", "phone", "address", "commission_bp", *PRINTING)
    return {name: body[name] for name in kept} | {"credit_limit": body["wallet"]["credit_limit"]}


def _add(session: Session, parent: User | None, data: Mapping[str, Any]) -> User:
    user = User(
        username=data["username"].lower(),
        password_hash=hash_password(data["password"]),
        role=data["role"],
        parent_id=parent.id if parent else None,
        ancestors=[*parent.ancestors, parent.id] if parent else [],
        commission_bp=data.get("commission_bp", 0),
        **{name: data.get(name) for name in ("full_name", "phone", "address")},
        **{name: data[name] for name in PRINTING if name in data},
    )
    session.add(user)
    session.flush()
    limit = data.get("credit_limit", 0)
    session.add_all([Wallet(user_id=user.id, credit_limit=limit), Account(kind="wallet", user_id=user.id)])
    session.add(CommissionRate(user_id=user.id, bp=user.commission_bp, ancestors=user.ancestors))
    session.flush()
    if user.role == Role.AGENT:
        share_users(session, user.ancestors)  # a suspension from above sees him, or he sees it
        if suspended_among(session, [user.id]):
            ask_to_tell(session, user.id, None, {"made": "under a suspended coordinator"})
    if limit and user.role == Role.AGENT:
        lock_wallets(session, [user.id])
        loosen(session, {user.id: limit}, "credit limit")
    return user


def _name_is_taken(error: IntegrityError) -> bool:
    return "users_username_key" in str(error.orig)
