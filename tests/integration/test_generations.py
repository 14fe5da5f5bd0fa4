"""What belongs to another life of the gate, or of a database that was restored since, is not taken for this one's."""

from __future__ import annotations

import threading
from typing import Any

import psycopg
import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError

from actions import standing, tightening
from actions.deductions import book_debit
from actions.reconcile import reconcile
from models.draws import Intent
from models.gate_state import GateState
from models.people import suspended_agents
from runtime.embedded_postgres import SUPERUSER, Postgres
from tests.conftest import Database
from tests.integration.conftest import Lottery
from tests.integration.test_standing import suspended_in_gate
from tests.integration.wallets import in_gate, must_agree


def ask_for_a_deduction(lottery: Lottery, agent: int, centavos: int) -> Any:
    """The intent of a load that is to be given back."""
    boss = lottery.person("superadmin")
    more = {"kind": "load", "note": None, "key": "k", "to": None, "house": {"cash": centavos}}
    with lottery.res.sessions.begin() as session:
        return tightening.ask(session, tightening.DEBIT, agent, boss, centavos, more)


def rebuild(lottery: Lottery) -> int:
    """Has the gate made anew; its generation."""
    lottery.res.rebuild.fence()
    assert reconcile(lottery.res)
    return generation(lottery)


def generation(lottery: Lottery) -> int:
    identity = lottery.res.gate.identity
    assert identity is not None
    assert identity.generation is not None
    return identity.generation


def test_a_restored_database_gives_no_generation_a_second_time(lottery: Lottery) -> None:
    """The gate answered the intent in a generation of which the backup does not know."""
    agent = lottery.person(pesos=1000)
    intent = ask_for_a_deduction(lottery, agent, 50_000)
    in_backup = generation(lottery)
    forgotten = rebuild(lottery)
    assert lottery.res.gate.tighten(agent, str(intent), 50_000) == (True, 50_000)
    with lottery.res.sessions.begin() as session:
        session.execute(update(GateState).values(generation=in_backup))
    assert reconcile(lottery.res)
    assert generation(lottery) > forgotten
    assert in_gate(lottery, agent) == 100_000
    assert tightening.settle(lottery.res, intent, book_debit).status == "posted"
    assert in_gate(lottery, agent) == 50_000
    must_agree(lottery, agent)


def test_the_highest_generation_outlives_fences_and_lower_ones(lottery: Lottery) -> None:
    before = generation(lottery)
    mark = lottery.res.rebuild.fence()
    assert lottery.res.rebuild.highest_generation() == before
    lottery.res.rebuild.switch_on(mark, before - 1)
    assert lottery.res.rebuild.highest_generation() == before
    assert rebuild(lottery) == before + 1


@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")  # of the connection that is cut below
@pytest.mark.parametrize("late_news", ["suspended", "active"])
def test_a_teller_whose_transaction_was_given_up_tells_a_rebuilt_gate_nothing(
    lottery: Lottery, postgres_server: Postgres, database: Database, monkeypatch: pytest.MonkeyPatch, late_news: str
) -> None:
    """He sleeps between what he read and his call; without his locks others decide the opposite and rebuild."""
    res, boss, agent = lottery.res, lottery.person("superadmin"), lottery.person(pesos=1000)
    reading, go_on, problems = threading.Event(), threading.Event(), []
    tell = res.gate.set_standing

    def asleep(*news: Any, **more: Any) -> int:
        if threading.current_thread().name == "late":
            reading.set()
            assert go_on.wait(60)
        return tell(*news, **more)

    def decide(news: str) -> None:
        if news == "suspended":
            standing.suspend(res, boss, agent, "test")
        else:
            standing.reactivate(res, boss, agent)

    def decide_late() -> None:
        try:
            decide(late_news)
        except Exception as problem:
            problems.append(problem)

    if late_news == "active":
        decide("suspended")
    monkeypatch.setattr(res.gate, "set_standing", asleep)
    late = threading.Thread(target=decide_late, name="late")
    late.start()
    assert reading.wait(60)
    give_up_idle_transactions(postgres_server, database)
    decide("active" if late_news == "suspended" else "suspended")
    rebuild(lottery)
    go_on.set()
    late.join()
    assert [type(problem) for problem in problems] == [OperationalError]  # its connection was gone, at the latest
    with res.sessions() as session:
        assert session.scalars(select(Intent.id).where(Intent.status == "asked")).all() == []
        assert suspended_in_gate(lottery) == suspended_agents(session) == ({agent} if late_news == "active" else set())


def give_up_idle_transactions(server: Postgres, database: Database) -> None:
    """What idle_in_transaction_session_timeout does after its ten seconds."""
    idle = """SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity
              WHERE datname = current_database() AND state = 'idle in transaction' AND pid <> pg_backend_pid()"""
    url = server.url(SUPERUSER, database.name).replace("+psycopg", "", 1)
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(idle).fetchone()
    assert row == (1,)
