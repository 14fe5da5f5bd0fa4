"""Logging in and out: a login is a session, which lives from one refresh token to the next until it ends."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy.orm import Session

from actions.audit import record
from actions.ended_logins import push_end_of, push_ended
from actions.pages import not_a_cursor
from actions.passwords import (
    ONE_TIME_HOURS,
    check_password,
    hash_password,
    matches,
    matches_after_equal_work,
    outdated,
    set_password,
    some_bcrypt_hash,
)
from actions.resources import Resources
from actions.subtree import acting, reachable
from actions.totp import take_code
from actions.users import USERNAME
from models.logins import (
    Login,
    Standing,
    end_logins,
    knows_device,
    live_logins,
    live_standing,
    lock_login,
)
from models.people import User, lock_users, suspended_among, user_by_name
from rules.errors import (
    BadCredentials,
    Forbidden,
    Invalid,
    NotFound,
    TokenReused,
    TokenRevoked,
    WrongPassword,
)
from rules.rights import Role
from runtime.origin import origin, set_origin

# A terminal that lost our answer sends the spent token again: for so long it gets that answer again.
SPENT_AGAIN_S = 10

_CURSOR = re.compile(r"\A([0-9]{1,17})\.([0-9a-f-]{36})\Z")


class Attempt(NamedTuple):
    """What somebody gives to log in, and from where."""

    username: str
    password: str
    otp: str | None
    device: str
    address: str


class Opened(NamedTuple):
    """A session as tokens are made for it: refresh token `number`, at `rotated_at`, signed by the key `kid`."""

    user_id: int
    username: str
    role: Role
    must_change_password: bool
    session: str
    number: int
    rotated_at: datetime
    expires_at: datetime
    kid: str


# ── in and out ──────────────────────────────────────────────────────────────────────────────────────────────────────


def device_is_known(res: Resources, username: str, device: str, address: str) -> bool:
    """Whether that user has logged in before from a device of that name or, if it has none, from that address."""
    with res.sessions() as session:
        return knows_device(session, _name(username), device, address)


def log_in(res: Resources, attempt: Attempt, kid: str) -> Opened:
    """Opens a session. Raises BadCredentials, after the same work for every reason."""
    name = _name(attempt.username)
    with res.sessions() as session:
        user = user_by_name(session, name) if name else None
        sample = some_bcrypt_hash(session)
    kept = user.password_hash if user else None
    right = matches_after_equal_work(kept, attempt.password, sample)
    better = hash_password(attempt.password) if right and kept and outdated(kept) else None
    with res.sessions.begin() as session:
        opened = _open(res, session, user, attempt, kid, better) if user and right else None
        if opened is None:
            about = f"user:{user.id}" if user else "user:unknown"
            record(session, "login", about, outcome=BadCredentials.code)
    if opened is None:
        raise BadCredentials
    return opened


def _name(typed: str) -> str:
    name = typed.lower() if typed.isascii() else ""
    return name if USERNAME.match(name) else ""


def _open(
    res: Resources, session: Session, seen: User, attempt: Attempt, kid: str, better: str | None
) -> Opened | None:
    """Opens a session for the user as he was `seen` when his password was right; None: something else is wrong."""
    now = res.clock.now()
    seen_at = seen.password_changed_at
    user = lock_users(session, [seen.id])[seen.id]
    if user.password_changed_at != seen_at or suspended_among(session, [user.id]):
        return None
    if user.must_change_password and user.password_changed_at < now - timedelta(hours=ONE_TIME_HOURS):
        return None
    if user.totp_confirmed_at is not None and not take_code(res.settings.code_key, user, attempt.otp, now):
        return None
    if better is not None:
        user.password_hash = better
    login = Login(
        user_id=user.id,
        device=attempt.device,
        address=attempt.address,
        expires_at=now + timedelta(days=res.settings.session_days),
        rotated_at=now,
        last_used_at=now,
        number=1,
        kid=kid,
    )
    session.add(login)
    session.flush()
    set_origin(origin()._replace(actor_id=user.id, actor=user.username, role=user.role))
    record(session, "login", f"user:{user.id}", None, {"session": str(login.id), "device": attempt.device})
    return _opened(user, login)


def refresh(res: Resources, user_id: int, login_id: str, number: int, kid: str) -> Opened:
    """Spends refresh token `number` of a session for the next one.

    The spent one, sent again within 10 s, gets that same next one; later the session ends. Raises TokenReused,
    TokenRevoked.
    """
    with res.sessions.begin() as session:
        login = lock_login(session, user_id, _uuid(login_id))
        now = res.clock.now()
        if login is None or login.ended_at is not None or login.expires_at <= now:
            raise TokenRevoked
        again = number == login.number - 1 and now - login.rotated_at <= timedelta(seconds=SPENT_AGAIN_S)
        reused = number < login.number and not again
        if reused:
            end_logins(session, user_id, "refresh token reused", only=login.id)
            record(session, "session.end", f"user:{user_id}", None, _named(login), outcome=TokenReused.code)
        else:
            user = acting(session, user_id)
            if not again:
                # A higher number than ours was given before the database was restored from a backup.
                login.number = number + 1
                login.rotated_at = login.last_used_at = now
                login.kid = kid
            opened = _opened(user, login)
    if reused:
        push_ended(res)
        raise TokenReused
    return opened


def log_out(res: Resources, user_id: int, login_id: str) -> None:
    """Ends one's own session. Raises TokenRevoked (it has ended already).

    IntakeUnavailable: an agent's session has ended, but the gate has still to be told, which the same call
    again or a sweep does; until then it may sell.
    """
    with res.sessions.begin() as session:
        if not end_logins(session, user_id, "logout", only=_uuid(login_id)):
            raise TokenRevoked
        record(session, "logout", f"user:{user_id}", None, {"session": login_id})
        role = Role(session.get_one(User, user_id).role)
    push_end_of(res, role, _uuid(login_id))


def check(res: Resources, user_id: int, login_id: str) -> Standing:
    """What the user of this login owes before anything else. Raises TokenRevoked (suspended, or it has ended)."""
    with res.sessions() as session:
        found = live_standing(session, user_id, _uuid(login_id), res.clock.now())
    if found is None:
        raise TokenRevoked
    return found


# ── proving who one is ──────────────────────────────────────────────────────────────────────────────────────────────


def step_up(res: Resources, user_id: int, login_id: str, password: str | None, otp: str | None) -> Opened:
    """Proves once more who is there, by password or one-time code. Raises WrongPassword, TokenRevoked.

    `rotated_at` is the instant of the proof, at which the session was live.
    """
    if password is not None:
        kept, _ = _password_of(res, user_id)
        if not matches(kept, password):
            raise WrongPassword
    with res.sessions.begin() as session:
        user = lock_users(session, [user_id])[user_id]
        login = lock_login(session, user_id, _uuid(login_id))
        now = res.clock.now()
        if login is None or login.ended_at is not None or login.expires_at <= now:
            raise TokenRevoked
        if password is None and (user.totp_confirmed_at is None or not _takes(res, user, otp, now)):
            raise WrongPassword
        record(session, "step_up", f"user:{user_id}", None, {"session": login_id})
        return _opened(user, login)._replace(rotated_at=now)


def _takes(res: Resources, user: User, otp: str | None, now: datetime) -> bool:
    return take_code(res.settings.code_key, user, otp, now)


def change_password(res: Resources, user_id: int, login_id: str, current: str, new: str) -> None:
    """Another password for oneself; all other sessions end. Raises WrongPassword, Invalid, TokenRevoked.

    Where the gate cannot be told at once, a sweep tells it: until then an agent's other sessions may sell.
    """
    kept, username = _password_of(res, user_id)
    if not matches(kept, current):
        raise WrongPassword
    check_password(new, username, path="new")
    if new == current:
        raise Invalid(errors=[{"path": "new", "message": "another one than the current password"}])
    hashed = hash_password(new)
    with res.sessions.begin() as session:
        user = lock_users(session, [user_id])[user_id]
        if user.password_hash != kept:
            raise WrongPassword  # it was changed while we looked
        set_password(session, user, hashed, one_time=False)
        ended = end_logins(session, user_id, "password changed", but=_uuid(login_id))
        record(session, "password.change", f"user:{user_id}", None, {"sessions_ended": len(ended)})
    push_ended(res)


def _password_of(res: Resources, user_id: int) -> tuple[str, str]:
    with res.sessions() as session:
        user = session.get(User, user_id)
    if user is None:
        raise TokenRevoked
    return user.password_hash, user.username


# ── sessions as things ──────────────────────────────────────────────────────────────────────────────────────────────


def sessions_page(
    res: Resources, actor_id: int, own: str, user_id: int, limit: int, cursor: str | None
) -> dict[str, Any]:
    """{"items", "next"}: live sessions of a user of the actor's subtree, newest first. Raises NotFound, Invalid."""
    before = _parse_cursor(cursor)
    with res.sessions() as session:
        user = reachable(session, acting(session, actor_id), user_id)
        found = live_logins(session, user.id, res.clock.now(), limit + 1, before)
    items = [_body(login, own) for login in found[:limit]]
    last = found[limit - 1] if len(found) > limit else None
    return {"items": items, "next": None if last is None else _cursor_of(last)}


