"""Step-up: what matters most needs a token from somebody who proved a moment ago who he is."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import jwt
import pytest

from actions import ended_logins, logins
from actions.resources import Resources
from api.served import served
from intake import keys
from runtime.clock import FixedClock
from tests.api.conftest import PASSWORD, Caller, People, sale
from tests.api.logging_in import REVOKED, claims_of, holder, log_in, refresh, refusal

# A call that needs a fresh token.
FRESH_CALL = "POST /v1/me/totp"

NEED_FRESHNESS = {
    "POST /v1/draws/{draw_id}/result",
    "POST /v1/draws/{draw_id}/result/confirm",
    "POST /v1/draws/{draw_id}/correction",
    "POST /v1/draws/{draw_id}/correction/confirm",
    "GET /v1/draws/{draw_id}/paid-in-error",
    "POST /v1/draws/{draw_id}/void",
    "POST /v1/draws/{draw_id}/void/confirm",
    "POST /v1/draws/{draw_id}/seal",
    "POST /v1/draws/{draw_id}/seal/confirm",
    "PUT /v1/draws/{draw_id}/limits",
    "PUT /v1/games/{game}",
    "POST /v1/claims/{claim_id}/approve",
}


def test_a_stale_token_steps_up_with_the_password(people: People, nobody: Caller) -> None:
    pair = log_in(nobody, "agent")
    assert holder(nobody, pair)(FRESH_CALL).status_code == 200, "a login's token is fresh"
    stale = holder(nobody, refresh(nobody, pair["refresh_token"]).json)
    assert refusal(stale(FRESH_CALL)) == (403, "step_up_required")
    assert refusal(stale("POST /v1/auth/step-up", {"password": "wrong"})) == (403, "wrong_password")
    assert refusal(stale("POST /v1/auth/step-up", {"otp": "123456"})) == (403, "wrong_password")
    for body in ({}, {"password": PASSWORD, "otp": "123456"}, {"password": None}):
        assert refusal(stale("POST /v1/auth/step-up", body)) == (422, "invalid")
    answer = stale("POST /v1/auth/step-up", {"password": PASSWORD})
    assert (answer.status_code, answer.json["expires_in"]) == (200, 900)
    assert claims_of(answer.json["access_token"])["sid"] == claims_of(pair["access_token"])["sid"]
    stepped = replace(stale, token=answer.json["access_token"])
    assert stepped(FRESH_CALL).status_code == 200
    assert stale("POST /v1/auth/logout").status_code == 204
    assert refusal(stepped("GET /v1/me")) == REVOKED, "it belongs to the same session"


def test_a_step_up_is_dated_by_its_proof_however_late_it_answers(
    people: People, nobody: Caller, seller: Caller, draw_id: str, res: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between proof and answer the session ends, and the process sleeps until the gate has forgotten that."""
    agent = holder(nobody, log_in(nobody, "agent"))
    sid, step_up, clock = claims_of(agent.token or "")["sid"], logins.step_up, FixedClock(res.clock.now())
    monkeypatch.setattr(res.clock, "now", clock.now)

    def and_sleeps(*asked: Any) -> logins.Opened:
        opened = step_up(*asked)
        assert people.admin(f"DELETE /v1/users/{people.agent.id}/sessions/{sid}").status_code == 204
        clock.advance(timedelta(seconds=ended_logins.remembered_s(res) + 1))
        assert res.rebuild._client.delete(keys.ended(sid)) == 1
        return opened

    monkeypatch.setattr(logins, "step_up", and_sleeps)
    proved_at = int(clock.now().timestamp())
    answer = agent("POST /v1/auth/step-up", {"password": PASSWORD})
    assert (answer.status_code, claims_of(answer.json["access_token"])["iat"]) == (200, proved_at)
    late = replace(agent, token=answer.json["access_token"])
    assert refusal(late("POST /v1/tickets", sale(draw_id, ("straight", "046", 100)))) == (401, "token_expired")


def test_freshness_ends_after_five_minutes(people: People, nobody: Caller) -> None:
    pair = log_in(nobody, "agent")
    tokens = served(nobody.app).tokens
    (key,) = tokens.ring._ring
    claims = claims_of(pair["access_token"])
    claims["fresh"] = claims["iat"] - 1
    token = jwt.encode(claims, key.key, "HS256", headers={"kid": key.kid})
    assert refusal(replace(nobody, token=token)(FRESH_CALL)) == (403, "step_up_required")


def test_what_matters_most_is_marked_as_needing_a_fresh_token(nobody: Caller) -> None:
    document = nobody("GET /v1/openapi.json").json
    needing = {
        f"{method.upper()} {path}"
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if isinstance(operation, dict) and "step_up_required" in str(operation.get("responses", {}).get("403"))
    }
    assert needing >= NEED_FRESHNESS
