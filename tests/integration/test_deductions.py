"""Taking credit back: in the gate first, once per key, and never more than there is."""

from __future__ import annotations

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update

from actions import credit, tightening, void
from actions.reconcile import reconcile
from intake.gate_errors import Unreconciled
from models.audit import AuditRow
from models.ledger import Entry, balances
from models.people import IdempotencyKey
from rules import errors
from runtime.origin import SYSTEM, Origin, origin, set_origin
from tasks.people import complete_tightening, forget_people, sweep_people
from tasks.persist import persist
from tests.integration.conftest import Lottery
from tests.integration.wallets import (
    asked,
    away,
    give,
    in_database,
    in_gate,
    must_agree,
    set_limit,
    take,
)

Refusal = errors.InsufficientCredit


@pytest.fixture
def boss(lottery: Lottery) -> int:
    return lottery.person("superadmin")


def test_a_deduction_leaves_the_gate_and_the_wallet_and_goes_to_the_house(lottery: Lottery, boss: int) -> None:
    agent = lottery.person()
    give(lottery, boss, agent, 100)
    for kind, pesos in (("load", 10), ("remittance", 20), ("shortage", 5), ("correction", 3)):
        entry = take(lottery, boss, agent, pesos, kind)
        with lottery.res.sessions() as session:
            assert session.get_one(Entry, entry["entry_id"]).kind == kind
    assert entry["balance"] == 6_200
    must_agree(lottery, agent)
    with lottery.res.sessions() as session:
        assert dict(balances(session)) == {"wallet": 6_200, "cash": -6_500, "corrections": 300}
        rows = session.scalars(select(AuditRow).where(AuditRow.action == "credit.debit").order_by(AuditRow.id)).all()
    assert [(row.object, row.after["kind"], row.after["amount"]) for row in rows][-1] == (
        f"user:{agent}",
        "correction",
        300,
    )


def test_what_was_sold_and_is_not_persisted_cannot_be_taken(lottery: Lottery, boss: int) -> None:
    agent, draw = lottery.person(), lottery.draw()
    give(lottery, boss, agent, 100)
    lottery.sell(draw, agent, "s046:60")
    with pytest.raises(Refusal) as refusal:
        take(lottery, boss, agent, 41, key="k")
    assert refusal.value.extra == {"available": 4_000}
    give(lottery, boss, agent, 100)
    with pytest.raises(Refusal) as again:
        take(lottery, boss, agent, 41, key="k")
    assert again.value.extra == {"available": 4_000}
    assert take(lottery, boss, agent, 41)["balance"] == 15_900
    persist(lottery.res, draw)
    must_agree(lottery, agent)


def test_what_a_coordinator_takes_back_is_his_again(lottery: Lottery, boss: int) -> None:
    coordinator = lottery.person("coordinator", parent=boss)
    agent = lottery.person(parent=coordinator)
    give(lottery, boss, coordinator, 100)
    give(lottery, coordinator, agent, 80)
    take(lottery, coordinator, agent, 30)
    assert (in_database(lottery, coordinator), in_database(lottery, agent)) == (5_000, 5_000)
    must_agree(lottery, agent)
    with pytest.raises(errors.Forbidden):
        take(lottery, coordinator, agent, 1, "correction")
    with pytest.raises(errors.Forbidden):
        give(lottery, coordinator, agent, 1, "correction")
    with pytest.raises(Refusal) as refusal:
        take(lottery, boss, coordinator, 51)
    assert refusal.value.extra == {"available": 5_000}
    assert take(lottery, boss, coordinator, 50)["balance"] == 0