def end_session(res: Resources, actor_id: int, user_id: int, login_id: str) -> None:
    """Ends a session of one's own, or of somebody below; once more changes nothing. Raises NotFound, Forbidden.

    IntakeUnavailable: an agent's session has ended, but the gate has still to be told, which the same call again or a
    sweep does; until then it may sell.
    """
    with res.sessions.begin() as session:
        actor = acting(session, actor_id)
        user = reachable(session, actor, user_id)
        if user.id != actor.id and Role(actor.role) is Role.OPERATOR:
            raise Forbidden
        try:
            login = lock_login(session, user.id, UUID(login_id))
        except ValueError:
            login = None
        if login is None:
            raise NotFound
        if end_logins(session, user.id, f"ended by user {actor.id}", only=login.id):
            record(session, "session.end", f"user:{user.id}", _named(login), None)
        role, ended = Role(user.role), login.id
    push_end_of(res, role, ended)


def _opened(user: User, login: Login) -> Opened:
    return Opened(
        user_id=user.id,
        username=user.username,
        role=Role(user.role),
        must_change_password=user.must_change_password,
        session=str(login.id),
        number=login.number,
        rotated_at=login.rotated_at,
        expires_at=login.expires_at,
        kid=login.kid,
    )


def _body(login: Login, own: str) -> dict[str, Any]:
    return {
        "id": str(login.id),
        "device": login.device,
        "address": login.address,
        "created_at": login.created_at.isoformat(),
        "last_used_at": login.last_used_at.isoformat(),
        "expires_at": login.expires_at.isoformat(),
        "current": str(login.id) == own,
    }


def _named(login: Login) -> dict[str, str]:
    return {"session": str(login.id), "device": login.device}


def _uuid(login_id: str) -> UUID:
    try:
        return UUID(login_id)
    except ValueError as error:
        raise TokenRevoked from error


def _cursor_of(login: Login) -> str:
    return f"{round(login.created_at.timestamp() * 1_000_000)}.{login.id}"


def _parse_cursor(cursor: str | None) -> tuple[datetime, UUID] | None:
    if cursor is None:
        return None
    found = _CURSOR.match(cursor)
    try:
        if found is None:
            raise ValueError
        instant = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(found[1]))
        return instant, UUID(found[2])
    except (ValueError, OverflowError) as error:
        raise not_a_cursor() from error
