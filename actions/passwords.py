"""Passwords: which are good enough, how they are kept, and whether one is right."""

from __future__ import annotations

import re
from functools import cache

import bcrypt
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session
from zxcvbn.frequency_lists import FREQUENCY_LISTS

from actions.audit import record
from models.logins import end_logins
from models.people import User
from rules.errors import Invalid
from runtime.secret_files import new_password

PASSWORD_CHARACTERS_MIN = 8
PASSWORD_CHARACTERS_MAX = 128
# A password that somebody else chose is good for so long, and only for choosing another one.
ONE_TIME_HOURS = 24

# OWASP's first choice for argon2id: 19 MiB and two passes, about 20 ms; 32 logins at once stay below 1 GiB.
_HASHER = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)

# Hashes moved here from an older system. bcrypt itself never looked at more than 72 bytes.
BCRYPT = re.compile(r"\A\$2[aby]\$(0[4-9]|1[0-6])\$[./A-Za-z0-9]{53}\Z")
_BCRYPT_BYTES_MAX = 72
_BCRYPT_PREFIX = "$2"


def check_password(password: str, username: str, path: str = "password") -> None:
    """Raises Invalid for a password that nobody should have, naming the field `path`."""
    message = None
    if not PASSWORD_CHARACTERS_MIN <= len(password) <= PASSWORD_CHARACTERS_MAX:
        message = f"{PASSWORD_CHARACTERS_MIN} to {PASSWORD_CHARACTERS_MAX} characters"
    elif password.lower() in _common_passwords() or password.lower() == username.lower():
        message = "too easily guessed: a password that many people have, or the username"
    if message:
        raise Invalid(errors=[{"path": path, "message": message}])


def hash_password(password: str) -> str:
    """What is kept of a password."""
    return _HASHER.hash(password)


def matches(kept: str, password: str) -> bool:
    """Whether the password is the one that `kept` was made of."""
    return _matches_bcrypt(kept, password) if kept.startswith(_BCRYPT_PREFIX) else _matches_argon2(kept, password)


def matches_after_equal_work(kept: str | None, password: str, bcrypt_sample: str | None) -> bool:
    """As `matches`, for a login: the time it takes says neither whether the user exists nor what kind his hash is.

    `kept` None: there is no such user. `bcrypt_sample`: a bcrypt hash that some user still has, if any has one; as
    long as there is one, every login works on both kinds.
    """
    moved = kept is not None and kept.startswith(_BCRYPT_PREFIX)
    right = _matches_argon2(_hash_of_nobody() if kept is None or moved else kept, password) and not moved
    if bcrypt_sample is not None or moved:
        right_of_moved = _matches_bcrypt(kept if kept and moved else bcrypt_sample or "", password)
        right = right_of_moved if moved else right
    return right and kept is not None


def some_bcrypt_hash(session: Session) -> str | None:
    """A hash from the older system, while any user has one."""
    # Word for word the condition of the index users_moved, so that looking for none costs nothing.
    moved = text("password_hash LIKE '$2%'")
    return session.scalar(select(User.password_hash).where(moved).order_by(User.id).limit(1))


def outdated(kept: str) -> bool:
    """Whether the hash is of a kind or strength that we no longer make."""
    return kept.startswith(_BCRYPT_PREFIX) or _HASHER.check_needs_rehash(kept)


def set_password(session: Session, user: User, kept: str, *, one_time: bool) -> None:
    """Gives the user, whose row must be locked, another password by its hash."""
    user.password_hash = kept
    user.must_change_password = one_time
    user.password_changed_at = session.scalars(select(func.clock_timestamp())).one()


def give_one_time_password(session: Session, user: User) -> str:
    """A new password for somebody below, in the caller's transaction; the user's row must be locked.

    It is good for 24 hours and only for choosing another one; every session of the user ends, and his one-time codes
    are off: whoever lost his phone sets them up again. After the commit call `ended_logins.push_ended`.
    """
    password = new_password()
    before = {"totp": user.totp_confirmed_at is not None}
    set_password(session, user, hash_password(password), one_time=True)
    user.totp_secret = user.totp_confirmed_at = None
    ended = end_logins(session, user.id, "password reset")
    record(session, "password.reset", f"user:{user.id}", before, {"totp": False, "sessions_ended": len(ended)})
    session.flush()
    return password


def _matches_argon2(kept: str, password: str) -> bool:
    try:
        return _HASHER.verify(kept, password)
    except (VerificationError, InvalidHashError):
        return False


def _matches_bcrypt(kept: str, password: str) -> bool:
    raw = password.encode(errors="replace")
    if not BCRYPT.match(kept) or b"\0" in raw:
        return False
    return bcrypt.checkpw(raw[:_BCRYPT_BYTES_MAX], kept.encode())


@cache
def _hash_of_nobody() -> str:
    """What a password is compared with when there is no such user, so that the answer takes as long."""
    return _HASHER.hash("nobody has this password")


@cache
def _common_passwords() -> frozenset[str]:
    """Those of the 30,000 most used ones that are long enough to be asked for, in lower case."""
    return frozenset(word for word in FREQUENCY_LISTS["passwords"] if len(word) >= PASSWORD_CHARACTERS_MIN)
