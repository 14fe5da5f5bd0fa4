"""Logging in and out, sessions, passwords, one-time codes."""

from __future__ import annotations

import secrets
from typing import Any
from uuid import UUID

from flask import request

from actions import ended_logins, logins, totp
from actions.logins import Attempt, Opened
from actions.resources import Resources
from api import rates
from api.auth_schemas import (
    AccessToken,
    Credentials,
    Otp,
    OwnPassword,
    PasswordChange,
    Proof,
    SessionList,
    TokenPair,
    TotpSecret,
)
from api.fields import Page
from api.operation import Blueprint, Caller, operation
from api.served import served
from api.tokens import Actor, Made, Refresher
from rules import errors

blueprint = Blueprint(
    "auth", __name__, url_prefix="/v1", description="Logging in and out, sessions, passwords, one-time codes"
)


@operation(
    blueprint,
    "POST /auth/login",
    allowed=Caller.ANYONE,
    body=Credentials,
    answers={200: TokenPair},
    problems=[errors.BadCredentials, errors.SlowDown, errors.DatabaseUnavailable],
)
def login(res: Resources, _: None, body: dict[str, Any]) -> dict[str, Any]:
    """Log in. The access token is fresh for five minutes."""
    address, device = request.remote_addr or "", body["device"] or ""
    username = body["username"]
    rates.login_attempt(username, address, logins.device_is_known(res, username, device, address))
    attempt = Attempt(username, body["password"], body["otp"], device, address)
    return _pair(logins.log_in(res, attempt, served().tokens.ring.signing().kid), fresh=True)


@operation(
    blueprint,
    "POST /auth/refresh",
    allowed=Caller.REFRESHER,
    answers={200: TokenPair},
    problems=[errors.TokenReused, errors.TokenRevoked],
)
def refresh(res: Resources, spent: Refresher) -> dict[str, Any]:
    """Spend a refresh token, sent as the bearer, for a new pair; within 10 s once more for the same pair."""
    kid = served().tokens.ring.signing().kid
    return _pair(logins.refresh(res, spent.user_id, spent.session, spent.number, kid), fresh=False)


def _told(res: Resources, actor: Actor) -> None:
    ended_logins.push_end_of(res, actor.role, UUID(actor.session))


@operation(
    blueprint,
    "POST /auth/logout",
    allowed=Caller.USER,
    answers={204: None},
    problems=[errors.IntakeUnavailable],
    while_restricted=True,
    once_more=_told,
)
def logout(res: Resources, actor: Actor) -> None:
    """End this login. 503: it has ended, but may sell until the same call again says `token_revoked`."""
    logins.log_out(res, actor.id, actor.session)


@operation(
    blueprint,
    "POST /auth/step-up",
    allowed=Caller.USER,
    body=Proof,
    answers={200: AccessToken},
    problems=[errors.WrongPassword, errors.SlowDown],
    while_restricted=True,
)
def step_up(res: Resources, actor: Actor, body: dict[str, str]) -> dict[str, Any]:
    """Prove once more who you are: an access token that is fresh for five minutes."""
    rates.password_attempt(actor.id)
    opened = logins.step_up(res, actor.id, actor.session, body.get("password"), body.get("otp"))
    tokens = served().tokens
    made = Made(opened.number, opened.rotated_at, opened.expires_at, tokens.ring.signing().kid)
    return tokens.access(_actor_of(opened, fresh=True), made, jti=secrets.token_hex(16))


@operation(
    blueprint,
    "POST /me/password",
    allowed=Caller.USER,
    body=PasswordChange,
    answers={204: None},
    problems=[errors.WrongPassword, errors.SlowDown],
    while_restricted=True,
)
def change_password(res: Resources, actor: Actor, body: dict[str, str]) -> None:
    """Take another password of 8 to 128 characters; all your other sessions end.

    Their sales end with the answer, too; within seconds where the gate is away.
    """
    rates.password_attempt(actor.id)
    logins.change_password(res, actor.id, actor.session, body["current"], body["new"])


@operation(
    blueprint,
    "POST /me/totp",
    allowed=Caller.USER,
    answers={200: TotpSecret},
    problems=[errors.WrongState],
    while_restricted=True,
    fresh=True,
)
def start_totp(res: Resources, actor: Actor) -> dict[str, str]:
    """Begin to set up one-time codes: put the secret into your device, then confirm."""
    return totp.start(res, actor.id)


@operation(
    blueprint,
    "POST /me/totp/confirm",
    allowed=Caller.USER,
    body=Otp,
    answers={204: None},
    problems=[errors.WrongState, errors.WrongPassword, errors.SlowDown],
    while_restricted=True,
    fresh=True,
)
def confirm_totp(res: Resources, actor: Actor, body: dict[str, str]) -> None:
    """Turn one-time codes on: from here on each login needs one."""
    rates.password_attempt(actor.id)
    totp.confirm(res, actor.id, body["otp"])


@operation(
    blueprint,
    "DELETE /me/totp",
    allowed=Caller.USER,
    body=OwnPassword,
    answers={204: None},
    problems=[errors.WrongPassword, errors.SlowDown],
    while_restricted=True,
)
def remove_totp(res: Resources, actor: Actor, body: dict[str, str]) -> None:
    """Take one-time codes off."""
    rates.password_attempt(actor.id)
    totp.remove(res, actor.id, body["password"])


@operation(
    blueprint,
    "GET /users/<int:user_id>/sessions",
    allowed="session.read",
    query=Page,
    answers={200: SessionList},
    problems=[errors.NotFound],
)
def list_sessions(res: Resources, actor: Actor, query: dict[str, Any], user_id: int) -> dict[str, Any]:
    """Where a user of your subtree, or you yourself, are logged in, newest first."""
    return logins.sessions_page(res, actor.id, actor.session, user_id, **query)


@operation(
    blueprint,
    "DELETE /users/<int:user_id>/sessions/<sid>",
    allowed="session.end",
    answers={204: None},
    problems=[errors.NotFound, errors.IntakeUnavailable],
)
def end_session(res: Resources, actor: Actor, user_id: int, sid: str) -> None:
    """End one session: a lost device ends alone. 503: it has ended, but may sell until the same call gives 204."""
    logins.end_session(res, actor.id, user_id, sid)


def _pair(opened: Opened, *, fresh: bool) -> dict[str, Any]:
    made = Made(opened.number, opened.rotated_at, opened.expires_at, opened.kid)
    return {
        **served().tokens.pair(_actor_of(opened, fresh=fresh), made),
        "user": {"id": opened.user_id, "username": opened.username, "role": opened.role.value},
        "must_change_password": opened.must_change_password,
    }


def _actor_of(opened: Opened, *, fresh: bool) -> Actor:
    must_change = opened.must_change_password
    return Actor(opened.user_id, opened.username, opened.role, opened.session, fresh, restricted=must_change)
