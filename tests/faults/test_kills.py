"""Processes killed under sale: no receipt without its ticket, no ticket twice, no void lost, wallets exact."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from runtime.embedded_postgres import Postgres
from tests.service import PASSWORD, Service, Terminal

KILLS = 12
TERMINALS = 6
LOADED = 10_000_000

pytestmark = [pytest.mark.faults, pytest.mark.long, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def service(servers_dir: Path) -> Iterator[Service]:
    running = Service(servers_dir / "kills")
    yield running
    running.stop()


def kill_persisting_worker(service: Service) -> None:
    """The pool process that stores batches, not the main process that would only start another."""
    main, *pool = service.processes("celery", "persist@")
    if not pool:
        raise psutil.NoSuchProcess(main.pid)  # it is starting another
    for process in pool:
        process.kill()


def kill_postgres(service: Service) -> None:
    service.processes("postgres", "-D")[0].kill()


def kill_redis(service: Service) -> None:
    service.processes("valkey-server")[0].kill()


@pytest.mark.parametrize(
    ("kill", "at"),
    [(kill_persisting_worker, "14:00"), (kill_postgres, "17:00"), (kill_redis, "21:00")],
    ids=["persisting worker", "postgres", "redis"],
)
def test_nothing_is_lost_when_it_is_killed_a_dozen_times_under_sale(
    service: Service, kill: Callable[[Service], None], at: str
) -> None:
    admin = service.login("superadmin", PASSWORD)
    draw = service.draw(admin, at)
    terminals = [Terminal(service, *service.person(admin, "agent", LOADED)) for _ in range(TERMINALS)]
    stop = threading.Event()
    threads = [threading.Thread(target=_sell_until, args=(t, draw, stop, seed)) for seed, t in enumerate(terminals)]
    for thread in threads:
        thread.start()
    chance = random.Random(at)
    try:
        kills = 0
        while kills < KILLS:
            time.sleep(chance.uniform(0.5, 2.0))
            try:
                kill(service)
            except (IndexError, ValueError, psutil.NoSuchProcess):
                continue  # it is not back yet from the last time, and that does not count
            kills += 1
            before = _sold(terminals)
            deadline = time.monotonic() + 60
            while _sold(terminals) <= before + 5:  # sales go on, or come back
                assert time.monotonic() < deadline, "nothing is sold any more"
                time.sleep(0.1)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    _compare(service, draw, terminals)


def _sell_until(terminal: Terminal, draw: str, stop: threading.Event, seed: int) -> None:
    chance = random.Random(seed)
    while not stop.is_set():
        terminal.sell(draw, f"{chance.randrange(1000):03}")
        if terminal.receipts and chance.random() < 0.1:
            terminal.void(next(reversed(terminal.receipts)))


def _sold(terminals: list[Terminal]) -> int:
    return sum(len(terminal.receipts) for terminal in terminals)


def _connect(service: Service) -> psycopg.Connection:
    """A connection to the installation's database; one that was just killed may take a while to come back."""
    url = Postgres(service.var / "postgres").url().replace("+psycopg", "", 1)
    deadline = time.monotonic() + 60
    while True:
        try:
            return psycopg.connect(url, autocommit=True)
        except psycopg.OperationalError:
            assert time.monotonic() < deadline, "the database did not come back"
            time.sleep(0.2)


def _compare(service: Service, draw: str, terminals: list[Terminal]) -> None:
    receipts = {r["serial"]: r for t in terminals for r in t.receipts.values()}
    voided = {t.receipts[i]["serial"] for t in terminals for i in t.voided}
    assert len(receipts) == _sold(terminals), "a serial was issued twice"
    service.wait_ready()
    with _connect(service) as sql:
        (draw_id,) = sql.execute("SELECT id FROM draws WHERE name = %s", [draw]).fetchone() or (0,)
        deadline = time.monotonic() + 60
        while True:  # until everything has arrived
            tickets = dict(sql.execute("SELECT serial, id::text FROM tickets WHERE draw_id = %s", [draw_id]).fetchall())
            voids = sql.execute("SELECT ticket_serial FROM voids WHERE draw_id = %s", [draw_id]).fetchall()
            if receipts.keys() <= tickets.keys() and len(voids) >= len(voided):
                break
            assert time.monotonic() < deadline, f"missing: {sorted(receipts.keys() - tickets.keys())[:10]}"
            time.sleep(0.2)
        assert {serial: r["id"] for serial, r in receipts.items()} == tickets
        assert sorted(tickets) == list(range(1, len(tickets) + 1))
        assert sorted(serial for (serial,) in voids) == sorted(voided)
        for terminal in terminals:
            spent = sum(r["stake"] for i, r in terminal.receipts.items() if i not in terminal.voided)
            row = sql.execute("SELECT balance FROM wallets WHERE user_id = %s", [terminal.agent_id]).fetchone()
            assert row == (LOADED - spent,)
            assert set(terminal.refusals) <= {"sold_out"}
        assert sql.execute("SELECT sum(amount) FROM postings").fetchone() == (0,)
        # A step that was killed time and again is a letter until it succeeds next; no ticket ever is one.
        assert sql.execute("SELECT count(*) FROM dead_letters WHERE kind <> 'task'").fetchone() == (0,)
