"""With a replica: nothing is answered that the replica lacks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from actions import seals
from actions.witnessing import answer
from rules.errors import IntakeUnavailable
from rules.limits import Limits
from runtime.embedded_valkey import Valkey
from runtime.process import free_port
from runtime.settings import Settings
from tasks.persist import persist
from tasks.seal import seal
from tests.integration.after_sales import drain
from tests.integration.conftest import Lottery, make_resources, new_id


@pytest.fixture
def primary(servers_dir: Path) -> Iterator[tuple[Valkey, int]]:
    port = free_port()
    server = Valkey(
        servers_dir / f"primary-{new_id()[:6]}", conf={"port": str(port), "repl-diskless-sync-delay": "0"}
    ).start()
    yield server, port
    server.stop()


@pytest.fixture
def replica(servers_dir: Path, primary: tuple[Valkey, int]) -> Iterator[Valkey]:
    server = Valkey(servers_dir / f"replica-{new_id()[:6]}", conf={"replicaof": f"127.0.0.1 {primary[1]}"}).start()
    wait_for_link(server)
    yield server
    server.stop()


def wait_for_link(server: Valkey) -> None:
    """Until the replica has all that the primary has."""
    deadline = time.monotonic() + 60
    with redis.Redis.from_url(server.url()) as connection:
        while connection.info("replication").get("master_link_status") != "up":
            assert time.monotonic() < deadline, server.log.read_text()[-2000:]
            time.sleep(0.05)


@pytest.fixture
def replicated(settings: Settings, primary: tuple[Valkey, int], replica: Valkey) -> Iterator[Lottery]:
    res, rings = make_resources(
        replace(settings, redis_url=primary[0].url(), replicas=1, replica_wait_ms=3000, gate_timeout_ms=5000)
    )
    yield Lottery(res, rings)
    res.close()


def test_a_receipt_is_given_once_the_replica_has_the_ticket_and_not_before(
    replicated: Lottery, replica: Valkey
) -> None:
    agent, draw, ticket_id = replicated.person(pesos=100), replicated.draw(), new_id()
    first = replicated.sell(draw, agent, ticket_id=ticket_id)
    with redis.Redis.from_url(replica.url()) as copy:
        assert [place for place, _ in copy.xrange(f"draw:{draw}:journal")] == [b"0-1", b"1-0"]
    assert persist(replicated.res, draw) == 2

    replica.stop()
    later = new_id()
    for wanted in (later, ticket_id):  # a new ticket, and a mere repeat: the replica may lack either
        with pytest.raises(IntakeUnavailable):
            replicated.sell(draw, agent, ticket_id=wanted)
    with pytest.raises(IntakeUnavailable):
        persist(replicated.res, draw)

    replica.start()
    wait_for_link(replica)
    assert replicated.sell(draw, agent, ticket_id=later)["serial"] == 2
    assert replicated.sell(draw, agent, ticket_id=ticket_id) == first
    assert persist(replicated.res, draw) == 1


def test_what_tightens_is_answered_once_the_replica_has_it_and_a_repeat_no_sooner(
    replicated: Lottery, replica: Valkey
) -> None:
    agent, draw, gate, intent = replicated.person(pesos=100), replicated.draw(), replicated.res.gate, new_id()
    limits = Limits(by_number={"straight": {"046": 500}})
    assert gate.tighten(agent, intent, 3_000) == (True, 7_000)
    assert gate.set_limits(draw, intent, limits)
    assert gate.set_standing([(agent, True)], 1) == 1
    gate.end_sessions(["lost"], 60)
    with redis.Redis.from_url(replica.url()) as copy:
        assert copy.hmget(f"wallet:{agent}", "available", "status") == [b"7000", b"suspended"]
        assert copy.hgetall(f"draw:{draw}:limits") == {b"s046": b"500"}
        assert copy.get("ended:lost") == b"1"

    replica.stop()
    calls: list[Callable[[], object]] = [
        lambda: gate.tighten(agent, intent, 3_000),
        lambda: gate.set_limits(draw, intent, limits),
        lambda: gate.set_standing([(agent, False)], 2),
        lambda: gate.end_sessions(["lost"], 60),
    ]
    for call in calls:
        with pytest.raises(IntakeUnavailable):
            call()

    replica.start()
    wait_for_link(replica)
    assert gate.tighten(agent, intent, 3_000) == (True, 7_000)
    gate.standing(agent)  # it was applied, though not answered for
    assert gate.set_standing([(agent, False)], 2) == 1
    assert gate.set_limits(draw, intent, limits)
    gate.standing(agent)


def answer_a_round(lottery: Lottery) -> None:
    deadline = time.monotonic() + 60
    while not answer(lottery.res):
        assert time.monotonic() < deadline, "nobody asked"
        time.sleep(0.01)


def test_a_promoted_replica_sells_on_before_the_cutoff(
    replicated: Lottery, primary: tuple[Valkey, int], replica: Valkey, settings: Settings
) -> None:
    """The primary dies in the rush before a draw: whoever holds a receipt has it from the promoted replica, too."""
    agent, draw = replicated.person(pesos=100), replicated.draw()
    sold = {(ticket_id := new_id()): replicated.sell(draw, agent, ticket_id=ticket_id) for _ in range(2)}
    persist(replicated.res, draw)
    sold |= {(ticket_id := new_id()): replicated.sell(draw, agent, ticket_id=ticket_id) for _ in range(2)}
    primary[0].stop()
    rush = new_id()
    with pytest.raises(IntakeUnavailable):
        replicated.sell(draw, agent, ticket_id=rush)
    with redis.Redis.from_url(replica.url()) as promoted:
        promoted.replicaof("NO", "ONE")
    with ThreadPoolExecutor(1) as pool:  # the process that sold says what it answered for
        answered = pool.submit(answer_a_round, replicated)
        res, rings = make_resources(replace(settings, redis_url=replica.url()))
        answered.result()
    try:
        after = Lottery(res, rings)
        assert after.sell(draw, agent, ticket_id=rush)["serial"] == 5
        assert {ticket_id: after.sell(draw, agent, ticket_id=ticket_id) for ticket_id in sold} == sold
        drain(after, draw)
        assert seal(res, draw)
        body = seals.published(res, draw, full=True)
        assert (body["count"], body["gaps"]) == (5, [])
    finally:
        res.close()
