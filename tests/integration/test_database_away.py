"""A database that hangs, breaks off or is slow, as the API's way to it meets that."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session, sessionmaker

from models.session import CONNECT_S, NoAnswer, make_sessions
from runtime.breaker import FAILURES_MIN, Rule
from runtime.embedded_postgres import Postgres

# What is asked for in each test, and ten times that: the bound on a busy machine.
ANSWER_S, STATEMENT_S = 1.0, 2.0
SLACK = 10
WAIT_S = 30


@pytest.fixture(scope="module")
def server(servers_dir: Path) -> Iterator[Postgres]:
    """One that these tests may stop."""
    own = Postgres(servers_dir / "postgres-away").start()
    own.ensure_database()
    yield own
    own.stop(signal.SIGQUIT)


@pytest.fixture
def sessions(server: Postgres) -> Iterator[sessionmaker[Session]]:
    made = make_sessions(
        server.url(), pool_size=2, pool_wait_s=0.1, answer_s=ANSWER_S, statement_s=STATEMENT_S, breaker=Rule()
    )
    ask(made)
    yield made
    made.kw["bind"].dispose()


def ask(sessions: sessionmaker[Session], statement: str = "SELECT 1") -> Any:
    with sessions() as session:
        return session.scalar(text(statement))


@contextmanager
def hanging(server: Postgres) -> Iterator[None]:
    assert server.process is not None
    postmaster = psutil.Process(server.process.pid)
    stopped = [postmaster, *postmaster.children()]
    for process in stopped:
        process.suspend()
    try:
        yield
    finally:
        for process in stopped:
            process.resume()


def answers_in_time(sessions: sessionmaker[Session]) -> bool:
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        try:
            return bool(ask(sessions) == 1)
        except (NoAnswer, OperationalError):
            time.sleep(0.1)
    return False


def test_a_hanging_server_holds_the_first_ones_for_seconds_and_the_others_not_at_all(
    server: Postgres, sessions: sessionmaker[Session]
) -> None:
    with hanging(server):
        began = time.monotonic()
        with pytest.raises(NoAnswer):
            ask(sessions)  # on the connection that it holds
        assert time.monotonic() - began < ANSWER_S * SLACK
        began = time.monotonic()
        for _ in range(FAILURES_MIN - 1):
            with pytest.raises(OperationalError):
                ask(sessions)  # which has to connect
        assert time.monotonic() - began < FAILURES_MIN * CONNECT_S * SLACK
        began = time.monotonic()
        for _ in range(100):
            with pytest.raises(NoAnswer):
                ask(sessions)
        assert time.monotonic() - began < ANSWER_S
    assert answers_in_time(sessions)


def test_a_server_that_hangs_in_the_middle_of_a_statement_is_given_up(
    server: Postgres, sessions: sessionmaker[Session]
) -> None:
    with sessions() as session:
        session.execute(text("SELECT 1"))
        with hanging(server):
            began = time.monotonic()
            with pytest.raises(OperationalError):
                session.execute(text("SELECT 1"))
            assert time.monotonic() - began < STATEMENT_S * SLACK
    assert answers_in_time(sessions)


def test_a_slow_statement_is_given_up_by_the_server_too_and_shuts_nobody_else_out(
    sessions: sessionmaker[Session],
) -> None:
    with pytest.raises(OperationalError):
        ask(sessions, "SELECT pg_sleep(1000) AS far_too_long")
    assert ask(sessions) == 1  # at once: the server answers, so nothing was opened
    running = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(1000)%' AND state = 'active'"
    deadline = time.monotonic() + WAIT_S
    while ask(sessions, running):
        assert time.monotonic() < deadline, "the server goes on with what nobody waits for"
        time.sleep(0.1)


def test_a_pool_that_has_none_left_says_nothing_about_the_server(sessions: sessionmaker[Session]) -> None:
    with sessions() as one, sessions() as another:
        one.execute(text("SELECT 1"))
        another.execute(text("SELECT 1"))
        for _ in range(10):
            with pytest.raises(PoolTimeout) as refused:
                ask(sessions)
            assert not isinstance(refused.value, NoAnswer)
    assert ask(sessions) == 1


def test_connections_that_a_restart_broke_are_made_anew(server: Postgres, sessions: sessionmaker[Session]) -> None:
    server.stop()
    with pytest.raises((OperationalError, NoAnswer)):
        ask(sessions)
    server.start()
    assert answers_in_time(sessions)


def test_threads_that_wait_together_are_all_let_go(server: Postgres, sessions: sessionmaker[Session]) -> None:
    refused: list[BaseException] = []

    def try_it() -> None:
        try:
            ask(sessions)
        except (OperationalError, PoolTimeout) as error:
            refused.append(error)

    with hanging(server):
        began = time.monotonic()
        threads = [threading.Thread(target=try_it) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert time.monotonic() - began < ANSWER_S * SLACK
    assert len(refused) == 20
    assert answers_in_time(sessions)
