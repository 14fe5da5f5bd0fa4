"""Who is acting, and whom he may reach: everyone sees and changes only what stands below himself."""

from __future__ import annotations

from sqlalchemy.orm import Session

from models.people import User, subtree_user
from rules.errors import NotFound, TokenRevoked

_ID_MAX = 2**63 - 1  # a bigint; no user has a higher id


def acting(session: Session, user_id: int) -> User:
    """The user behind a token. Raises TokenRevoked when he is gone or suspended since it was issued."""
    user = session.get(User, user_id)
    if user is None or user.status != "active":
        raise TokenRevoked
    return user


def reachable(session: Session, actor: User, user_id: int) -> User:
    """A user at or below the actor. Raises NotFound, for one elsewhere as for none."""
    user = subtree_user(session, actor, user_id) if 0 < user_id <= _ID_MAX else None
    if user is None:
        raise NotFound
    return user
