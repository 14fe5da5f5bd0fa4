"""Logging in, users and their credit."""

from __future__ import annotations

import re
from typing import Any

from flask import request

from actions import credit, users
from actions.resources import Resources
from api.fields import Page
from api.operation import Blueprint, Caller, operation
from api.people_schemas import Credentials, Load, Loaded, Login, NewUser, UserBody, UserList
from api.served import served
from api.tokens import Actor
from rules.errors import (
    BadCredentials,
    DatabaseUnavailable,
    InsufficientCredit,
    Invalid,
    KeyReused,
    NotFound,
    TokenRevoked,
    UsernameTaken,
)
from rules.rights import Role

KEY_HEADER = "Idempotency-Key"
_KEY = re.compile(r"\A[\x21-\x7e]{1,128}\Z")

blueprint = Blueprint("people", __name__, url_prefix="/v1", description="Logging in, users and their credit")


@operation(
    blueprint,
    "POST /auth/login",
    allowed=Caller.ANYONE,
    body=Credentials,
    answers={200: Login},
    problems=[BadCredentials, DatabaseUnavailable],
)
def login(res: Resources, _: None, body: dict[str, str]) -> dict[str, Any]:
    """Log in."""
    user = users.login(res, **body)
    tokens = served().tokens
    return {
        "access_token": tokens.issue(Actor(user.id, user.username, Role(user.role))),
        "token_type": "Bearer",
        "expires_in": int(tokens.lifetime.total_seconds()),
        "user": {"id": user.id, "username": user.username, "role": user.role},
    }


@operation(blueprint, "GET /me", allowed=Caller.USER, answers={200: UserBody}, problems=[TokenRevoked])
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
    "POST /users/<int:user_id>/credit",
    allowed="credit.load",
    body=Load,
    answers={201: Loaded},
    problems=[NotFound, InsufficientCredit, KeyReused, TokenRevoked],
    parameters=[
        {
            "in": "header",
            "name": KEY_HEADER,
            "required": True,
            "description": "Names this load: the first answer is the answer for 48 hours.",
            "schema": {"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[!-~]+$"},
        }
    ],
)
def load_credit(res: Resources, actor: Actor, body: dict[str, Any], user_id: int) -> tuple[dict[str, Any], int]:
    """Load credit onto the wallet of somebody below you."""
    key = request.headers.get(KEY_HEADER, "")
    if not _KEY.match(key):
        raise Invalid(errors=[{"path": KEY_HEADER, "message": "a header of 1 to 128 visible ASCII characters"}])
    status, answer = credit.load(res, actor.id, user_id, key=key, **body)
    return answer, status
