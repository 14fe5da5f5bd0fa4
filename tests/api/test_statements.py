"""Deductions through the API, what happened on a wallet, and a day's figures."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select
from werkzeug.test import TestResponse

from actions.resources import Resources
from models.ledger import Account, Entry, Posting
from models.people import add_to_balances, lock_wallets
from rules.draws import MANILA
from tasks.persist import persist
from tests.api.conftest import Caller, People, load, sale

FIGURES = ("sales", "voids", "prizes_paid", "commission", "remitted", "to_remit")


def move(
    giver: Caller, direction: str, user_id: int, amount: int, kind: str = "load", key: str | None = None, **more: Any
) -> TestResponse:
    body = {"amount": amount, "kind": kind, **more}
    return giver(f"POST /v1/users/{user_id}/{direction}", body, {"Idempotency-Key": key or uuid.uuid4().hex})


def book(res: Resources, kind: str, user_id: int, amount: int, at: datetime | None = None) -> None:
    """An entry between a wallet and the house, made at an instant."""
    with res.sessions.begin() as session:
        lock_wallets(session, [user_id])
        add_to_balances(session, {user_id: amount})
        accounts = (
            select(Account.id).where(Account.user_id == user_id),
            select(Account.id).where(Account.kind == "cash"),
        )
        entry = Entry(kind=kind, made_at=at or res.clock.now())
        session.add(entry)
        session.flush()
        for account, share in zip(accounts, (amount, -amount), strict=True):
            session.add(Posting(entry_id=entry.id, account_id=session.scalars(account).one(), amount=share))


def figures(caller: Caller, user_id: int, date: str = "") -> tuple[int, ...]:
    answer = caller(f"GET /v1/users/{user_id}/summary{'?date=' + date if date else ''}")
    assert answer.status_code == 200, answer.text
    return tuple(answer.json[name] for name in FIGURES)


def test_a_deduction_answers_as_a_load_does(people: People) -> None:
    load(people.admin, people.agent.id, 5_000)
    first = move(people.admin, "debit", people.agent.id, 2_000, key="k")
    assert (first.status_code, set(first.json), first.json["balance"]) == (201, {"entry_id", "balance"}, 3_000)
    assert move(people.admin, "debit", people.agent.id, 2_000, key="k").json == first.json
    for changed in (
        move(people.admin, "debit", people.agent.id, 2_001, key="k"),
        move(people.admin, "credit", people.agent.id, 2_000, key="k"),
        move(people.admin, "debit", people.agent.id, 2_000, "shortage", key="k"),
    ):
        assert (changed.status_code, changed.json["code"]) == (409, "key_reused")
    short = move(people.admin, "debit", people.agent.id, 3_001, key="much")
    assert (short.status_code, short.json["code"], short.json["available"]) == (409, "insufficient_credit", 3_000)
    load(people.admin, people.agent.id, 5_000)
    assert move(people.admin, "debit", people.agent.id, 3_001, key="much").json == short.json


def test_what_was_taken_cannot_be_sold_on(people: People, draw_id: str) -> None:
    load(people.admin, people.agent.id, 5_000)
    move(people.admin, "debit", people.agent.id, 4_500)
    answer = people.agent("POST /v1/tickets", sale(draw_id, ("straight", "046", 1_000)))
    assert (answer.status_code, answer.json["available"]) == (409, 500)


@pytest.mark.parametrize("direction", ["credit", "debit"])
def test_who_moves_what(people: People, direction: str) -> None:
    load(people.admin, people.coordinator.id, 9_000)
    load(people.admin, people.agent.id, 9_000)
    for kind in ("load", "remittance", "shortage"):
        assert move(people.coordinator, direction, people.agent.id, 100, kind, note="ok").status_code == 201
    assert move(people.coordinator, direction, people.agent.id, 100, "correction").json["code"] == "forbidden"
    assert move(people.admin, direction, people.agent.id, 100, "correction").status_code == 201
    for caller, target, code in (
        (people.coordinator, people.coordinator, "not_found"),
        (people.coordinator, people.admin, "not_found"),
        (people.other_admin, people.agent, "not_found"),
        (people.operator, people.agent, "forbidden"),
        (people.agent, people.agent, "forbidden"),
    ):
        assert move(caller, direction, target.id, 100).json["code"] == code
    for bad in ({"amount": 0}, {"kind": "gift"}, {"note": "\u0000"}, {"extra": 1}):
        answer = people.admin(
            f"POST /v1/users/{people.agent.id}/{direction}",
            {"amount": 100, "kind": "load"} | bad,
            {"Idempotency-Key": "bad"},
        )
        assert (answer.status_code, answer.json["errors"][0]["path"]) == (422, next(iter(bad)))
    nameless = people.admin(f"POST /v1/users/{people.agent.id}/{direction}", {"amount": 100, "kind": "load"})
    assert (nameless.status_code, nameless.json["errors"][0]["path"]) == (422, "Idempotency-Key")


def test_a_ledger_is_read_page_by_page(people: People, res: Resources, seller: Caller, draw_id: str) -> None:
    seller("POST /v1/tickets", sale(draw_id, ("straight", "046", 1_000)))
    persist(res, draw_id)
    move(people.admin, "debit", seller.id, 300, "shortage", note="till was short")
    path = f"GET /v1/users/{seller.id}/ledger"
    items = seller(path).json["items"]
    assert [(item["kind"], item["amount"], item["draw_id"]) for item in items] == [
        ("shortage", -300, None),
        ("sale", -1_000, draw_id),
        ("load", 1_000_000, None),
    ]
    assert (items[0]["note"], items[0]["made_by"]) == ("till was short", people.admin.id)
    assert (items[1]["made_by"], items[1]["ticket"]) == (None, None)
    pages, cursor = [], ""
    while cursor is not None:
        page = people.operator(f"{path}?limit=1{cursor and '&cursor=' + cursor}").json
        pages += page["items"]
        cursor = page["next"]
    assert pages == items
    for query in ("limit=0", "cursor=x", "colour=red"):
        assert seller(f"{path}?{query}").json["errors"][0]["path"] == query.partition("=")[0]
    assert people.coordinator(f"GET /v1/users/{people.coordinator.id}/ledger").json == {"items": [], "next": None}


def test_a_statement_is_its_owners_and_for_those_above(people: People) -> None:
    for what in ("ledger", "summary"):
        path = f"GET /v1/users/{people.agent.id}/{what}"
        for reader in (people.agent, people.coordinator, people.admin, people.superadmin, people.operator):
            assert reader(path).status_code == 200
        assert people.other_admin(path).status_code == 404
        for stranger in (people.coordinator.id, people.superadmin.id, 10**30):
            assert people.agent(f"GET /v1/users/{stranger}/{what}").json["code"] == "not_found"


def test_what_an_agent_has_to_hand_in(people: People, res: Resources, seller: Caller, draw_id: str) -> None:
    for stake in (5_000, 3_000):
        receipt = seller("POST /v1/tickets", sale(draw_id, ("straight", "046", stake))).json
    seller(f"POST /v1/tickets/{receipt['number']}/void", {"reason": "left"})
    persist(res, draw_id)
    book(res, "claim", seller.id, 900)
    book(res, "commission", seller.id, 350)
    book(res, "refund", seller.id, 50)
    assert move(people.admin, "credit", seller.id, 2_000, "remittance").status_code == 201
    assert move(people.admin, "debit", seller.id, 500, "remittance").status_code == 201
    assert move(people.admin, "debit", seller.id, 10, "shortage").status_code == 201
    expected = (8_000, 3_050, 900, 350, 1_500, 8_000 - 3_050 - 900 - 350 - 1_500)
    for reader in (seller, people.coordinator):
        assert figures(reader, seller.id) == expected
    assert figures(people.coordinator, people.coordinator.id) == expected
    assert figures(people.superadmin, people.superadmin.id) == expected
    assert figures(people.other_admin, people.other_admin.id) == (0, 0, 0, 0, 0, 0)


def test_what_stays_inside_a_branch_is_not_handed_in_by_it(people: People) -> None:
    load(people.admin, people.coordinator.id, 5_000)
    assert move(people.coordinator, "credit", people.agent.id, 1_000, "remittance").status_code == 201
    assert figures(people.coordinator, people.agent.id)[4] == 1_000
    assert figures(people.coordinator, people.coordinator.id)[4] == 0
    assert move(people.admin, "credit", people.coordinator.id, 700, "remittance").status_code == 201
    assert figures(people.coordinator, people.coordinator.id)[4] == 700
    assert figures(people.coordinator, people.agent.id)[4] == 1_000


def test_a_day_is_one_in_manila(people: People, res: Resources) -> None:
    midnight = datetime(2026, 3, 1, 16, 0, tzinfo=UTC)  # 2 March in Manila begins
    for shift, amount in ((-1, 1), (0, 20), (86_399, 300), (86_400, 4_000)):
        book(res, "claim", people.agent.id, amount, midnight + timedelta(seconds=shift))
    paid = {
        date: figures(people.agent, people.agent.id, date)[2] for date in ("2026-03-01", "2026-03-02", "2026-03-03")
    }
    assert paid == {"2026-03-01": 1, "2026-03-02": 320, "2026-03-03": 4_000}
    answer = people.agent(f"GET /v1/users/{people.agent.id}/summary")
    assert answer.json["date"] in {
        (res.clock.now() - ago).astimezone(MANILA).date().isoformat() for ago in (timedelta(), timedelta(minutes=5))
    }
    for date in ("2026-02-30", "yesterday", ""):
        bad = people.agent(f"GET /v1/users/{people.agent.id}/summary?date={date}")
        assert (bad.status_code, bad.json["errors"][0]["path"]) == (422, "date")
