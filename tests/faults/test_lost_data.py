"""The Redis-compatible server loses data under sale: it sells on by itself, and what was lost is declared."""

from __future__ import annotations

import os
import random
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from runtime.embedded_postgres import Postgres
from runtime.embedded_valkey import Valkey
from runtime.resp import ask
from tests.service import Service, Terminal

TERMINALS = 4
LOADED = 1_000_000

pytestmark = [pytest.mark.faults, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def service(servers_dir: Path) -> Iterator[Service]:
    running = Service(servers_dir / "lost")
    yield running
    running.stop()


def flush(service: Service) -> None:
    assert ask(Valkey(service.var / "valkey").url(), "FLUSHALL") == "+OK"


def delete_files(service: Service) -> None:
    (valkey,) = service.processes("valkey-server")
    valkey.suspend()  # so that nothing is written between the deletion and the kill
    shutil.rmtree(service.var / "valkey" / "data" / "appendonlydir")
    valkey.kill()


def cut_the_tail(service: Service) -> None:
    """The supervisor starts the server again at once, so it is held back while the file is cut."""
    (valkey,) = service.processes("valkey-server")
    valkey.suspend()
    newest = sorted((service.var / "valkey" / "data" / "appendonlydir").glob("*.incr.aof"))[-1]
    os.truncate(newest, max(0, newest.stat().st_size - 4_000))
    valkey.kill()


@pytest.mark.parametrize(
    ("lose", "at"),
    [(flush, "14:00"), (delete_files, "17:00"), (cut_the_tail, "21:00")],
    ids=lambda v: getattr(v, "__name__", v),
)
def test_it_sells_on_and_what_was_lost_is_a_declared_gap(
    service: Service, lose: Callable[[Service], None], at: str
) -> None:
    admin = service.login("superadmin")
    draw = service.draw(admin, at)
    terminals = [Terminal(service, *service.person(admin, "agent", LOADED)) for _ in range(TERMINALS)]
    stop = threading.Event()
    threads = [threading.Thread(target=_sell_until, args=(t, draw, stop, seed)) for seed, t in enumerate(terminals)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(2):
            _wait_for_sales(terminals, 60)
            lose(service)
        _wait_for_sales(terminals, 60)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    serials = [r["serial"] for t in terminals for r in t.receipts.values()]
    assert len(set(serials)) == len(serials), "a serial was issued twice"
    assert {code for t in terminals for code in t.refusals} <= {"sold_out"}
    _compare(service, draw, terminals, set(serials))


def _sell_until(terminal: Terminal, draw: str, stop: threading.Event, seed: int) -> None:
    chance = random.Random(seed)
    while not stop.is_set():
        terminal.sell(draw, f"{chance.randrange(1000):03}")


def _wait_for_sales(terminals: list[Terminal], more: int) -> None:
    wanted = sum(len(t.receipts) for t in terminals) + more
    deadline = time.monotonic() + 90
    while sum(len(t.receipts) for t in terminals) < wanted:
        assert time.monotonic() < deadline, "nothing is sold any more"
        time.sleep(0.05)


def _compare(service: Service, draw: str, terminals: list[Terminal], serials: set[int]) -> None:
    url = Postgres(service.var / "postgres").url().replace("+psycopg", "", 1)
    with psycopg.connect(url, autocommit=True) as sql:
        (draw_id,) = sql.execute("SELECT id FROM draws WHERE name = %s", [draw]).fetchone() or (0,)
        deadline = time.monotonic() + 60
        while True:  # until the workers have stored all that is left
            tickets = dict(sql.execute("SELECT serial, agent_id FROM tickets WHERE draw_id = %s", [draw_id]).fetchall())
            gaps = sql.execute("SELECT first_serial, last_serial FROM gaps WHERE draw_id = %s", [draw_id]).fetchall()
            missing = {s for s in serials - tickets.keys() if not any(a <= s <= b for a, b in gaps)}
            if not missing and max(serials) in tickets:
                break
            assert time.monotonic() < deadline, f"neither stored nor declared: {sorted(missing)[:10]}"
            time.sleep(0.2)
        assert not any(a <= serial <= b for a, b in gaps for serial in tickets), "a serial of a gap was issued"
        for terminal in terminals:
            stored = sum(agent == terminal.agent_id for agent in tickets.values())
            row = sql.execute("SELECT balance FROM wallets WHERE user_id = %s", [terminal.agent_id]).fetchone()
            assert row == (LOADED - 100 * stored,)
    status, shown = service.call("GET", "/v1/me", token=terminals[0].token)
    assert status == 200
    assert shown["wallet"]["available"] == shown["wallet"]["balance"]
