"""With a replica: nothing is answered that the replica lacks."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from rules.errors import IntakeUnavailable
from runtime.embedded_valkey import Valkey
from runtime.process import free_port
from runtime.settings import Settings
from tasks.persist import persist
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
