"""Credit that is taken back, agents that are suspended and logins that end, while sales go on."""

from __future__ import annotations

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import func, text

from actions.reconcile import reconcile
from intake.gate import Sale
from intake.gate_errors import Unreconciled
from models.logins import Login
from models.people import User
from rules import errors
from rules.errors import IntakeUnavailable, Problem
from tests.integration.conftest import Lottery, line, new_id


def available(lottery: Lottery, agent: int) -> int:
    return int(lottery.res.gate._client.hget(f"wallet:{agent}", "available") or 0)


def sale_of(agent: int, session: str = "") -> Sale:
    return Sale(agent, new_id(), (line("s046:1"),), session)


# ── credit ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_credit_is_taken_off_once_per_intent_and_never_below_zero(lottery: Lottery) -> None:
    agent, gate, first, second = lottery.person(pesos=100), lottery.res.gate, new_id(), new_id()
    assert gate.tighten(agent, first, 6_000) == (True, 4_000)
    assert gate.tighten(agent, first, 6_000) == (True, 4_000)
    assert gate.tighten(agent, second, 4_001) == (False, 4_000)
    lottery.load(agent, 100)
    assert gate.tighten(agent, second, 4_001) == (False, 4_000), "what was refused stays refused"
    assert available(lottery, agent) == 14_000
    assert gate.tighten(agent, new_id(), 14_000) == (True, 0)
    assert gate.tighten(lottery.person(), new_id(), 1) == (False, 0)


def test_an_intent_asked_by_many_at_once_is_applied_once(lottery: Lottery) -> None:
    agent, intent = lottery.person(pesos=1000), new_id()
    with ThreadPoolExecutor(16) as pool:
        answers = set(pool.map(lambda _: lottery.res.gate.tighten(agent, intent, 700), range(100)))
    assert answers == {(True, 99_300)}
    assert available(lottery, agent) == 99_300


def test_sales_and_deductions_by_the_hundred_share_the_credit_exactly(lottery: Lottery) -> None:
    agent, draw, gate = lottery.person(pesos=100), lottery.draw(), lottery.res.gate

    def attempt(index: int) -> int:
        if index % 2:
            return 300 if gate.tighten(agent, new_id(), 300)[0] else 0
        answer = gate.sell(draw, [sale_of(agent)])[0]
        return 0 if isinstance(answer, Problem) else 100

    with ThreadPoolExecutor(16) as pool:
        taken = sum(pool.map(attempt, range(300)))
    assert taken + available(lottery, agent) == 10_000
    assert 0 <= available(lottery, agent) < 300


def test_a_rebuild_between_two_askings_of_an_intent_does_not_make_credit(lottery: Lottery) -> None:
    agent, gate, intent = lottery.person(pesos=100), lottery.res.gate, new_id()
    generation = gate.identity.generation if gate.identity else None
    assert gate.tighten(agent, intent, 4_000, generation=generation) == (True, 6_000)
    lottery.res.rebuild.fence()  # the server keeps all that it has, the remembered answer too
    reconcile(lottery.res)
    assert available(lottery, agent) == 10_000, "the wallet is PostgreSQL's, where nothing is posted yet"
    with pytest.raises(Unreconciled):
        gate.tighten(agent, intent, 4_000, generation=generation)  # somebody slow, who may be too late
    assert gate.tighten(agent, intent, 4_000) == (True, 6_000)
    assert available(lottery, agent) == 6_000


# ── standing ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_suspended_agent_sells_nothing_and_a_reactivated_one_sells_again(lottery: Lottery) -> None:
    agent, other, draw, gate = lottery.person(pesos=9), lottery.person(pesos=9), lottery.draw(), lottery.res.gate
    first = lottery.sell(draw, agent, "s046:1", ticket_id=(ticket_id := new_id()))
    assert gate.set_standing([(agent, True), (other, False)], 1) == 2
    with pytest.raises(errors.AgentSuspended):
        lottery.sell(draw, agent, "s046:1")
    with pytest.raises(errors.AgentSuspended):
        gate.standing(agent)
    assert lottery.sell(draw, agent, "s046:1", ticket_id=ticket_id) == first
    assert lottery.sell(draw, other, "s046:1")["serial"] == 2
    assert gate.set_standing([(agent, False)], 2) == 1
    gate.standing(agent)
    assert lottery.sell(draw, agent, "s046:1")["serial"] == 3


def test_older_news_of_an_agents_standing_change_nothing(lottery: Lottery) -> None:
    agent, new_agent, gate = lottery.person(pesos=9), lottery.person(), lottery.res.gate
    assert gate.set_standing([(agent, True), (new_agent, True)], 7) == 2
    assert gate.set_standing([(agent, False), (new_agent, False)], 6) == 0
    for one in (agent, new_agent):
        with pytest.raises(errors.AgentSuspended):
            gate.standing(one)
    assert gate.set_standing([(agent, False)], 10) == 1
    gate.standing(agent)
    assert available(lottery, agent) == 900


def test_news_under_a_version_that_a_crashed_database_gave_twice_are_taken(lottery: Lottery) -> None:
    agent, gate = lottery.person(pesos=9), lottery.res.gate
    assert gate.set_standing([(agent, True)], 7) == 1
    assert gate.set_standing([(agent, False)], 7) == 1
    gate.standing(agent)


