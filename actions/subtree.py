"""Who is acting, and whom he may reach: everyone sees and changes only what stands below himself."""

from __future__ import annotations

from sqlalchemy.orm import Session

from models.base import BIGINT_MAX
from models.people import User, subtree_user, suspended_among
from rules.errors import Forbidden, NotFound, TokenRevoked
from rules.rights import Role, may_create


def acting(session: Session, user_id: int) -> User:
    """The user behind a token. Raises TokenRevoked when he is gone, or suspended since it was issued."""
    user = session.get(User, user_id)
    if user is None or suspended_among(session, [user_id]):
        raise TokenRevoked
    return user


def reachable(session: Session, actor: User, user_id: int) -> User:
    """A user at or below the actor. Raises NotFound, for one elsewhere as for none."""
    user = subtree_user(session, actor, user_id) if 0 < user_id <= BIGINT_MAX else None
    if user is None:
        raise NotFound
    return user


def changeable(session: Session, actor: User, user_id: int) -> User:
    """A user below the actor whom he may change: whom he may make, he may change, and nobody else.

    Raises NotFound as `reachable` does; Forbidden for oneself, and for a rank that is not the actor's to give.
    """
    user = reachable(session, actor, user_id)
    if user.id == actor.id:
        raise Forbidden("Nobody does this to himself; ask somebody above you.")
    if not may_create(Role(actor.role), Role(user.role)):
        raise Forbidden
    return user
