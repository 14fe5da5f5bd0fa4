"""Rooms: who hears of what. Everybody with a login stands in some; what is told names those that it is for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rules.rights import Role

EVERYBODY = "all"

# They see everyone's things without standing above them.
_SEE_ALL = (Role.SUPERADMIN, Role.OPERATOR)


def of_user(user_id: int) -> str:
    """One person's."""
    return f"user:{user_id}"


def of_role(role: Role) -> str:
    """Of all with that role."""
    return f"role:{role}"


def under(top_id: int, role: Role | None = None) -> str:
    """Of the user and everyone below him, or of those among them with that role."""
    return f"under:{top_id}" if role is None else f"under:{top_id}:{role}"


def rooms_of(user_id: int, role: Role, ancestors: Iterable[int]) -> list[str]:
    """Where a user stands; `ancestors`: those above him, in any order."""
    tops = [*ancestors, user_id]
    found = [EVERYBODY, of_user(user_id), of_role(role)]
    return found + [under(top) for top in tops] + [under(top, role) for top in tops]


def who_reach(user_id: int, ancestors: Sequence[int]) -> list[str]:
    """The rooms of everyone who may know what becomes of a user: himself, those above him, and who see all."""
    return [of_user(one) for one in (user_id, *ancestors)] + [of_role(role) for role in _SEE_ALL]
