"""One-time codes (RFC 6238): setting them up, and taking each code once."""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from datetime import datetime

import pyotp
from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy.orm import Session

from actions.audit import record
from actions.passwords import matches
from actions.resources import Resources
from models.people import User, lock_users
from rules.errors import TokenRevoked, WrongPassword, WrongState

ISSUER = "drawbreak"
STEP_S = 30
# Clocks of phones differ, and people type slowly: the code before and the code after are right, too.
STEPS_OFF = 1

_KEY_BYTES = 32
_KEY_PURPOSE = b"drawbreak: secrets of one-time codes"


def start(res: Resources, user_id: int) -> dict[str, str]:
    """{secret, uri}: a new secret, good once `confirm` has seen a code of it. Raises WrongState (codes are on)."""
    secret = pyotp.random_base32()
    with res.sessions.begin() as session:
        user = _locked(session, user_id)
        if user.totp_confirmed_at is not None:
            raise WrongState("One-time codes are on already; take them off first.")
        user.totp_secret = _cipher(res.settings.code_key).encrypt(secret.encode())
        user.totp_last_step = None
        record(session, "totp.start", f"user:{user_id}")
    return {"secret": secret, "uri": pyotp.TOTP(secret).provisioning_uri(name=user.username, issuer_name=ISSUER)}


def confirm(res: Resources, user_id: int, otp: str) -> None:
    """Turns one-time codes on: from here on a login needs one. Raises WrongState (nothing started), WrongPassword."""
    with res.sessions.begin() as session:
        user = _locked(session, user_id)
        if user.totp_secret is None or user.totp_confirmed_at is not None:
            raise WrongState("Set one-time codes up first; they may be on already.")
        now = res.clock.now()
        if not take_code(res.settings.code_key, user, otp, now):
            raise WrongPassword
        user.totp_confirmed_at = now
        record(session, "totp.confirm", f"user:{user_id}", {"totp": False}, {"totp": True})


def remove(res: Resources, user_id: int, password: str) -> None:
    """Takes one-time codes off, or what was started of them. Raises WrongPassword."""
    with res.sessions.begin() as session:
        user = _locked(session, user_id)
        if not matches(user.password_hash, password):
            raise WrongPassword
        before = {"totp": user.totp_confirmed_at is not None}
        user.totp_secret = user.totp_confirmed_at = user.totp_last_step = None
        record(session, "totp.remove", f"user:{user_id}", before, {"totp": False})


def take_code(code_key: bytes, user: User, otp: str | None, now: datetime) -> bool:
    """Whether this is a code of now, not taken before; it is taken then. The user's row must be locked."""
    if user.totp_secret is None or otp is None or not (otp.isascii() and otp.isdigit()):
        return False
    try:
        secret = _cipher(code_key).decrypt(user.totp_secret).decode()
    except InvalidToken:
        return False
    current = int(now.timestamp()) // STEP_S
    codes = pyotp.TOTP(secret)
    for step in range(current - STEPS_OFF, current + STEPS_OFF + 1):
        if hmac.compare_digest(codes.generate_otp(step), otp):
            if user.totp_last_step is not None and step <= user.totp_last_step:
                return False
            user.totp_last_step = step
            return True
    return False


def _locked(session: Session, user_id: int) -> User:
    user = lock_users(session, [user_id]).get(user_id)
    if user is None:
        raise TokenRevoked
    return user


def _cipher(code_key: bytes) -> Fernet:
    """Secrets of one-time codes are kept under a key of their own, derived from the key that receipts depend on."""
    derived = HKDF(SHA256(), _KEY_BYTES, salt=None, info=_KEY_PURPOSE).derive(code_key)
    return Fernet(urlsafe_b64encode(derived))
