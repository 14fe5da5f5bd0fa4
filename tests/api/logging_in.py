"""What tests of logins share: logging in, refreshing, and how a refusal reads."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import jwt
from sqlalchemy import update

from actions.resources import Resources
from models.logins import Login
from tests.api.conftest import PASSWORD, Caller


def log_in(nobody: Caller, username: str, **more: Any) -> dict[str, Any]:
    answer = nobody("POST /v1/auth/login", {"username": username, "password": PASSWORD, **more})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json
    return found


def refresh(nobody: Caller, token: str) -> Any:
    return replace(nobody, token=token)("POST /v1/auth/refresh")


def claims_of(token: str) -> dict[str, Any]:
    found: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return found


def holder(nobody: Caller, pair: dict[str, Any]) -> Caller:
    return replace(nobody, token=pair["access_token"], user=pair["user"])


def refusal(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json["code"]


REVOKED, REUSED, BAD = (401, "token_revoked"), (401, "token_reused"), (401, "bad_token")


def age(res: Resources, **columns: timedelta) -> None:
    """Moves instants of every session back."""
    with res.sessions.begin() as session:
        session.execute(update(Login).values({name: getattr(Login, name) - by for name, by in columns.items()}))
