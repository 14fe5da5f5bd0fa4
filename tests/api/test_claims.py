"""Claims, holds and reprints through HTTP."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from actions import results
from actions.draws import close
from actions.resources import Resources
from models.draws import draw_by_name
from runtime.clock import FixedClock
from tasks.persist import persist
from tasks.seal import seal
from tasks.settle import settle
from tests.api.conftest import Caller, People, sale

PAYEE = {"name": "Maria Santos", "phone": "+63 917 000 0000", "id_no": "N01-23-456789"}


@pytest.fixture
def settled(people: People, res: Resources, draw_id: str) -> Callable[..., None]:
    """Brings the draw to its settlement, with 046 drawn."""

    def play_out() -> None:
        close(res, people.admin.id, draw_id)
        persist(res, draw_id)
        assert seal(res, draw_id)
        late = replace(res, clock=FixedClock(res.clock.now() + timedelta(hours=3)))
        with res.sessions() as session:
            row = draw_by_name(session, draw_id)
        assert row is not None
        results.enter(late, people.admin.id, draw_id, "046", row.date, row.time)
        results.confirm(late, people.superadmin.id, draw_id, "046", row.date, row.time)
        assert settle(late, draw_id)

    return play_out


def bought(seller: Caller, draw_id: str, stake: int = 1_000, number: str = "046") -> dict[str, Any]:
    answer = seller("POST /v1/tickets", sale(draw_id, ("straight", number, stake)))
    assert answer.status_code == 201, answer.text
    receipt: dict[str, Any] = answer.json
    return receipt


def code_of(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json["code"]


def test_a_prize_is_claimed_once_and_seen_everywhere(
    people: People, seller: Caller, draw_id: str, settled: Callable[[], None]
) -> None:
    receipt = bought(seller, draw_id)
    claim = f"POST /v1/tickets/{receipt['number']}/claim"
    body = {"code": receipt["code"]}
    assert code_of(seller(claim, body)) == (409, "not_settled")
    settled()
    before = seller("GET /v1/me").json["wallet"]["balance"]
    assert code_of(seller(claim, {"code": "0" * 16})) == (403, "wrong_code")
    paid = seller(claim, body)
    assert (paid.status_code, paid.json["prize"], paid.json["tax"], paid.json["paid"]) == (200, 450_000, 0, 450_000)
    again = seller(claim, body)
    assert code_of(again) == (409, "already_claimed")
    assert (again.json["by_you"], again.json["paid"]) == (True, 450_000)
    others = people.coordinator(claim, body)
    assert (others.json["by_you"], "paid" in others.json) == (False, False)
    assert seller("GET /v1/me").json["wallet"]["balance"] == before + 450_000
    assert seller(f"GET /v1/tickets/{receipt['number']}").json["status"] == "paid"
    verified = people.operator(f"GET /v1/verify/{receipt['number']}?code={receipt['code']}").json
    assert (verified["status"], verified["prize"]) == ("paid", 450_000)
    listed = seller("GET /v1/tickets?status=paid").json["items"]
    assert [item["number"] for item in listed] == [receipt["number"]]


def test_what_cannot_be_claimed_says_why(
    people: People, seller: Caller, draw_id: str, settled: Callable[[], None]
) -> None:
    lost, held = bought(seller, draw_id, number="111"), bought(seller, draw_id)
    settled()
    call = f"POST /v1/tickets/{held['number']}"
    assert code_of(seller(f"POST /v1/tickets/{lost['number']}/claim", {"code": lost["code"]})) == (409, "not_a_winner")
    answer = people.admin(f"{call}/hold", {"reason": "a dispute"})
    assert (answer.status_code, answer.json["held"], answer.json["held_by"]) == (200, True, people.admin.id)
    assert code_of(seller(f"{call}/claim", {"code": held["code"]})) == (409, "on_hold")
    assert people.admin(f"{call}/release", {"reason": "settled"}).json["held"] is False
    assert code_of(people.other_admin(f"{call}/claim", {"code": held["code"]})) == (404, "not_found")
    assert code_of(people.other_admin(f"{call}/hold", {"reason": "x"})) == (404, "not_found")
    assert seller(f"{call}/claim", {"code": held["code"]}).status_code == 200


def test_a_high_prize_waits_for_another_person(
    people: People, seller: Caller, draw_id: str, settled: Callable[[], None]
) -> None:
    receipt = bought(seller, draw_id, stake=3_000)
    settled()
    call, body = f"POST /v1/tickets/{receipt['number']}/claim", {"code": receipt["code"]}
    missing = seller(call, body)
    assert (missing.status_code, missing.json["errors"][0]["path"]) == (422, "payee")
    kept = seller(call, body | {"payee": PAYEE})
    assert (kept.status_code, kept.json["status"], kept.json["tax"]) == (202, "approval_needed", 270_000)
    claim_id = kept.json["claim_id"]
    assert seller(f"GET /v1/claims/{claim_id}").json["status"] == "pending"
    assert people.other_admin(f"GET /v1/claims/{claim_id}").status_code == 404
    waiting = people.coordinator("GET /v1/claims?status=pending").json["items"]
    assert [(item["id"], item["payee"]) for item in waiting] == [(claim_id, PAYEE)]
    assert people.operator("GET /v1/claims?status=paid").json == {"items": [], "next": None}
    assert people.operator(f"POST /v1/claims/{claim_id}/approve").status_code == 403
    assert code_of(people.other_admin(f"POST /v1/claims/{claim_id}/approve")) == (404, "not_found")
    approved = people.coordinator(f"POST /v1/claims/{claim_id}/approve")
    assert (approved.status_code, approved.json["status"], approved.json["paid"]) == (200, "paid", 1_080_000)
    rejected = people.admin(f"POST /v1/claims/{claim_id}/reject", {"reason": "no"})
    assert code_of(rejected) == (409, "wrong_state")
    assert seller(f"GET /v1/claims/{claim_id}").json["paid"] == 1_080_000


def test_nobody_approves_his_own_claim(
    people: People, seller: Caller, draw_id: str, settled: Callable[[], None]
) -> None:
    receipt = bought(seller, draw_id, stake=3_000)
    settled()
    call, body = f"POST /v1/tickets/{receipt['number']}/claim", {"code": receipt["code"], "payee": PAYEE}
    claim_id = people.coordinator(call, body).json["claim_id"]
    assert code_of(people.coordinator(f"POST /v1/claims/{claim_id}/approve")) == (403, "same_person")
    answer = people.admin(f"POST /v1/claims/{claim_id}/reject", {"reason": "another card"})
    assert (answer.status_code, answer.json["status"], answer.json["reason"]) == (200, "rejected", "another card")


def test_bad_calls_are_refused(people: People, seller: Caller, draw_id: str) -> None:
    number = bought(seller, draw_id)["number"]
    bad: list[tuple[dict[str, Any], str]] = [
        ({}, "code"),
        ({"code": ""}, "code"),
        ({"code": "x" * 101}, "code"),
        ({"code": 5}, "code"),
        ({"code": "x", "extra": 1}, "extra"),
        ({"code": "x", "payee": {"name": "A", "phone": "1"}}, "payee.id_no"),
        ({"code": "x", "payee": PAYEE | {"name": "nul\u0000"}}, "payee.name"),
        ({"code": "x", "payee": PAYEE | {"age": 5}}, "payee.age"),
    ]
    for body, path in bad:
        answer = seller(f"POST /v1/tickets/{number}/claim", body)
        assert (answer.status_code, answer.json["errors"][0]["path"]) == (422, path), body
    for call in (f"POST /v1/tickets/{number}/hold", f"POST /v1/tickets/{number}/release", "POST /v1/claims/1/reject"):
        assert people.admin(call, {}).json["errors"][0]["path"] == "reason"
    for unknown in ("POST /v1/claims/99/approve", f"POST /v1/claims/{2**70}/approve", "GET /v1/claims/0"):
        assert people.admin(unknown).status_code == 404
    for query in ("status=eaten", "cursor=x", "limit=0"):
        assert people.admin(f"GET /v1/claims?{query}").status_code == 422, query
    for nothing in ("nothing", "%00", "%C3%A9"):
        assert code_of(seller(f"POST /v1/tickets/{nothing}/claim", {"code": "x"})) == (404, "not_found")


def test_a_ticket_is_printed_again_twice(people: People, seller: Caller, draw_id: str) -> None:
    receipt = bought(seller, draw_id)
    call = f"POST /v1/tickets/{receipt['number']}/reprint"
    assert [seller(call).json for _ in range(2)] == [receipt | {"copy": 1}, receipt | {"copy": 2}]
    assert code_of(seller(call)) == (409, "no_copies_left")
    assert people.coordinator(call).status_code == 403
