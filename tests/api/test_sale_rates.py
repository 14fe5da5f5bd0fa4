"""Too fast, logged out or suspended: what a terminal is told when it sells."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any

import pytest

from actions.resources import Resources
from runtime.settings import Settings
from tests.api.conftest import Caller, sale

TRIES_MAX = 50


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(settings, sales_per_s=1, batches_per_s=1)


def ticket(draw_id: str) -> dict[str, Any]:
    return sale(draw_id, ("straight", "046", 100))


def until_refused(seller: Caller, call: str, body: Any) -> tuple[list[Any], Any]:
    """Sends the call again and again: the answers before it was refused, and the refusal."""
    taken = []
    for _ in range(TRIES_MAX):
        answer = seller(call, body())
        if answer.status_code >= 400:
            return taken, answer
        taken.append(answer)
    raise AssertionError("never refused")


def test_sales_over_the_rate_are_429_with_retry_after_and_the_same_id_sells_later(seller: Caller, draw_id: str) -> None:
    sent: list[dict[str, Any]] = []

    def another() -> dict[str, Any]:
        sent.append(ticket(draw_id))
        return sent[-1]

    taken, refusal = until_refused(seller, "POST /v1/tickets", another)
    assert taken
    assert {answer.status_code for answer in taken} == {201}
    assert (refusal.status_code, refusal.json["code"], refusal.headers["Retry-After"]) == (429, "slow_down", "1")
    assert seller("POST /v1/tickets", sent[0]).json == taken[0].json
    for _ in range(TRIES_MAX * 100):  # the terminal's rule, without its pauses
        if (answer := seller("POST /v1/tickets", sent[-1])).status_code == 201:
            break
    assert answer.json["id"] == sent[-1]["id"]


def test_a_batch_over_the_rate_is_429_as_a_whole_and_one_with_a_known_ticket_is_answered_by_item(
    seller: Caller, draw_id: str
) -> None:
    known = ticket(draw_id)
    assert seller("POST /v1/tickets/batch", {"tickets": [known]}).status_code == 200
    _, refusal = until_refused(seller, "POST /v1/tickets/batch", lambda: {"tickets": [ticket(draw_id)] * 3})
    assert (refusal.status_code, refusal.json["code"], refusal.headers["Retry-After"]) == (429, "slow_down", "1")
    for _ in range(TRIES_MAX):
        answer = seller("POST /v1/tickets/batch", {"tickets": [known, ticket(draw_id)]})
        assert answer.status_code == 200
        first, second = answer.json["results"]
        assert first["status"] == 200
        if second["status"] == 429:
            break
    assert (second["error"]["code"], second["error"]["retry_after"]) == ("slow_down", 1)


def test_sales_and_batches_are_counted_apart(seller: Caller, draw_id: str) -> None:
    _, refusal = until_refused(seller, "POST /v1/tickets", lambda: ticket(draw_id))
    assert refusal.status_code == 429
    answer = seller("POST /v1/tickets/batch", {"tickets": [ticket(draw_id) for _ in range(5)]})
    assert [item["status"] for item in answer.json["results"]] == [201] * 5


def test_a_login_that_ended_sells_neither_a_ticket_nor_a_batch_but_gets_its_receipts(
    seller: Caller, draw_id: str, res: Resources
) -> None:
    known = ticket(draw_id)
    first = seller("POST /v1/tickets", known)
    session = seller_session(seller, draw_id, res)
    res.gate.end_sessions([str(uuid.uuid4()), session], 60)
    for call, body in (
        ("POST /v1/tickets", ticket(draw_id)),
        ("POST /v1/tickets/batch", {"tickets": [ticket(draw_id), ticket(draw_id)]}),
    ):
        answer = seller(call, body)
        assert (answer.status_code, answer.json["code"]) == (401, "token_revoked")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert seller("POST /v1/tickets", known).json == first.json


def seller_session(seller: Caller, draw_id: str, res: Resources) -> str:
    """The session behind the seller's token, as the gate is told it with his sale."""
    told: list[str] = []
    real = res.gate.sell

    def listening(draw: str, sales: Any, batch: str = "") -> Any:
        told.append(sales[0].session)
        return real(draw, sales, batch)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(res.gate, "sell", listening)
        seller("POST /v1/tickets", ticket(draw_id))
    assert told[0]
    return told[0]


def test_a_suspended_agent_is_refused_by_item_in_a_batch(seller: Caller, draw_id: str, res: Resources) -> None:
    res.gate.set_standing([(seller.id, True)], 10**9)
    single = seller("POST /v1/tickets", ticket(draw_id))
    assert (single.status_code, single.json["code"]) == (403, "agent_suspended")
    answer = seller("POST /v1/tickets/batch", {"tickets": [ticket(draw_id)]})
    assert answer.json["results"][0]["error"]["code"] == "agent_suspended"