def test_the_standing_of_thousands_is_told_in_one_call(lottery: Lottery) -> None:
    agents = range(1_000_000, 1_002_500)
    assert lottery.res.gate.set_standing([(agent, agent % 2 == 0) for agent in agents], 3) == 2_500
    lottery.res.gate.standing(1_002_499)
    with pytest.raises(errors.AgentSuspended):
        lottery.res.gate.standing(1_002_498)
    assert lottery.res.gate.set_standing([], 4) == 0


def test_no_sale_is_taken_after_the_suspension_was_answered_for(lottery: Lottery) -> None:
    agent, draw, gate = lottery.person(pesos=10_000), lottery.draw(), lottery.res.gate
    for version in range(1, 41, 2):
        told = threading.Event()

        def attempt(_: int, told: threading.Event = told) -> str:
            late = told.is_set()
            answer = gate.sell(draw, [sale_of(agent)])[0]
            assert not isinstance(answer, IntakeUnavailable)
            sold = not isinstance(answer, Problem)
            return "sold too late" if sold and late else "sold" if sold else "refused"

        with ThreadPoolExecutor(8) as pool:
            attempts = [pool.submit(attempt, index) for index in range(20)]
            gate.set_standing([(agent, True)], version)
            told.set()
            attempts += [pool.submit(attempt, index) for index in range(5)]
            outcomes = [each.result() for each in attempts]
        assert "sold too late" not in outcomes
        assert set(outcomes[20:]) == {"refused"}
        gate.set_standing([(agent, False)], version + 1)


# ── logins ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_ended_login_sells_nothing_and_the_agents_other_login_sells_on(lottery: Lottery) -> None:
    agent, draw, gate = lottery.person(pesos=9), lottery.draw(), lottery.res.gate
    lost, kept = str(uuid.uuid4()), str(uuid.uuid4())
    known = sale_of(agent, lost)
    assert not isinstance(gate.sell(draw, [known])[0], Problem)
    gate.end_sessions([lost, str(uuid.uuid4())], 900)
    assert isinstance(gate.sell(draw, [sale_of(agent, lost)])[0], errors.TokenRevoked)
    with pytest.raises(errors.TokenRevoked):
        gate.standing(agent, lost)
    gate.standing(agent, kept)
    gate.standing(agent)
    assert not isinstance(gate.sell(draw, [sale_of(agent, kept)])[0], Problem)
    assert not isinstance(gate.sell(draw, [known])[0], Problem), "a known id gets its receipt by any login"
    assert 0 < gate._client.ttl(f"ended:{lost}") <= 900
    gate.end_sessions([], 900)


# ── another generation, another server ──────────────────────────────────────────────────────────────────────


def test_a_gate_of_another_generation_answers_nothing_about_agents(lottery: Lottery) -> None:
    agent, gate = lottery.person(pesos=9), lottery.res.gate
    lottery.res.rebuild.fence()
    for call in (
        lambda: gate.tighten(agent, new_id(), 1),
        lambda: gate.set_standing([(agent, True)], 1),
        lambda: gate.end_sessions(["a"], 60),
        lambda: gate.standing(agent),
    ):
        with pytest.raises(Unreconciled):
            call()
    reconcile(lottery.res)
    gate.standing(agent, "a")
    assert available(lottery, agent) == 900


def test_a_rebuild_knows_who_is_suspended_himself_or_by_a_coordinator_above(lottery: Lottery) -> None:
    admin = lottery.person("admin")
    area = lottery.person("coordinator", parent=admin)
    branch = lottery.person("coordinator", parent=area)
    below, beside, alone = (lottery.person(pesos=9, parent=parent) for parent in (branch, admin, admin))
    lottery.res.gate.set_standing([(beside, True)], 5)  # never written in PostgreSQL
    with lottery.res.sessions.begin() as session:
        for user_id in (admin, area, alone):
            session.get_one(User, user_id).status = "suspended"
    lottery.res.gate._client.flushall()
    reconcile(lottery.res)
    gate = lottery.res.gate
    for agent in (below, alone):
        with pytest.raises(errors.AgentSuspended):
            gate.standing(agent)
    gate.standing(beside)
    assert gate.set_standing([(below, False)], 1) == 1, "a rebuilt wallet takes any version"


def test_a_rebuild_knows_the_logins_that_ended_while_their_tokens_live(lottery: Lottery) -> None:
    agent, now = lottery.person(pesos=9), func.now()
    ended, long_ago, living = uuid.uuid4(), uuid.uuid4(), uuid.uuid4()
    with lottery.res.sessions.begin() as session:
        for sid, ended_at in ((ended, now), (long_ago, now - timedelta(days=2)), (living, None)):
            login = Login(id=sid, user_id=agent, address="", expires_at=now + timedelta(days=1), kid="k")
            login.ended_at, login.ended_why = ended_at, "lost" if ended_at is not None else None
            session.add(login)
    lottery.res.gate._client.flushall()
    reconcile(lottery.res)
    with pytest.raises(errors.TokenRevoked):
        lottery.res.gate.standing(agent, str(ended))
    lottery.res.gate.standing(agent, str(living))
    assert lottery.res.gate._client.keys("ended:*") == [f"ended:{ended}".encode()]
    with lottery.res.sessions() as session:
        assert session.scalar(text("SELECT count(*) FROM sessions WHERE ended_at IS NOT NULL")) == 2
