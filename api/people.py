"""Users and their credit."""

from __future__ import annotations

import re
from typing import Any

from flask import request

from actions import credit, deductions, standing, statements, user_changes, users
from actions.resources import Resources
from api.fields import Page
from api.operation import Blueprint, Caller, operation
from api.people_schemas import (
    LedgerList,
    NewUser,
    OneTimePassword,
    Summary,
    SummaryQuery,
    UserBody,
    UserChange,
    UserList,
    WalletChange,
    WalletChanged,
    Why,
)
from api.tokens import Actor
from rules.errors import (
    InsufficientCredit,
    IntakeUnavailable,
    Invalid,
    KeyReused,
    LastSuperadmin,
    NotFound,
    TokenRevoked,
    UsernameTaken,
)

KEY_HEADER = "Idempotency-Key"
_KEY = re.compile(r"\A[\x21-\x7e]{1,128}\Z")

blueprint = Blueprint("people", __name__, url_prefix="/v1", description="Users and their credit")


@operation(blueprint, "GET /me", allowed=Caller.USER, answers={200: UserBody}, while_restricted=True)
def me(res: Resources, actor: Actor) -> dict[str, Any]:
    """Who you are, and what is in your wallet."""
    return users.me(res, actor.id)


@operation(
    blueprint,
    "POST /users",
    allowed="user.create",
    body=NewUser,
    answers={201: UserBody},
    problems=[NotFound, UsernameTaken, TokenRevoked],
)
def create_user(res: Resources, actor: Actor, body: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """Make a user below yourself. Only administrators give a credit limit."""
    return users.create_user(res, actor.id, body), 201


@operation(blueprint, "GET /users", allowed="user.read", query=Page, answers={200: UserList}, problems=[TokenRevoked])
def list_users(res: Resources, actor: Actor, query: dict[str, Any]) -> dict[str, Any]:
    """The users of your subtree, newest first."""
    return users.users_page(res, actor.id, **query)


@operation(
    blueprint,
    "GET /users/<int:user_id>",
    allowed="user.read",
    answers={200: UserBody},
    problems=[NotFound, TokenRevoked],
)
def get_user(res: Resources, actor: Actor, user_id: int) -> dict[str, Any]:
    """A user of your subtree."""
    return users.get_user(res, actor.id, user_id)


@operation(
    blueprint,
    "PATCH /users/<int:user_id>",
    allowed="user.change",
    body=UserChange,
    answers={200: UserBody},
    problems=[NotFound, InsufficientCredit, IntakeUnavailable, TokenRevoked],
)
def change_user(res: Resources, actor: Actor, body: dict[str, Any], user_id: int) -> dict[str, Any]:
    """Change a user below you. Of yourself you change name, phone and address only."""
    return user_changes.change_user(res, actor.id, user_id, body)


@operation(
    blueprint,
    "POST /users/<int:user_id>/suspend",
    allowed="user.change",
    body=Why,
    answers={200: UserBody},
    problems=[NotFound, LastSuperadmin, IntakeUnavailable, TokenRevoked],
)
def suspend_user(res: Resources, actor: Actor, body: dict[str, str], user_id: int) -> dict[str, Any]:
    """Suspend somebody below you; a coordinator with everyone below him. A 503: suspended, but ask again."""
    return standing.suspend(res, actor.id, user_id, body["reason"])


@operation(
    blueprint,
    "POST /users/<int:user_id>/reactivate",
    allowed="user.change",
    answers={200: UserBody},
    problems=[NotFound, TokenRevoked],
)
def reactivate_user(res: Resources, actor: Actor, user_id: int) -> dict[str, Any]:
    """Take a suspension back. Logins made before it are good again."""
    return standing.reactivate(res, actor.id, user_id)


@operation(
    blueprint,
    "POST /users/<int:user_id>/password",
    allowed="user.change",
    answers={200: OneTimePassword},
    problems=[NotFound, TokenRevoked],
)
def reset_password(res: Resources, actor: Actor, user_id: int) -> dict[str, str]:
    """Give somebody below you a one-time password. All his sessions end, and his one-time codes are off."""
    return {"password": user_changes.reset_password(res, actor.id, user_id)}


_KEY_PARAMETER = {
    "in": "header",
    "name": KEY_HEADER,
    "required": True,
    "description": "Names this call: the first answer is the answer for 48 hours.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[!-~]+$"},
}


def _key() -> str:
    key = request.headers.get(KEY_HEADER, "")
    if not _KEY.match(key):
        raise Invalid(errors=[{"path": KEY_HEADER, "message": "a header of 1 to 128 visible ASCII characters"}])
    return key


@operation(
    blueprint,
    "POST /users/<int:user_id>/credit",
    allowed="credit.load",
    body=WalletChange,
    answers={201: WalletChanged},
    problems=[NotFound, InsufficientCredit, KeyReused, TokenRevoked],
    parameters=[_KEY_PARAMETER],
)
def credit_wallet(res: Resources, actor: Actor, body: dict[str, Any], user_id: int) -> tuple[dict[str, Any], int]:
    """Add to the wallet of somebody below you: a load, or money handed in. A coordinator's comes out of his own."""
    status, answer = credit.give(res, actor.id, user_id, key=_key(), **body)
    return answer, status


@operation(
    blueprint,
    "POST /users/<int:user_id>/debit",
    allowed="credit.debit",
    body=WalletChange,
    answers={201: WalletChanged},
    problems=[NotFound, InsufficientCredit, KeyReused, IntakeUnavailable, TokenRevoked],
    parameters=[_KEY_PARAMETER],
)
def debit_wallet(res: Resources, actor: Actor, body: dict[str, Any], user_id: int) -> tuple[dict[str, Any], int]:
    """Take from the wallet of somebody below you. After a 503 the same key tells what became of it."""
    status, answer = deductions.take(res, actor.id, user_id, key=_key(), **body)
    return answer, status


@operation(
    blueprint,
    "GET /users/<int:user_id>/ledger",
    allowed="ledger.read",
    query=Page,
    answers={200: LedgerList},
    problems=[NotFound, TokenRevoked],
)
def read_ledger(res: Resources, actor: Actor, query: dict[str, Any], user_id: int) -> dict[str, Any]:
    """What happened on a wallet, newest first: your own, or that of somebody below you."""
    return statements.ledger_page(res, actor.id, user_id, **query)


@operation(
    blueprint,
    "GET /users/<int:user_id>/summary",
    allowed="ledger.read",
    query=SummaryQuery,
    answers={200: Summary},
    problems=[NotFound, TokenRevoked],
)
def read_summary(res: Resources, actor: Actor, query: dict[str, Any], user_id: int) -> dict[str, Any]:
    """A day's figures, and what is still to be handed in; with everyone below."""
    return statements.summary(res, actor.id, user_id, query["date"])
