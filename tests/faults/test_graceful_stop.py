"""SIGTERM ends everything within ten seconds, no client sees an error, and no task runs twice in effect."""

from __future__ import annotations

import http.client
import json
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from runtime.embedded_postgres import SUPERUSER, Postgres
from runtime.process import ENDS_IN_S
from tests.faults.test_parts_away import hanging_postgres
from tests.service import Service, Terminal

# The deadline of the contract, at ten times its size on a busy machine.
ENDED_S = 10 * ENDS_IN_S
WORKERS = ("apps:worker-persist", "apps:worker-default", "apps:worker-settle", "apps:worker-reports")
CLIENTS = 16

pytestmark = [pytest.mark.faults, pytest.mark.long, pytest.mark.timeout(600)]


@pytest.fixture
def service(servers_dir: Path) -> Iterator[Service]:
    running = Service(servers_dir / uuid.uuid4().hex[:8])
    yield running
    running.stop()


@pytest.fixture
def terminal(service: Service) -> Terminal:
    """Its first sales are behind it, so that every process has met the gate."""
    return Terminal(service, *service.person(service.login("superadmin"), "agent", 100_000_000))


def sql(service: Service) -> psycopg.Connection[Any]:
    url = Postgres(service.var / "postgres").url(SUPERUSER).replace("+psycopg", "", 1)
    return psycopg.connect(url, autocommit=True)


def stored_ids(service: Service) -> list[str]:
    with sql(service) as connection:
        return [str(row[0]) for row in connection.execute("SELECT id FROM tickets ORDER BY serial")]


def wait_for(done: Any, seconds: float = 120) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := done()):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return found


def ended_in(service: Service, *programs: str) -> float:
    began = time.monotonic()
    service.end(*programs)
    return time.monotonic() - began


class Client(threading.Thread):
    """Sells without a pause on one connection for as long as that is kept open, until a new one is refused."""

    def __init__(self, terminal: Terminal, draw: str, *, keeps: bool) -> None:
        super().__init__()
        self._terminal, self._draw, self._keeps = terminal, draw, keeps
        self.sold: set[str] = set()
        self.seen: Counter[str] = Counter()

    def run(self) -> None:
        connection, answered = None, 0
        while True:
            if connection is None:
                connection, answered = http.client.HTTPConnection("127.0.0.1", self._terminal.service.port), 0
                try:
                    connection.connect()
                except ConnectionRefusedError:
                    self.seen["refused"] += 1
                    return
            try:
                is_last = self._sell(connection)
                answered += 1
            except (OSError, http.client.HTTPException) as error:
                # A new connection that is closed with nothing read is a refused one; that nothing was sold by it,
                # the stored tickets say.
                is_refusal = not answered and not isinstance(error, http.client.IncompleteRead)
                self.seen["refused" if is_refusal else type(error).__name__] += 1
                is_last = True
            if is_last or not self._keeps:
                connection.close()
                connection = None

    def _sell(self, connection: http.client.HTTPConnection) -> bool:
        ticket_id = str(uuid.uuid4())
        line = {"game": "3D", "play": "straight", "number": f"{uuid.uuid4().int % 1000:03}", "stake": 100}
        body = json.dumps({"id": ticket_id, "draw_id": self._draw, "lines": [line]})
        headers = {"Authorization": f"Bearer {self._terminal.token}", "Content-Type": "application/json"}
        connection.request("POST", "/v1/tickets", body, headers)
        answer = connection.getresponse()
        receipt = json.loads(answer.read())
        self.seen[str(answer.status)] += 1
        if answer.status == 201:
            assert receipt["id"] == ticket_id
            self.sold.add(ticket_id)
        return answer.will_close


