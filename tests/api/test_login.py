"""Logging in, and what a token is worth."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import jwt
import pytest
from sqlalchemy import update

from actions.resources import Resources
from api.served import served
from api.tokens import CACHED_MAX, FRESH_S
from models.people import User
from runtime.settings import Settings
from tests.api.conftest import PASSWORD, Caller, People, sale

# One ordinary endpoint, and the sale, which verifies tokens in its own way.
WAYS = ["GET /v1/me", "POST /v1/tickets"]


def test_a_login_gives_a_bearer_token_and_says_who_it_is_for(nobody: Caller, superadmin: Caller) -> None:
    answer = nobody("POST /v1/auth/login", {"username": "SuperAdmin", "password": PASSWORD})
    assert answer.status_code == 200
    assert answer.json["token_type"] == "Bearer"
    assert answer.json["expires_in"] == 900
    assert answer.json["user"] == {"id": superadmin.id, "username": "superadmin", "role": "superadmin"}
    assert answer.json["must_change_password"] is False
    claims = jwt.decode(answer.json["access_token"], options={"verify_signature": False})
    assert claims["fresh"] == claims["iat"] + FRESH_S
    assert claims["exp"] - claims["iat"] == 900
    assert (claims["sub"], claims["aud"], claims["type"]) == (str(superadmin.id), "drawbreak", "access")


def test_wrong_name_and_wrong_password_get_one_answer(nobody: Caller) -> None:
    wrong = [
        ("superadmin", "wrong"),
        ("nobody", PASSWORD),
        ("no\u0000body", PASSWORD),
        ("' OR 1=1 --", PASSWORD),
        ("\u212aing", PASSWORD),
        ("superadmin", "x" * 256),
    ]
    for username, password in wrong:
        answer = nobody("POST /v1/auth/login", {"username": username, "password": password})
        assert (answer.status_code, answer.json["code"]) == (401, "bad_credentials"), username
        assert answer.json["detail"] == "The username or the password is wrong."


def test_a_suspended_user_cannot_log_in_and_his_token_ends(people: People, nobody: Caller, res: Resources) -> None:
    with res.sessions.begin() as session:
        session.execute(update(User).where(User.id == people.coordinator.id).values(status="suspended"))
    answer = nobody("POST /v1/auth/login", {"username": "coordinator", "password": PASSWORD})
    assert (answer.status_code, answer.json["code"]) == (401, "bad_credentials")
    assert people.coordinator("GET /v1/me").json["code"] == "token_revoked"


def session_of(caller: Caller) -> str:
    """The session that a token names."""
    claims = jwt.decode(caller.token or "", options={"verify_signature": False})
    return str(claims["sid"])


@pytest.fixture
def forge(settings: Settings, people: People) -> Callable[..., Caller]:
    """A token of the agent's with some of its parts changed."""

    def make(
        key: bytes | None = None, algorithm: str = "HS256", leave_out: str = "", kid: Any = None, **claims: Any
    ) -> Caller:
        now = datetime.now(UTC)
        body = {
            "sub": str(people.agent.id),
            "username": "agent",
            "role": "agent",
            "type": "access",
            "aud": "drawbreak",
            "iss": "drawbreak",
            "sid": session_of(people.agent),
            "fresh": False,
            "jti": "forged",
            "iat": now,
            "exp": now + timedelta(minutes=5),
        } | claims
        body.pop(leave_out, None)
        (signing,) = settings.jwt_keys
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a key that is short for another algorithm
            signed_by = signing.key if key is None else key or None
            token = jwt.encode(body, signed_by, algorithm, headers={"kid": signing.kid if kid is None else kid})
        return Caller(people.agent.app, token)

    return make


@pytest.mark.parametrize("way", WAYS)
def test_a_token_made_by_the_rules_is_taken(way: str, forge: Callable[..., Caller]) -> None:
    assert forge()(way, {} if way.startswith("POST") else None).status_code in (200, 422)


@pytest.mark.parametrize("way", WAYS)
def test_a_token_made_by_a_clock_ahead_of_ours_is_taken(way: str, forge: Callable[..., Caller]) -> None:
    ahead = forge(iat=datetime.now(UTC) + timedelta(seconds=30))
    assert ahead(way, {} if way.startswith("POST") else None).status_code in (200, 422)


@pytest.mark.parametrize("way", WAYS)
def test_an_expired_token_is_told_from_a_bad_one(way: str, forge: Callable[..., Caller]) -> None:
    answer = forge(exp=datetime.now(UTC) - timedelta(seconds=1))(way)
    assert (answer.status_code, answer.json["code"]) == (401, "token_expired")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_a_token_not_made_by_the_rules_is_bad(forge: Callable[..., Caller]) -> None:
    wrong: list[dict[str, Any]] = [
        {"aud": "another"},
        {"iss": "another"},
        {"key": b"", "algorithm": "none"},
        {"key": b"k" * 64},
        {"algorithm": "HS512"},
        {"type": "refresh"},
        {"sub": "x"},
        {"role": "emperor"},
        {"kid": "another"},
        {"kid": ""},
        *({"leave_out": claim} for claim in ("exp", "aud", "sub", "role", "username", "sid")),
    ]
    for change, way in product(wrong, WAYS):
        answer = forge(**change)(way)
        assert (answer.status_code, answer.json["code"]) == (401, "bad_token"), (change, way)


def test_a_header_that_is_no_token_is_bad(nobody: Caller) -> None:
    headers = [
        "",
        "Bearer",
        "Bearer ",
        "Basic abc",
        "Bearer a.b.c",
        "Bearer a b",
        "Bearer " + "x" * 9000,
        "Bearer é.é.é",
    ]
    for header, way in product(headers, WAYS):
        answer = nobody(way, headers={"Authorization": header})
        assert (answer.status_code, answer.json["code"]) == (401, "bad_token"), (header, way)


@pytest.mark.parametrize("way", WAYS)
def test_a_token_whose_header_nests_without_end_is_bad(way: str, nobody: Caller) -> None:
    nested = jwt.utils.base64url_encode(b"[" * 2500).decode()
    answer = nobody(way, headers={"Authorization": f"Bearer {nested}.e30.AAAA"})
    assert (answer.status_code, answer.json["code"]) == (401, "bad_token")


def test_a_remembered_token_expires_all_the_same(seller: Caller, draw_id: str) -> None:
    tokens = served(seller.app).tokens
    assert seller("POST /v1/tickets", sale(draw_id, ("straight", "046", 100))).status_code == 201
    assert seller.token is not None
    expires, actor = tokens._verified[seller.token]
    tokens._verified[seller.token] = (datetime.now(UTC).timestamp() - 1, actor)
    assert expires > datetime.now(UTC).timestamp()
    answer = seller("POST /v1/tickets", sale(draw_id, ("straight", "046", 100)))
    assert answer.json["code"] == "token_expired"


def test_only_so_many_tokens_are_remembered(people: People) -> None:
    tokens = served(people.agent.app).tokens
    actor = tokens.cached_actor(f"Bearer {people.agent.token}")
    tokens._verified.clear()
    tokens._verified.update({str(number): (0.0, actor) for number in range(CACHED_MAX)})
    tokens.cached_actor(f"Bearer {people.admin.token}")
    assert len(tokens._verified) <= CACHED_MAX + 1
    assert people.admin.token in tokens._verified
