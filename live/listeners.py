"""Who is connected, by what token, and who has to leave."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from actions import logins
from actions.access_tokens import access_claims
from actions.resources import Resources
from models.logins import standing_logins
from rules.errors import BadToken, PasswordChangeRequired, TokenExpired, TokenRevoked
from rules.rights import Role
from rules.rooms import rooms_of
from runtime.key_ring import KeyRing

OF_ONE_USER_MAX = 20
SEQ_MAX = 2**53


class Listener(NamedTuple):
    """A connection: whose it is, where he stands, and until when (seconds since 1970) his token lasts."""

    user_id: int
    login_id: str
    role: Role
    ancestors: tuple[int, ...]
    expires: float

    @property
    def rooms(self) -> list[str]:
        return rooms_of(self.user_id, self.role, self.ancestors)


class Asked(NamedTuple):
    """What a client sends to connect; `since`: the last event that it knows of, None: it asks for none."""

    listener: Listener
    since: int | None


def read_connect(res: Resources, ring: KeyRing, auth: Any) -> Asked:
    """Who connects with {token, since?}. Raises BadToken, TokenExpired, TokenRevoked, PasswordChangeRequired, and
    ValueError for a `since` that is no number."""
    if not isinstance(auth, dict):
        raise BadToken
    claims = access_claims(ring, auth.get("token"))
    since = auth.get("since")
    if since is not None and (type(since) is not int or not 0 <= since <= SEQ_MAX):
        raise ValueError("since")
    try:
        user_id, login_id, expires = int(claims["sub"]), str(uuid.UUID(claims["sid"])), float(claims["exp"])
    except (ValueError, TypeError, AttributeError) as error:
        raise BadToken from error
    if logins.check(res, user_id, login_id).must_change_password:
        raise PasswordChangeRequired
    found = _standing(res, [login_id]).get(login_id)
    if found is None:
        raise TokenRevoked
    return Asked(Listener(user_id, login_id, *found, expires), since)


def who_must_leave(res: Resources, listeners: Iterable[Listener], now: float) -> dict[Listener, str]:
    """Those whose token or login has ended, who are suspended, or who stand elsewhere by now, with the code to tell."""
    here = list(listeners)
    found = _standing(res, {listener.login_id for listener in here}) if here else {}
    leaving: dict[Listener, str] = {}
    for listener in here:
        if listener.expires <= now:
            leaving[listener] = TokenExpired.code
        elif found.get(listener.login_id) is None:
            leaving[listener] = TokenRevoked.code
        elif found[listener.login_id] != (listener.role, listener.ancestors):
            leaving[listener] = "moved"  # he comes back, and hears what he may from there
    return leaving


def _standing(res: Resources, login_ids: Iterable[str]) -> dict[str, tuple[Role, tuple[int, ...]]]:
    with res.sessions() as session:
        rows: Sequence[Any] = standing_logins(session, [uuid.UUID(one) for one in login_ids], res.clock.now())
    return {str(login_id): (Role(role), tuple(ancestors)) for login_id, role, ancestors in rows}
