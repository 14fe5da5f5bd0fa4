"""One connection for many threads: everybody gets his own answer, whatever becomes of the connection."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil
import pytest
import redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from intake.client import ServerChanged, ServerIdentity, make_client
from intake.line import Line
from runtime.embedded_valkey import Valkey

THREADS = 32
TIMEOUT_S = 0.5
SLACK = 10


@pytest.fixture
def line(own_valkey: Valkey) -> Iterator[Line]:
    made = Line(make_client(own_valkey.url(), timeout_s=TIMEOUT_S, connections=1))
    yield made
    made.close()


@pytest.fixture
def server(own_valkey: Valkey) -> Iterator[Any]:
    """A client of its own, to disturb the line with."""
    client = redis.Redis.from_url(own_valkey.url())
    yield client
    client.close()


def side_by_side(work: Callable[[int], Any], times: int = THREADS) -> list[Any]:
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(work, range(times)))


def echo(line: Line, number: int) -> bool:
    return bool(line.ask("ECHO", f"word {number}") == f"word {number}".encode())


def test_everybody_gets_his_own_answer(line: Line) -> None:
    assert all(side_by_side(lambda n: echo(line, n), times=5_000))


def test_what_is_asked_at_once_shares_a_connection(line: Line, server: Any) -> None:
    side_by_side(lambda n: echo(line, n), times=500)
    assert len(server.client_list()) == 2  # with the one that asks


def test_an_error_is_the_answer_to_its_own_command_alone(line: Line) -> None:
    def ask(number: int) -> bool:
        if number % 2:
            return echo(line, number)
        with pytest.raises(ResponseError, match="unknown command"):
            line.ask("NO-SUCH-COMMAND")
        return True

    assert all(side_by_side(ask, times=500))


def test_a_connection_that_breaks_is_made_anew_and_nobody_sees_it(line: Line, server: Any) -> None:
    over = threading.Event()

    def tear() -> int:
        torn = 0
        while not over.is_set():
            torn += server.client_kill_filter(_type="normal", skipme=True)
            time.sleep(0.05)
        return torn

    with ThreadPoolExecutor(1) as pool:
        tearing = pool.submit(tear)
        try:
            assert all(side_by_side(lambda n: echo(line, n), times=5_000))
        finally:
            over.set()
        assert tearing.result() > 1


def test_who_waits_for_a_server_that_hangs_is_told_and_later_answers_are_nobody_elses(
    line: Line, own_valkey: Valkey
) -> None:
    assert echo(line, 0)
    process = psutil.Process(int(redis.Redis.from_url(own_valkey.url()).info("server")["process_id"]))
    process.suspend()
    began = time.monotonic()

    def ask(number: int) -> type[Exception] | None:
        try:
            echo(line, number)
        except (RedisTimeoutError, RedisConnectionError) as problem:
            return type(problem)
        return None

    try:
        found = side_by_side(ask)
    finally:
        process.resume()
    assert None not in found
    assert time.monotonic() - began < TIMEOUT_S * SLACK
    assert all(side_by_side(lambda n: echo(line, n), times=500))


def test_a_server_that_is_gone_is_an_error_until_it_is_back(line: Line, own_valkey: Valkey) -> None:
    assert echo(line, 0)
    own_valkey.stop()

    def ask(number: int) -> bool:
        with pytest.raises(RedisConnectionError):
            echo(line, number)
        return True

    assert all(side_by_side(ask))
    own_valkey.start()
    assert all(side_by_side(lambda n: echo(line, n), times=500))


def test_another_server_than_the_expected_is_asked_nothing(own_valkey: Valkey, server: Any) -> None:
    expected: list[ServerIdentity] = []

    def verify(identity: ServerIdentity) -> bool:
        return identity in expected

    line = Line(make_client(own_valkey.url(), timeout_s=TIMEOUT_S, connections=1, verify=verify))
    with pytest.raises(ServerChanged):
        line.ask("SET", "key", "value")
    assert not server.exists("key")
    line.close()


def test_whoever_is_interrupted_leaves_no_answer_to_the_next(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    assert echo(line, 0)
    read, reads = line._connection.read_response, []

    def interrupted(**options: Any) -> Any:
        reads.append(None)
        if len(reads) == 20:
            raise KeyboardInterrupt
        return read(**options)

    monkeypatch.setattr(line._connection, "read_response", interrupted)

    def ask(number: int) -> bool | None:
        try:
            return echo(line, number)
        except (KeyboardInterrupt, RedisConnectionError):
            return None

    found = side_by_side(ask, times=500)
    assert False not in found
    assert 1 <= found.count(None) <= THREADS


def test_those_who_have_their_answer_do_not_wait_for_another_connection(
    line: Line, own_valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert echo(line, 0)
    send, held = line._send, threading.Event()

    def send_later(trip: Any) -> None:
        if len(reads) >= 4:  # over another connection
            assert held.wait(20)
        send(trip)

    reads: list[None] = []
    receive = line._connection.read_response

    def torn(**options: Any) -> Any:
        reads.append(None)
        if len(reads) == 4:  # of the second trip the first is the reader's, the second is told
            raise RedisConnectionError("torn")
        return receive(**options)

    monkeypatch.setattr(line, "_send", send_later)
    monkeypatch.setattr(line._connection, "read_response", torn)
    process = psutil.Process(int(redis.Redis.from_url(own_valkey.url()).info("server")["process_id"]))
    process.suspend()
    with ThreadPoolExecutor(6) as pool:
        asked = [pool.submit(echo, line, number) for number in range(6)]
        deadline = time.monotonic() + 20
        while len(line._waiting) < 5 and time.monotonic() < deadline:
            time.sleep(0.001)
        process.resume()
        while sum(one.done() for one in asked) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        early = sum(one.done() for one in asked)
        held.set()
        assert all(one.result() for one in asked)
    assert early == 2