def test_the_api_ends_under_load_and_every_request_that_it_took_has_its_whole_answer(
    service: Service, terminal: Terminal
) -> None:
    draw = service.draw(service.login("superadmin"))
    for _ in range(50):
        terminal.sell(draw, "046")
    clients = [Client(terminal, draw, keeps=number % 4 > 0) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    time.sleep(2)
    assert ended_in(service, "apps:api") < ENDED_S
    for client in clients:
        client.join()
    seen = sum((client.seen for client in clients), Counter())
    assert seen.keys() == {"201", "refused"}, seen
    service.begin("apps:api")
    service.wait_ready()
    sold = set(terminal.receipts).union(*(client.sold for client in clients))
    wait_for(lambda: len(stored_ids(service)) >= len(sold))
    stored = stored_ids(service)
    assert len(stored) == len(set(stored))
    assert set(stored) == sold


def test_the_api_ends_in_time_while_the_database_hangs(service: Service, terminal: Terminal) -> None:
    with hanging_postgres(service):
        assert service.call("GET", "/v1/draws", token=terminal.token)[0] == 503
        assert ended_in(service, "apps:api") < ENDED_S
        service.begin("apps:api")


def test_workers_end_under_sale_and_what_they_left_is_stored_once(service: Service, terminal: Terminal) -> None:
    admin = service.login("superadmin")
    draw = service.draw(admin)
    ended = threading.Event()

    def sell() -> None:
        while not ended.is_set():
            terminal.sell(draw, f"{uuid.uuid4().int % 1000:03}")

    sellers = [threading.Thread(target=sell) for _ in range(4)]
    for seller in sellers:
        seller.start()
    try:
        for _ in range(2):
            for worker in WORKERS:
                time.sleep(1)
                assert ended_in(service, worker) < ENDED_S
                service.begin(worker)
    finally:
        ended.set()
        for seller in sellers:
            seller.join()
    assert terminal.refusals == []
    status, _ = service.call("POST", f"/v1/draws/{draw}/close", {}, admin)
    assert status == 202
    # The seal compares the journal with what is stored, ticket by ticket.
    wait_for(lambda: service.call("GET", f"/v1/draws/{draw}", token=admin)[1]["status"] == "sealed")
    stored = stored_ids(service)
    assert len(stored) == len(set(stored))
    assert set(stored) == set(terminal.receipts)


def test_a_long_step_is_given_back_and_has_one_effect(service: Service, terminal: Terminal) -> None:
    admin = service.login("superadmin")
    draw = service.draw(admin)
    terminal.sell(draw, "046")
    with sql(service) as connection, sql(service) as looking:
        with connection.transaction():
            connection.execute("LOCK TABLE seals IN SHARE MODE")  # sweeps may read it, and ring once more
            status, _ = service.call("POST", f"/v1/draws/{draw}/close", {}, admin)
            assert status == 202
            waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%seals%'"
            wait_for(lambda: looking.execute(waiting).fetchone())
            assert ended_in(service, "apps:worker-settle") < ENDED_S
            wait_for(lambda: not looking.execute(waiting).fetchone())
        # No failure of its own: it was stopped.
        assert looking.execute("SELECT count(*) FROM retries").fetchone() == (0,)
        service.begin("apps:worker-settle")
        wait_for(lambda: service.call("GET", f"/v1/draws/{draw}", token=admin)[1]["status"] == "sealed")
        assert looking.execute("SELECT count(*) FROM seals").fetchone() == (1,)
        assert looking.execute("SELECT count(*) FROM dead_letters").fetchone() == (0,)


def test_everything_ends_under_sale_and_comes_back_with_every_ticket(servers_dir: Path) -> None:
    var = servers_dir / uuid.uuid4().hex[:8]
    first = Service(var)
    terminal = Terminal(first, *first.person(first.login("superadmin"), "agent", 100_000_000))
    draw = first.draw(first.login("superadmin"))
    for _ in range(50):
        terminal.sell(draw, "046")
    clients = [Client(terminal, draw, keeps=True) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    time.sleep(2)
    began = time.monotonic()
    first.stop()
    assert time.monotonic() - began < ENDED_S
    for client in clients:
        client.join()
    seen = sum((client.seen for client in clients), Counter())
    assert seen.keys() == {"201", "refused"}, seen
    second = Service(var)
    try:
        sold = set(terminal.receipts).union(*(client.sold for client in clients))
        wait_for(lambda: len(stored_ids(second)) >= len(sold))
        assert set(stored_ids(second)) == sold
    finally:
        second.stop()
