"""Workers whose server was torn from them go on by themselves; workers that are alive and deaf restart themselves."""

from __future__ import annotations

import http.client
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
import redis
from prometheus_client.parser import text_string_to_metric_families

from intake.doorbell import producer
from runtime.embedded_postgres import Postgres
from runtime.embedded_valkey import Valkey
from runtime.settings import broker_url_of
from tests.service import Service, Terminal

WATCHDOG_S = 8
# Ten times what it may take by its own figures: noticed after WATCHDOG_S and two looks, ended in 9 s, started in 10.
DRAINED_S = 300
WORKERS = ("persist", "default")
TERMINALS = 3
LOADED = 10_000_000

pytestmark = [pytest.mark.faults, pytest.mark.long, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def service(servers_dir: Path) -> Iterator[Service]:
    running = Service(servers_dir / "deaf", WATCHDOG_S=str(WATCHDOG_S))
    yield running
    running.stop()


@pytest.fixture
def client(service: Service) -> Iterator[Any]:
    connected = redis.Redis.from_url(Valkey(service.var / "valkey").url())
    yield connected
    connected.close()


def kill_all_clients(service: Service, client: Any) -> None:
    for _ in range(5):
        client.client_kill_filter(_type="normal", skipme=True)
        client.client_kill_filter(_type="pubsub", skipme=True)
        time.sleep(1)


def kill_the_brokers_clients_one_by_one(service: Service, client: Any) -> None:
    """Workers, beat, and whoever rings for them."""
    for found in client.client_list():
        if found["db"] == "1":
            client.client_kill_filter(_id=found["id"])
            time.sleep(0.2)


def stop_the_server(service: Service, client: Any) -> None:
    (server,) = service.processes("valkey-server")
    server.suspend()
    time.sleep(WATCHDOG_S + 4)
    server.resume()


def pause_the_clients(service: Service, client: Any) -> None:
    client.execute_command("CLIENT", "PAUSE", (WATCHDOG_S + 4) * 1_000, "ALL")
    time.sleep(WATCHDOG_S + 4)


def kill_the_server(service: Service, client: Any) -> None:
    for _ in range(3):
        service.processes("valkey-server")[0].kill()
        time.sleep(3)
        service.wait_ready()


@pytest.mark.parametrize(
    ("tear", "at"),
    [
        (kill_all_clients, "08:00"),
        (kill_the_brokers_clients_one_by_one, "09:00"),
        (stop_the_server, "10:00"),
        (pause_the_clients, "11:00"),
        (kill_the_server, "12:00"),
    ],
    ids=lambda v: getattr(v, "__name__", v),
)
def test_everything_sold_arrives_whatever_became_of_the_connections(
    service: Service, client: Any, tear: Callable[[Service, Any], None], at: str
) -> None:
    before = restarts(service)
    with sale(service, at) as (draw, terminals):
        tear(service, client)
        sold = receipts(terminals)
        wait_until(lambda: receipts(terminals) > sold + 5, "nothing is sold any more")
    wait_until_stored(service, draw, terminals)
    assert restarts(service) == before, "no worker was deaf"


def deafen_by_stopping_pools(service: Service) -> list[psutil.Process]:
    """Every process that stores anything hangs; the main processes are as alive as ever."""
    stopped = []
    for worker in WORKERS:
        _, *pool = service.processes("celery", f"{worker}@")
        for process in pool:
            process.suspend()
            stopped.append(process)
    return stopped


def deafen_by_cancelling_consumers(service: Service) -> list[psutil.Process]:
    """Connected, beating, answering, and taking nothing up: what was seen after a reset of the server."""
    control = publisher_of(service).control
    for worker in WORKERS:
        answers = control.cancel_consumer(worker, reply=True, timeout=5)
        assert [list(answer) for answer in answers if f"no longer consuming from {worker}" in str(answer)], answers
    return []


@pytest.mark.parametrize(
    ("deafen", "at"),
    [(deafen_by_cancelling_consumers, "14:00"), (deafen_by_stopping_pools, "17:00")],
    ids=["consumers", "pools"],
)
def test_deaf_workers_restart_themselves_and_everything_arrives(
    service: Service, deafen: Callable[[Service], list[psutil.Process]], at: str
) -> None:
    before = restarts(service)
    with sale(service, at) as (draw, terminals):
        wait_until(lambda: receipts(terminals) > 10, "nothing is sold")
        mains = [service.processes("celery", f"{worker}@")[0] for worker in WORKERS]
        hanging = deafen(service)
        wait_until(lambda: not any(main.is_running() for main in mains), "no worker restarted itself")
        wait_until(lambda: not any(process.is_running() for process in hanging), "stopped processes outlived them")
    wait_until_stored(service, draw, terminals)
    after = restarts(service)
    assert {name.partition("@")[0]: count - before.get(name, 0) for name, count in after.items()} == {
        "persist": 1,
        "default": 1,
    }
    for worker in WORKERS:
        log = (service.var / "log" / f"worker-{worker}.log").read_text()
        assert '"event": "worker_deaf"' in log


def test_a_worker_whose_queue_waits_restarts_itself_though_it_stores_nothing(service: Service) -> None:
    """The one that seals and settles drains no journal, and nobody would notice before the draw."""
    wait_for_workers(service)
    before, (main, *_) = restarts(service), service.processes("celery", "settle@")
    publisher = publisher_of(service)
    answers = publisher.control.cancel_consumer("settle", reply=True, timeout=5)
    assert [answer for answer in answers if "no longer consuming from settle" in str(answer)], answers
    with publisher.connection_for_write() as connection:
        publisher.send_task("draws.seal", args=["3D-20260302-0000"], queue="settle", connection=connection)
    wait_until(lambda: not main.is_running(), "it did not restart itself")
    with redis.Redis.from_url(Valkey(service.var / "valkey").url(), db=1) as broker:
        wait_until(lambda: service.processes("celery", "settle@"), "nobody started it again")
        wait_until(lambda: not broker.exists("settle"), "the new one takes nothing up")
    changed = {name.partition("@")[0]: count - before.get(name, 0) for name, count in restarts(service).items()}
    assert {name: count for name, count in changed.items() if count} == {"settle": 1}


def test_workers_that_end_while_the_broker_is_frozen_do_end_and_come_back(service: Service) -> None:
    wait_for_workers(service)
    before = restarts(service)
    with sale(service, "19:00") as (draw, terminals):
        wait_until(lambda: receipts(terminals) > 10, "nothing is sold")
        mains = [service.processes("celery", f"{worker}@")[0] for worker in (*WORKERS, "settle")]
        (server,) = service.processes("valkey-server")
        server.suspend()
        try:
            for main in mains:
                main.terminate()
            wait_until(lambda: not any(main.is_running() for main in mains), "a worker hangs in its end")
        finally:
            server.resume()
        service.wait_ready()
        sold = receipts(terminals)
        wait_until(lambda: receipts(terminals) > sold + 5, "nothing is sold any more")
    wait_until_stored(service, draw, terminals)
    assert restarts(service) == before, "they were told to end"


def test_a_position_that_somebody_holds_for_long_restarts_nobody(service: Service) -> None:
    """A rebuild of many draws, or a seal of a big one, takes as long as it takes."""
    before = restarts(service)
    mains = [service.processes("celery", f"{worker}@")[0] for worker in WORKERS]
    of_draw = "draw_id = (SELECT id FROM draws WHERE name = %s)"
    with sale(service, "20:00") as (draw, terminals), connect(service) as sql:
        deadline = time.monotonic() + 3 * WATCHDOG_S
        while time.monotonic() < deadline:
            sql.execute(f"SELECT 1 FROM positions WHERE {of_draw} FOR UPDATE", [draw])
            time.sleep(1)
        assert stored(service, draw) < receipts(terminals) - 10
    wait_until_stored(service, draw, terminals)
    assert restarts(service) == before
    assert all(main.is_running() for main in mains)


# ── helpers ─────────────────────────────────────────────────────────────────────────────────────────────────


def publisher_of(service: Service) -> Any:
    return producer(broker_url_of(Valkey(service.var / "valkey").url()))


def wait_for_workers(service: Service) -> None:
    """Until all three are connected and answer."""
    control = publisher_of(service).control
    wait_until(lambda: len(control.ping(timeout=2)) == len(WORKERS) + 1, "a worker does not answer")


@contextmanager
def sale(service: Service, at: str) -> Iterator[tuple[str, list[Terminal]]]:
    """A new draw that some terminals sell without a pause, until the end of the block."""
    admin = service.login("superadmin")
    draw = service.draw(admin, at)
    terminals = [Terminal(service, *service.person(admin, "agent", LOADED)) for _ in range(TERMINALS)]
    over = threading.Event()

    def sell(terminal: Terminal, seed: int) -> None:
        chance = random.Random(seed)
        while not over.is_set():
            terminal.sell(draw, f"{chance.randrange(1000):03}")

    threads = [threading.Thread(target=sell, args=(terminal, seed)) for seed, terminal in enumerate(terminals)]
    for thread in threads:
        thread.start()
    try:
        yield draw, terminals
    finally:
        over.set()
        for thread in threads:
            thread.join()


def receipts(terminals: list[Terminal]) -> int:
    return sum(len(terminal.receipts) for terminal in terminals)


def connect(service: Service) -> psycopg.Connection:
    return psycopg.connect(Postgres(service.var / "postgres").url().replace("+psycopg", "", 1))


def stored(service: Service, draw: str) -> int:
    query = "SELECT count(*) FROM tickets WHERE draw_id = (SELECT id FROM draws WHERE name = %s)"
    with connect(service) as sql:
        (count,) = sql.execute(query, [draw]).fetchone() or (0,)
    return int(count)


def wait_until_stored(service: Service, draw: str, terminals: list[Terminal]) -> None:
    """Exactly what was sold: the terminals have their answers, and ask no more."""
    assert receipts(terminals)
    wait_until(lambda: stored(service, draw) >= receipts(terminals), "not everything has arrived")
    assert stored(service, draw) == receipts(terminals)


def wait_until(done: Callable[[], bool], else_: str) -> None:
    deadline = time.monotonic() + DRAINED_S
    while not done():
        assert time.monotonic() < deadline, else_
        time.sleep(0.2)


def restarts(service: Service) -> dict[str, float]:
    """How often each worker restarted itself, as GET /metrics tells."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=10)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {s.labels["worker"]: s.value for s in samples if s.name == "drawbreak_worker_restarts_total"}