@pytest.mark.parametrize("same_key", [True, False])
def test_many_at_once_take_once_per_key_and_never_too_much(lottery: Lottery, boss: int, same_key: bool) -> None:
    agent = lottery.person(pesos=50)

    def attempt(number: int) -> int | str:
        try:
            return int(take(lottery, boss, agent, 10, key="k" if same_key else f"k{number}")["entry_id"])
        except Refusal:
            return "refused"

    with ThreadPoolExecutor(8) as pool:
        answers = Counter(pool.map(attempt, range(24)))
    if same_key:
        assert list(answers.values()) == [24]
        assert in_gate(lottery, agent) == 4_000
    else:
        assert answers["refused"] == 19
        assert len(answers) == 6
        assert in_gate(lottery, agent) == 0
    must_agree(lottery, agent)


def test_a_caller_who_died_before_the_gate_answered_is_completed_by_a_sweep(
    lottery: Lottery, boss: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = lottery.person(pesos=100)
    with monkeypatch.context() as patch:
        patch.setattr(lottery.res.gate, "tighten", away)
        with pytest.raises(errors.IntakeUnavailable):
            take(lottery, boss, agent, 40, key="k")
    asked(lottery, timedelta(hours=-1))
    assert sweep_people(lottery.res) == 0  # whoever asked has his two seconds
    asked(lottery, timedelta(seconds=3))
    assert sweep_people(lottery.res) == 1
    assert sweep_people(lottery.res) == 0
    assert take(lottery, boss, agent, 40, key="k")["balance"] == 6_000
    must_agree(lottery, agent)


def test_a_caller_who_died_after_the_gate_answered_is_not_asked_of_it_twice(
    lottery: Lottery, boss: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = lottery.person(pesos=100)

    def die(_: Any) -> int:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(tightening, "share_generation", die)
        with pytest.raises(RuntimeError):
            take(lottery, boss, agent, 40, key="k")
        with pytest.raises(RuntimeError):
            set_limit_after_raise(lottery, boss, agent)
    assert in_gate(lottery, agent) == 6_000 + 10_000 - 5_000
    asked(lottery, timedelta(seconds=3))
    assert complete_tightening(lottery.res) == 2
    assert take(lottery, boss, agent, 40, key="k")["balance"] == 6_000
    assert in_gate(lottery, agent) == 11_000
    must_agree(lottery, agent)


def set_limit_after_raise(lottery: Lottery, boss: int, agent: int) -> None:
    assert set_limit(lottery, boss, agent, 100) == 10_000
    set_limit(lottery, boss, agent, 50)


def test_an_answer_of_a_gate_that_is_no_more_is_asked_again_of_the_new_one(
    lottery: Lottery, boss: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = lottery.person(pesos=100)
    gate, tighten = lottery.res.gate, lottery.res.gate.tighten

    def and_then_lose_it(*call: Any, **more: Any) -> Any:
        answer = tighten(*call, **more)
        lottery.res.rebuild.fence()
        reconcile(lottery.res)
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(gate, "tighten", and_then_lose_it)
        with pytest.raises(Unreconciled):
            take(lottery, boss, agent, 40, key="k")
    assert in_gate(lottery, agent) == 10_000  # rebuilt from a wallet that was not posted yet
    assert take(lottery, boss, agent, 40, key="k")["balance"] == 6_000
    must_agree(lottery, agent)


def test_loads_deductions_limits_sales_and_voids_at_once_never_overdraw(lottery: Lottery, boss: int) -> None:
    agent, draw = lottery.person(pesos=40), lottery.draw()
    kinds = ["sell"] * 150 + ["take"] * 60 + ["give"] * 40 + ["void"] * 20 + ["limit"] * 20 + ["persist"] * 10
    random.Random(7).shuffle(kinds)
    sold: list[dict[str, Any]] = []

    def attempt(kind: str) -> str:
        try:
            if kind == "sell":
                sold.append(lottery.sell(draw, agent, f"s{random.randrange(1000):03}:1"))
            elif kind == "take":
                take(lottery, boss, agent, 2)
            elif kind == "give":
                give(lottery, boss, agent, 2)
            elif kind == "limit":
                set_limit(lottery, boss, agent, random.randrange(20))
            elif kind == "void" and sold:
                void.void(lottery.res, agent, sold.pop()["number"], "test")
            elif kind == "persist":
                persist(lottery.res, draw)
        except Refusal as refusal:
            return "refused" if int(str(refusal.extra["available"])) >= 0 else "overdrawn"
        return "done"

    with ThreadPoolExecutor(6) as pool:
        outcomes = list(pool.map(attempt, kinds))
    assert "overdrawn" not in outcomes
    assert {outcome for kind, outcome in zip(kinds, outcomes, strict=True) if kind == "sell"} >= {"done", "refused"}
    persist(lottery.res, draw)
    complete_tightening(lottery.res)
    credit.push_outbox(lottery.res)
    must_agree(lottery, agent)


def test_a_key_is_forgotten_after_two_days_unless_its_call_still_waits(
    lottery: Lottery, boss: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = lottery.person(pesos=100)
    take(lottery, boss, agent, 10, key="done")
    with monkeypatch.context() as patch:
        patch.setattr(lottery.res.gate, "tighten", away)
        with pytest.raises(errors.IntakeUnavailable):
            take(lottery, boss, agent, 10, key="waits")
    with lottery.res.sessions.begin() as session:
        session.execute(update(IdempotencyKey).values(created_at=func.now() - timedelta(hours=49)))
    assert forget_people(lottery.res) == 1
    assert take(lottery, boss, agent, 10, key="waits")["balance"] == 8_000
    must_agree(lottery, agent)


@pytest.mark.parametrize("completer", [SYSTEM, Origin(0, "somebody", "superadmin", "203.0.113.8", "r2")])
def test_what_a_sweep_or_anothers_call_completes_is_written_down_as_the_askers_deed(
    lottery: Lottery, boss: int, monkeypatch: pytest.MonkeyPatch, completer: Origin
) -> None:
    agent = lottery.person(pesos=100)
    asker = Origin(boss, "boss", "superadmin", "203.0.113.7", "r1")
    with monkeypatch.context() as patch:
        patch.setattr(lottery.res.gate, "tighten", away)
        set_origin(asker)
        for pesos in (70, 40):
            with pytest.raises(errors.IntakeUnavailable):
                take(lottery, boss, agent, pesos, key=f"k{pesos}")
    set_origin(completer)
    asked(lottery, timedelta(seconds=3))
    complete_tightening(lottery.res)
    assert origin() == completer
    set_origin(SYSTEM)
    with lottery.res.sessions() as session:
        rows = session.scalars(select(AuditRow).where(AuditRow.action == "credit.debit")).all()
    assert {(row.after["amount"], row.outcome) for row in rows} in (
        {(7_000, "done"), (4_000, "insufficient_credit")},
        {(4_000, "done"), (7_000, "insufficient_credit")},
    )
    for row in rows:
        assert Origin(row.actor_id, row.actor, row.role, row.address, row.request_id) == asker
    must_agree(lottery, agent)


def test_a_sweep_goes_past_what_it_cannot_complete(
    lottery: Lottery, boss: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = lottery.person(pesos=100), lottery.person(pesos=100)
    gate, tighten = lottery.res.gate, lottery.res.gate.tighten

    def away_for_the_first(agent: int, *call: Any, **more: Any) -> Any:
        return away() if agent == first else tighten(agent, *call, **more)

    with monkeypatch.context() as patch:
        patch.setattr(gate, "tighten", away)
        for agent in (first, second):
            with pytest.raises(errors.IntakeUnavailable):
                take(lottery, boss, agent, 40)
    asked(lottery, timedelta(seconds=3))
    with monkeypatch.context() as patch:
        patch.setattr(gate, "tighten", away_for_the_first)
        with pytest.raises(errors.IntakeUnavailable):
            sweep_people(lottery.res)
    assert (in_gate(lottery, first), in_gate(lottery, second)) == (10_000, 6_000)
    assert sweep_people(lottery.res) == 1
    must_agree(lottery, first)
