"""Loading credit: once per key, out of the right pocket, and into the gate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update

from actions.credit import push_outbox
from actions.resources import Resources
from models.ledger import Entry, balances
from models.people import IdempotencyKey, WalletOutbox
from tests.api.conftest import Caller, People, load, sale


def test_an_administrators_load_comes_from_the_house(people: People, res: Resources) -> None:
    answer = load(people.admin, people.agent.id, 5_000)
    assert answer.status_code == 201
    assert answer.json["balance"] == 5_000
    assert people.agent("GET /v1/me").json["wallet"]["balance"] == 5_000
    with res.sessions() as session:
        assert dict(balances(session)) == {"cash": -5_000, "wallet": 5_000}
        entry = session.get_one(Entry, answer.json["entry_id"])
        assert (entry.kind, entry.made_by) == ("load", people.admin.id)
        assert session.scalars(select(WalletOutbox.applied_at)).one() is not None


def test_a_coordinators_load_comes_out_of_his_own_wallet(people: People, res: Resources) -> None:
    assert load(people.admin, people.coordinator.id, 3_000).status_code == 201
    assert load(people.coordinator, people.agent.id, 2_000).json["balance"] == 2_000
    assert people.coordinator("GET /v1/me").json["wallet"]["balance"] == 1_000
    with res.sessions() as session:
        assert dict(balances(session)) == {"cash": -3_000, "wallet": 3_000}


def test_a_coordinator_cannot_load_more_than_he_has(people: People) -> None:
    load(people.admin, people.coordinator.id, 3_000)
    answer = load(people.coordinator, people.agent.id, 3_001)
    assert (answer.status_code, answer.json["code"]) == (409, "insufficient_credit")
    assert answer.json["available"] == 3_000
    assert people.agent("GET /v1/me").json["wallet"]["balance"] == 0


def test_a_refused_load_stays_refused_under_its_key(people: People) -> None:
    assert load(people.coordinator, people.agent.id, 500, "k1").status_code == 409
    load(people.admin, people.coordinator.id, 3_000)
    assert load(people.coordinator, people.agent.id, 500, "k1").json["code"] == "insufficient_credit"
    assert load(people.coordinator, people.agent.id, 500, "k2").status_code == 201


def test_the_same_key_gets_the_first_answer(people: People) -> None:
    first = load(people.admin, people.agent.id, 5_000, "once")
    load(people.admin, people.agent.id, 700)
    again = load(people.admin, people.agent.id, 5_000, "once")
    assert (again.status_code, again.json) == (201, first.json)
    assert people.agent("GET /v1/me").json["wallet"]["balance"] == 5_700


def test_a_key_belongs_to_its_user_and_its_body(people: People) -> None:
    load(people.admin, people.agent.id, 5_000, "mine")
    answer = load(people.admin, people.agent.id, 5_001, "mine")
    assert (answer.status_code, answer.json["code"]) == (409, "key_reused")
    assert load(people.admin, people.coordinator.id, 5_000, "mine").json["code"] == "key_reused"
    assert load(people.superadmin, people.agent.id, 5_001, "mine").status_code == 201


def test_a_key_is_forgotten_after_48_hours(people: People, res: Resources) -> None:
    load(people.admin, people.agent.id, 5_000, "old")
    with res.sessions.begin() as session:
        past = func.now() - timedelta(hours=48, seconds=1)
        session.execute(update(IdempotencyKey).values(created_at=past))
    assert load(people.admin, people.agent.id, 1_000, "old").json["balance"] == 6_000


def test_sixteen_at_once_with_one_key_load_once(people: People, res: Resources) -> None:
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: load(people.admin, people.agent.id, 5_000, "rush"), range(16)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json["entry_id"] for answer in answers}) == 1
    assert people.agent("GET /v1/me").json["wallet"]["balance"] == 5_000


def test_loads_at_once_never_overdraw_a_coordinator(people: People, res: Resources) -> None:
    load(people.admin, people.coordinator.id, 5_000)
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: load(people.coordinator, people.agent.id, 1_000), range(16)))
    assert Counter(answer.status_code for answer in answers) == {201: 5, 409: 11}
    assert people.coordinator("GET /v1/me").json["wallet"]["balance"] == 0
    with res.sessions() as session:
        assert dict(balances(session)) == {"cash": -5_000, "wallet": 5_000}


def test_what_was_loaded_can_be_sold_on(people: People, draw_id: str) -> None:
    load(people.admin, people.agent.id, 1_500)
    first = people.agent("POST /v1/tickets", sale(draw_id, ("straight", "046", 1_000)))
    assert (first.status_code, first.json["available"]) == (201, 500)
    second = people.agent("POST /v1/tickets", sale(draw_id, ("straight", "046", 1_000)))
    assert (second.status_code, second.json["code"], second.json["available"]) == (409, "insufficient_credit", 500)


def test_nobody_loads_himself_or_those_beside_and_above_him(people: People) -> None:
    for target in (people.coordinator, people.admin, people.operator):
        answer = load(people.coordinator, target.id, 100)
        assert (answer.status_code, answer.json["code"]) == (404, "not_found")
    assert load(people.admin, people.other_admin.id, 100).status_code == 404
    assert load(people.superadmin, people.superadmin.id, 100).status_code == 404


def test_a_load_needs_a_sane_key(people: People) -> None:
    for key in (None, "", "x" * 129, "with space", "ümlaut"):
        headers = {} if key is None else {"Idempotency-Key": key}
        body = {"amount": 100, "kind": "load"}
        answer = people.admin(f"POST /v1/users/{people.agent.id}/credit", body, headers)
        assert (answer.status_code, answer.json["errors"][0]["path"]) == (422, "Idempotency-Key"), key


def test_a_bad_load_is_refused_and_has_no_effect(people: People) -> None:
    changes: list[dict[str, Any]] = [
        *({"amount": amount} for amount in (0, -5, 10.0, "10", True, None, 2**70)),
        *({"kind": kind} for kind in ("gift", None, 1)),
        *({"note": note} for note in ("nul\u0000", "x" * 501, 5)),
        {"extra": 1},
    ]
    for change in changes:
        body = {"amount": 100, "kind": "load"} | change
        answer = people.admin(f"POST /v1/users/{people.agent.id}/credit", body, {"Idempotency-Key": "k"})
        assert (answer.status_code, answer.json["errors"][0]["path"]) == (422, next(iter(change))), change
    assert people.agent("GET /v1/me").json["wallet"]["balance"] == 0


def test_a_load_while_the_gate_is_away_is_kept_and_pushed_later(
    people: People, res: Resources, draw_id: str, without_gate: Callable[[], Any], push: Callable[[], int]
) -> None:
    with without_gate():
        assert load(people.admin, people.agent.id, 2_000).status_code == 201
    assert push() == 1
    assert push() == 0
    assert people.agent("POST /v1/tickets", sale(draw_id, ("straight", "046", 1_000))).status_code == 201


@pytest.fixture
def push(res: Resources) -> Callable[[], int]:
    return lambda: push_outbox(res)


def test_the_books_name_who_did_it(people: People, res: Resources, seller: Caller) -> None:
    with res.sessions() as session:
        assert session.scalars(select(Entry.made_by)).all() == [people.admin.id]
