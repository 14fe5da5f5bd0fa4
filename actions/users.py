"""People: who they are, who stands below whom, and their passwords."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, sessionmaker

from actions.credit import push_after_commit
from actions.resources import Resources
from actions.subtree import acting, reachable
from models.ledger import Account
from models.people import User, Wallet, lock_wallets, loosen, subtree_page, user_by_name
from rules.errors import BadCredentials, Forbidden, Invalid, UsernameTaken
from rules.rights import RANK, Role, may_create

PASSWORD_CHARACTERS_MIN = 8
PASSWORD_CHARACTERS_MAX = 128
# As the database holds them, in lower case.
USERNAME = re.compile(r"\A[a-z0-9][a-z0-9._-]{2,31}\Z")
FIRST_USERNAME = "superadmin"

# OWASP's first choice for argon2id: 19 MiB and two passes, about 20 ms; 32 logins at once stay below 1 GiB.
_HASHER = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
# Only administrators stand high enough to be above an operator, who reads as much as they do.
_ABOVE_OPERATORS = frozenset({Role.SUPERADMIN, Role.ADMIN})
_BELOW_THEIR_LIKE = frozenset({Role.SUPERADMIN, Role.COORDINATOR})
# A credit limit is the house's money: who loads out of his own wallet would make it out of nothing.
_GIVE_CREDIT_LIMITS = frozenset({Role.SUPERADMIN, Role.ADMIN})


def ensure_superadmin(sessions: sessionmaker[Session], password: str) -> bool:
    """Makes the first superadmin with that password; False: there is a superadmin already. Raises Invalid."""
    _check_password(password)
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


def login(res: Resources, username: str, password: str) -> User:
    """The user with that name and password. Raises BadCredentials, after the same work for every reason."""
    name = username.lower() if username.isascii() else ""
    user = None
    if USERNAME.match(name):
        with res.sessions() as session:
            user = user_by_name(session, name)
    nobody = _hash_of_nobody()  # made before it is needed: the first unknown name must not take longer
    right = _matches(user.password_hash if user else nobody, password)
    if user is None or not right or user.status != "active":
        raise BadCredentials
    return user


def me(res: Resources, user_id: int) -> dict[str, Any]:
    """The user's own data; `available` counts what has reached the database. Raises TokenRevoked."""
    with res.sessions() as session:
        return _bodies(session, [acting(session, user_id)])[0]


def create_user(res: Resources, actor_id: int, data: Mapping[str, Any]) -> dict[str, Any]:
    """Makes a user below the actor, or below `parent_id` in his subtree, with a wallet and its account.

    `data`: username, password, role; maybe parent_id, full_name, phone, address, commission_bp, credit_limit
    (centavos, above 0 from administrators only). Raises Forbidden, NotFound (parent), Invalid, UsernameTaken.
    """
    role = Role(data["role"])
    _check_password(data["password"])
    try:
        with res.sessions.begin() as session:
            actor = acting(session, actor_id)
            if not may_create(Role(actor.role), role):
                raise Forbidden
            if data.get("credit_limit") and Role(actor.role) not in _GIVE_CREDIT_LIMITS:
                raise Forbidden("Only administrators give a credit limit; load from your own wallet instead.")
            parent = _parent(session, actor, data.get("parent_id"), role)
            user = _add(session, parent, data)
            body = _bodies(session, [user])[0]
    except IntegrityError as error:
        if not _name_is_taken(error):
            raise
        raise UsernameTaken from error
    if data.get("credit_limit"):
        push_after_commit(res, user.id)
    return body


def get_user(res: Resources, actor_id: int, user_id: int) -> dict[str, Any]:
    """A user of the actor's subtree. Raises NotFound."""
    with res.sessions() as session:
        return _bodies(session, [reachable(session, acting(session, actor_id), user_id)])[0]


def users_page(res: Resources, actor_id: int, limit: int, cursor: str | None) -> dict[str, Any]:
    """{"items", "next"} of the actor's subtree, newest first. Raises Invalid (cursor)."""
    if cursor is not None and not re.match(r"\A[0-9]{1,18}\Z", cursor):
        raise Invalid(errors=[{"path": "cursor", "message": "not a cursor of this list"}])
    before = None if cursor is None else int(cursor)
    with res.sessions() as session:
        users = subtree_page(session, acting(session, actor_id), limit + 1, before)
        items = _bodies(session, users[:limit])
    return {"items": items, "next": str(users[limit - 1].id) if len(users) > limit else None}


def _parent(session: Session, actor: User, parent_id: int | None, role: Role) -> User:
    parent = actor if parent_id is None else reachable(session, actor, parent_id)
    if not _may_stand_under(role, Role(parent.role)):
        message = f"nobody with the role {role} stands under a user with the role {parent.role}"
        raise Invalid(errors=[{"path": "parent_id", "message": message}])
    return parent


def _may_stand_under(role: Role, parent: Role) -> bool:
    if role is Role.OPERATOR:
        return parent in _ABOVE_OPERATORS
    return RANK[parent] > RANK[role] or (role is parent and role in _BELOW_THEIR_LIKE)


def _add(session: Session, parent: User | None, data: Mapping[str, Any]) -> User:
    user = User(
        username=data["username"].lower(),
        password_hash=_HASHER.hash(data["password"]),
        role=data["role"],
        parent_id=parent.id if parent else None,
        ancestors=[*parent.ancestors, parent.id] if parent else [],
        commission_bp=data.get("commission_bp", 0),
        **{name: data.get(name) for name in ("full_name", "phone", "address")},
    )
    session.add(user)
    session.flush()
    limit = data.get("credit_limit", 0)
    session.add_all([Wallet(user_id=user.id, credit_limit=limit), Account(kind="wallet", user_id=user.id)])
    session.flush()
    if limit and user.role == Role.AGENT:
        lock_wallets(session, [user.id])
        loosen(session, {user.id: limit}, "credit limit")
    return user


def _bodies(session: Session, users: Sequence[User]) -> list[dict[str, Any]]:
    query = select(Wallet).where(Wallet.user_id.in_([user.id for user in users]))
    wallets = {wallet.user_id: wallet for wallet in session.scalars(query)}
    return [_body(user, wallets[user.id]) for user in users]


def _body(user: User, wallet: Wallet) -> dict[str, Any]:
    return {
        "id": user.id,
        "username": user.username,
        "role": user.role,
        "parent_id": user.parent_id,
        "status": user.status,
        "full_name": user.full_name,
        "phone": user.phone,
        "address": user.address,
        "commission_bp": user.commission_bp,
        "created_at": user.created_at.isoformat(),
        "wallet": {
            "balance": wallet.balance,
            "credit_limit": wallet.credit_limit,
            "available": wallet.balance + wallet.credit_limit,
        },
    }


def _check_password(password: str) -> None:
    if not PASSWORD_CHARACTERS_MIN <= len(password) <= PASSWORD_CHARACTERS_MAX:
        message = f"{PASSWORD_CHARACTERS_MIN} to {PASSWORD_CHARACTERS_MAX} characters"
        raise Invalid(errors=[{"path": "password", "message": message}])


def _matches(password_hash: str, password: str) -> bool:
    try:
        return _HASHER.verify(password_hash, password)
    except (VerificationError, InvalidHashError):
        return False


@cache
def _hash_of_nobody() -> str:
    """What a password is compared with when there is no such user, so that the answer takes as long."""
    return _HASHER.hash("nobody has this password")


def _name_is_taken(error: IntegrityError) -> bool:
    return "users_username_key" in str(error.orig)
