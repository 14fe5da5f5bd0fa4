"""Suspensions: in force from the answer on, from above too, and the same in the gate and the database."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, text, update

from actions import standing, user_changes, users
from actions.reconcile import reconcile
from models.audit import AuditRow
from models.draws import Intent
from models.people import CommissionRate, User, lock_users, suspended_agents
from rules import errors
from tasks.people import sweep_people
from tests.integration.conftest import Lottery, new_id

ROUNDS = 100


class Branch:
    """superadmin > admin > coordinator > (area > deep agent), agent."""

    def __init__(self, lottery: Lottery) -> None:
        self.lottery, self.res = lottery, lottery.res
        self.boss = lottery.person("superadmin")
        self.admin = lottery.person("admin", parent=self.boss)
        self.coordinator = lottery.person("coordinator", parent=self.admin)
        self.area = lottery.person("coordinator", parent=self.coordinator)
        self.agent = lottery.person(pesos=1000, parent=self.coordinator)
        self.deep = lottery.person(pesos=1000, parent=self.area)
        self.free = lottery.person(pesos=1000, parent=self.admin)
        self.draw = lottery.draw()

    def suspend(self, user: int, by: int | None = None) -> str:
        return str(standing.suspend(self.res, by or self.boss, user, "test")["status"])

    def reactivate(self, user: int, by: int | None = None) -> str:
        return str(standing.reactivate(self.res, by or self.boss, user)["status"])

    def move(self, agent: int, parent: int, by: int | None = None) -> dict[str, Any]:
        return user_changes.change_user(self.res, by or self.boss, agent, {"parent_id": parent})

    def make_agent(self, parent: int) -> int:
        data = {"username": f"n{new_id()[:12]}", "password": new_id(), "role": "agent", "credit_limit": 1_000}
        return int(users.create_user(self.res, self.boss, data | {"parent_id": parent})["id"])

    def sells(self, agent: int) -> bool:
        try:
            self.lottery.sell(self.draw, agent, "s046:1")
        except errors.AgentSuspended:
            return False
        return True

    def who_sells(self) -> list[bool]:
        return [self.sells(agent) for agent in (self.agent, self.deep, self.free)]


@pytest.fixture
def branch(lottery: Lottery) -> Branch:
    return Branch(lottery)


def suspended_in_gate(lottery: Lottery) -> set[int]:
    with lottery.res.sessions() as session:
        agents = session.scalars(select(User.id).where(User.role == "agent")).all()
    raw = lottery.res.gate._client
    return {agent for agent in agents if raw.hget(f"wallet:{agent}", "status") == b"suspended"}


def must_agree(lottery: Lottery) -> set[int]:
    with lottery.res.sessions() as session:
        suspended = suspended_agents(session)
        assert session.scalars(select(Intent.id).where(Intent.status == "asked")).all() == []
    assert suspended_in_gate(lottery) == suspended
    return suspended


def test_a_coordinators_suspension_stops_everyone_below_and_an_administrators_only_himself(branch: Branch) -> None:
    assert branch.suspend(branch.coordinator) == "suspended"
    assert branch.who_sells() == [False, False, True]
    assert branch.reactivate(branch.coordinator) == "active"
    assert branch.who_sells() == [True, True, True]
    branch.suspend(branch.area, by=branch.coordinator)
    assert branch.who_sells() == [True, False, True]
    branch.reactivate(branch.area)
    assert branch.suspend(branch.admin) == "suspended"
    assert branch.who_sells() == [True, True, True]
    with pytest.raises(errors.TokenRevoked):
        branch.suspend(branch.agent, by=branch.admin)
    must_agree(branch.lottery)


def test_whoever_is_suspended_twice_over_waits_for_both(branch: Branch) -> None:
    branch.suspend(branch.deep)
    branch.suspend(branch.coordinator)
    assert branch.reactivate(branch.deep) == "suspended"
    assert not branch.sells(branch.deep)
    branch.suspend(branch.area)
    branch.reactivate(branch.coordinator)
    assert branch.who_sells() == [True, False, True]
    branch.reactivate(branch.area)
    assert branch.who_sells() == [True, True, True]
    must_agree(branch.lottery)


def test_a_suspension_is_written_down_once_with_its_reason(branch: Branch) -> None:
    for _ in range(2):
        branch.suspend(branch.agent)
    with branch.res.sessions() as session:
        rows = session.scalars(select(AuditRow).where(AuditRow.object == f"user:{branch.agent}")).all()
        intents = session.scalars(select(Intent).where(Intent.user_id == branch.agent)).all()
    assert [(row.action, row.before, row.after) for row in rows] == [
        ("user.suspend", {"status": "active"}, {"status": "suspended", "reason": "test"})
    ]
    assert [intent.status for intent in intents] == ["posted"]


def test_an_agent_made_or_moved_under_a_suspended_coordinator_does_not_sell(branch: Branch) -> None:
    branch.suspend(branch.area)
    made = branch.make_agent(branch.area)
    assert not branch.sells(made)
    assert branch.move(branch.agent, branch.area)["status"] == "suspended"
    assert not branch.sells(branch.agent)
    assert branch.move(branch.agent, branch.admin)["status"] == "active"
    assert branch.sells(branch.agent)
    must_agree(branch.lottery)


def test_a_move_keeps_the_old_rate_for_what_was_opened_before(branch: Branch) -> None:
    user_changes.change_user(branch.res, branch.boss, branch.agent, {"commission_bp": 300})
    branch.move(branch.agent, branch.area)
    branch.move(branch.agent, branch.area)
    user_changes.change_user(branch.res, branch.boss, branch.agent, {"commission_bp": 300, "phone": "0917"})
    with branch.res.sessions() as session:
        rates = session.scalars(
            select(CommissionRate).where(CommissionRate.user_id == branch.agent).order_by(CommissionRate.id)
        ).all()
        user = session.get_one(User, branch.agent)
    above = [branch.boss, branch.admin, branch.coordinator]
    assert [(rate.bp, rate.ancestors) for rate in rates] == [(300, above), (300, [*above, branch.area])]
    assert (user.parent_id, user.ancestors) == (branch.area, [*above, branch.area])


def test_only_agents_move_and_only_within_reach(branch: Branch) -> None:
    other = branch.lottery.person("coordinator", parent=branch.boss)
    with pytest.raises(errors.Invalid):
        branch.move(branch.area, branch.admin)
    with pytest.raises(errors.Invalid):
        branch.move(branch.agent, branch.deep)
    for target in (other, branch.admin, 10**6):
        with pytest.raises(errors.NotFound):
            branch.move(branch.agent, target, by=branch.coordinator)
    with pytest.raises(errors.NotFound):
        branch.move(branch.free, branch.coordinator, by=branch.coordinator)
    assert branch.move(branch.agent, branch.area, by=branch.coordinator)["parent_id"] == branch.area


def test_nothing_is_sold_after_the_answer_to_a_suspension(branch: Branch) -> None:
    told = threading.Event()
    late: list[bool] = []

    def sell_on() -> int:
        sold = 0
        while not told.is_set() or len(late) < 8:
            after = told.is_set()
            outcome = branch.sells(branch.agent)
            sold += outcome
            if after:
                late.append(outcome)
        return sold

    with ThreadPoolExecutor(4) as pool:
        sellers = [pool.submit(sell_on) for _ in range(3)]
        while branch.lottery.res.journal.last([branch.draw])[branch.draw] is None:
            pass
        branch.suspend(branch.coordinator)
        told.set()
        assert all(seller.result() >= 0 for seller in sellers)
    assert late
    assert not any(late)


def test_of_two_superadmins_who_suspend_each_other_one_stays(branch: Branch) -> None:
    second = branch.lottery.person("superadmin", parent=branch.boss)
    pair = (branch.boss, second)

    def strike(number: int) -> bool:
        try:
            branch.suspend(pair[1 - number], by=pair[number])
        except (errors.TokenRevoked, errors.LastSuperadmin):
            return False
        return True

    for _ in range(ROUNDS):
        with ThreadPoolExecutor(2) as pool:
            assert sorted(pool.map(strike, (0, 1))) == [False, True]
        with branch.res.sessions.begin() as session:
            active = select(func.count()).where(User.role == "superadmin", User.status == "active")
            assert session.scalar(active) == 1
            session.execute(update(User).values(status="active"))


def test_the_last_superadmin_and_oneself_cannot_be_suspended(branch: Branch) -> None:
    with pytest.raises(errors.LastSuperadmin):
        branch.suspend(branch.boss)
    second = branch.lottery.person("superadmin", parent=branch.boss)
    with pytest.raises(errors.Forbidden):
        branch.suspend(branch.boss)
    with pytest.raises(errors.Forbidden):
        branch.suspend(branch.coordinator, by=branch.coordinator)
    with pytest.raises(errors.NotFound):
        branch.suspend(branch.boss, by=branch.admin)
    assert branch.suspend(branch.boss, by=second) == "suspended"
    with pytest.raises(errors.LastSuperadmin):
        branch.suspend(second, by=second)


def test_changes_by_the_hundred_end_with_the_gate_knowing_what_the_database_says(branch: Branch) -> None:
    agents = [branch.agent, branch.deep, branch.free]
    dice = random.Random(3)
    deeds = [dice.choice(["suspend", "reactivate", "move", "make"]) for _ in range(240)]

    def do(deed: str) -> None:
        if deed == "suspend":
            branch.suspend(dice.choice([branch.coordinator, branch.area, *agents]))
        elif deed == "reactivate":
            branch.reactivate(dice.choice([branch.coordinator, branch.area, *agents]))
        elif deed == "move":
            branch.move(dice.choice(agents), dice.choice([branch.coordinator, branch.area, branch.admin]))
        elif dice.random() < 0.3:
            branch.make_agent(branch.area)

    for first in range(0, len(deeds), 24):
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(do, deeds[first : first + 24]))
        must_agree(branch.lottery)


def test_an_agent_made_while_his_coordinator_is_suspended_is_suspended_too(branch: Branch) -> None:
    for _ in range(20):
        with ThreadPoolExecutor(2) as pool:
            made = pool.submit(branch.make_agent, branch.area)
            pool.submit(branch.suspend, branch.area).result()
            agent = made.result()
        assert agent in must_agree(branch.lottery)
        branch.reactivate(branch.area)


def test_making_an_agent_waits_for_a_suspension_under_way_above_him(branch: Branch) -> None:
    with ThreadPoolExecutor(1) as pool:
        with branch.res.sessions.begin() as session:
            lock_users(session, [branch.coordinator])[branch.coordinator].status = "suspended"
            session.flush()
            made = pool.submit(branch.make_agent, branch.area)
            waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
            while not made.done() and not session.scalar(waiting):
                pass
            assert not made.done()
        assert made.result() in suspended_in_gate(branch.lottery)


def test_a_suspension_while_the_gate_is_away_is_told_later(branch: Branch) -> None:
    gate = branch.res.gate
    identity, gate.identity = gate.identity, None
    with pytest.raises(errors.IntakeUnavailable):
        branch.suspend(branch.coordinator)
    gate.identity = identity
    assert branch.sells(branch.agent)
    assert branch.suspend(branch.coordinator) == "suspended"  # the same call again tells it
    assert not branch.sells(branch.agent)
    gate.identity = None
    assert branch.reactivate(branch.coordinator) == "active"
    gate.identity = identity
    assert not branch.sells(branch.agent)
    with branch.res.sessions.begin() as session:
        session.execute(update(Intent).values(asked_at=func.now() - timedelta(seconds=3)))
    assert sweep_people(branch.res) == 1
    assert branch.who_sells() == [True, True, True]
    must_agree(branch.lottery)


def test_a_rebuilt_gate_knows_who_is_suspended_from_above(branch: Branch) -> None:
    branch.suspend(branch.coordinator)
    branch.suspend(branch.free)
    branch.res.rebuild.fence()
    reconcile(branch.res)
    assert must_agree(branch.lottery) == {branch.agent, branch.deep, branch.free}
    assert branch.who_sells() == [False, False, False]
    branch.reactivate(branch.coordinator)
    assert branch.who_sells() == [True, True, False]
