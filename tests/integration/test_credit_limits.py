"""Credit limits: raised at once, lowered in the gate first, one change at a time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import select

from actions import credit, user_changes
from models.audit import AuditRow
from rules import errors
from tasks.persist import persist
from tests.integration.conftest import Lottery
from tests.integration.wallets import (
    away,
    give,
    in_database,
    in_gate,
    must_agree,
    set_limit,
)

Refusal = errors.InsufficientCredit


@pytest.fixture
def boss(lottery: Lottery) -> int:
    return lottery.person("superadmin")


def test_a_limit_is_lowered_only_as_far_as_the_credit_reaches(lottery: Lottery, boss: int) -> None:
    agent, draw = lottery.person(), lottery.draw()
    assert set_limit(lottery, boss, agent, 100) == 10_000
    lottery.sell(draw, agent, "s046:70")
    with pytest.raises(Refusal) as refusal:
        set_limit(lottery, boss, agent, 69)
    assert refusal.value.extra == {"available": 3_000}
    assert set_limit(lottery, boss, agent, 70) == 7_000
    assert in_gate(lottery, agent) == 0
    persist(lottery.res, draw)
    must_agree(lottery, agent)
    with lottery.res.sessions() as session:
        done = select(AuditRow).where(AuditRow.action == "user.change", AuditRow.outcome == "done")
        rows = session.scalars(done.order_by(AuditRow.id)).all()
    assert [(row.before, row.after) for row in rows] == [
        ({"credit_limit": 0}, {"credit_limit": 10_000}),
        ({"credit_limit": 10_000}, {"credit_limit": 7_000}),
    ]


def test_a_coordinators_limit_is_the_databases_affair(lottery: Lottery, boss: int) -> None:
    coordinator = lottery.person("coordinator", parent=boss)
    agent = lottery.person(parent=coordinator)
    assert set_limit(lottery, boss, coordinator, 100) == 10_000
    give(lottery, coordinator, agent, 60)
    with pytest.raises(Refusal):
        set_limit(lottery, boss, coordinator, 59)
    assert set_limit(lottery, boss, coordinator, 60) == 6_000


def test_limits_changed_at_once_end_at_one_of_them_in_both_places(lottery: Lottery, boss: int) -> None:
    agent = lottery.person(pesos=10)
    limits = [pesos for pesos in (5, 90, 30, 70, 10, 50) for _ in range(4)]

    def attempt(pesos: int) -> None:
        try:
            set_limit(lottery, boss, agent, pesos)
        except errors.IntakeUnavailable:
            return  # too many at once: nothing happened

    for _ in range(4):
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(attempt, limits))
        credit.push_outbox(lottery.res)
        must_agree(lottery, agent)
        assert in_database(lottery, agent) - 1_000 in {100 * pesos for pesos in limits}


def test_a_lower_limit_that_waits_goes_before_the_next_change(
    lottery: Lottery, boss: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = lottery.person()
    set_limit(lottery, boss, agent, 100)
    with monkeypatch.context() as patch:
        patch.setattr(lottery.res.gate, "tighten", away)
        for pesos in (40, 200):
            with pytest.raises(errors.IntakeUnavailable):
                set_limit(lottery, boss, agent, pesos)
    assert set_limit(lottery, boss, agent, 40) == 4_000
    assert set_limit(lottery, boss, agent, 200) == 20_000
    must_agree(lottery, agent)


def test_a_change_that_died_after_its_lower_limit_is_finished_by_the_same_call(
    lottery: Lottery, boss: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = lottery.person()
    set_limit(lottery, boss, agent, 100)
    change = {"credit_limit": 4_000, "phone": "0917", "commission_bp": 500}

    def die(*_: Any) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(user_changes, "_apply", die)
        with pytest.raises(RuntimeError):
            user_changes.change_user(lottery.res, boss, agent, change)
    body = user_changes.change_user(lottery.res, boss, agent, change)
    assert (body["wallet"]["credit_limit"], body["phone"], body["commission_bp"]) == (4_000, "0917", 500)
    must_agree(lottery, agent)
