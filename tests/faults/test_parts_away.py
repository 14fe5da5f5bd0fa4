"""What a terminal meets while a part is away."""

from __future__ import annotations

import http.client
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.service import Service, Terminal

# The deadlines are the contract's (100 ms refused, 1 s hanging), at ten times their size on a busy machine.
REFUSED_S = 1.0
HANGING_S = 10.0
POLLERS = 40  # more than the threads of the one API process

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def service(servers_dir: Path) -> Iterator[Service]:
    running = Service(servers_dir / "away", API_WORKERS="1")
    yield running
    running.stop()


@pytest.fixture(scope="module")
def terminal(service: Service) -> Terminal:
    return Terminal(service, *service.person(service.login("superadmin"), "agent", 1_000_000))


def sell_once(service: Service, terminal: Terminal, draw: str, ticket_id: str) -> tuple[int, str, float]:
    """(status, problem code, seconds) of one attempt."""
    line = {"game": "3D", "play": "straight", "number": "046", "stake": 100}
    began = time.monotonic()
    status, body = service.call(
        "POST", "/v1/tickets", {"id": ticket_id, "draw_id": draw, "lines": [line]}, terminal.token
    )
    return status, body.get("code", ""), time.monotonic() - began


@contextmanager
def hanging_postgres(service: Service) -> Iterator[None]:
    (postmaster, *_) = service.processes("postgres", "-D")
    backends = postmaster.children()
    for process in (postmaster, *backends):
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in (postmaster, *backends):
            process.send_signal(signal.SIGCONT)
        service.wait_whole()


def test_without_postgres_sales_go_on_and_everything_arrives_when_it_is_back(
    service: Service, terminal: Terminal
) -> None:
    admin = service.login("superadmin")
    draw = service.draw(admin, "14:00")
    with hanging_postgres(service):
        for number in range(20):
            terminal.sell(draw, f"{number:03}")
    assert len(terminal.receipts) == 20
    deadline = time.monotonic() + 60
    while True:
        status, listed = service.call("GET", f"/v1/tickets?draw_id={draw}&limit=100", token=terminal.token)
        if status == 200 and len(listed["items"]) == 20:
            break
        assert time.monotonic() < deadline, listed
        time.sleep(0.2)
    assert {item["id"] for item in listed["items"]} == set(terminal.receipts)


def test_with_a_hanging_postgres_tickets_are_voided_cancelled_and_found_by_their_ids(
    service: Service, terminal: Terminal
) -> None:
    """Each within the time of one HTTP call of the tests, which is ten times what the contract gives a hanging part."""
    draw, before = service.draw(service.login("superadmin"), "16:00"), set(terminal.receipts)
    for number in ("046", "064", "640"):
        terminal.sell(draw, number)
    voided, cancelled, kept = (terminal.receipts[sold] for sold in terminal.receipts if sold not in before)
    of_draw = {"draw_id": draw}
    with hanging_postgres(service):
        answers = [
            service.call(method, f"/v1/tickets/{path}", body, terminal.token)
            for method, path, body in (
                ("POST", f"{voided['number']}/void", {"reason": "test"}),
                ("POST", f"by-id/{cancelled['id']}/cancel", of_draw),
                ("POST", f"by-id/{uuid.uuid4()}/cancel", of_draw),
                ("POST", "by-id/nothing/cancel", of_draw),
                ("GET", f"by-id/{kept['id']}?draw_id={draw}", None),
                ("GET", f"by-id/{voided['id']}?draw_id={draw}", None),
            )
        ]
    said = [(status, answer["status" if status == 200 else "code"]) for status, answer in answers]
    assert said[:3] == [(200, "voided"), (200, "voided"), (200, "never_sold")]
    assert said[3:] == [(422, "invalid"), (200, "accepted"), (200, "voided")]


def test_a_hanging_postgres_takes_no_threads_from_the_sales(service: Service, terminal: Terminal) -> None:
    draw = service.draw(service.login("superadmin"), "15:00")
    assert sell_once(service, terminal, draw, str(uuid.uuid4()))[0] == 201
    ended = threading.Event()

    def poll() -> None:
        while not ended.is_set():
            with suppress(OSError, http.client.HTTPException):
                service.call("GET", "/v1/draws", token=terminal.token)

    pollers = [threading.Thread(target=poll) for _ in range(POLLERS)]
    for poller in pollers:
        poller.start()
    time.sleep(2)  # by now the pool holds as many connections as it may, and none of them would be refused
    (postmaster, *_) = service.processes("postgres", "-D")
    stopped = [postmaster]
    try:
        postmaster.send_signal(signal.SIGSTOP)  # first, so that nothing is born behind our back
        stopped += postmaster.children()
        for process in stopped:
            process.send_signal(signal.SIGSTOP)
        time.sleep(1)
        answers = [sell_once(service, terminal, draw, str(uuid.uuid4())) for _ in range(10)]
    finally:
        ended.set()
        for process in stopped:
            process.send_signal(signal.SIGCONT)
        for poller in pollers:
            poller.join()
        service.wait_whole()
    assert {status for status, _, _ in answers} == {201}
    assert max(seconds for _, _, seconds in answers) < HANGING_S


def test_a_hanging_redis_is_answered_503_and_then_at_once_and_the_same_id_sells_later(
    service: Service, terminal: Terminal
) -> None:
    draw = service.draw(service.login("superadmin"), "17:00")
    ticket_id = str(uuid.uuid4())
    (valkey,) = service.processes("valkey-server")
    valkey.send_signal(signal.SIGSTOP)
    try:
        first = sell_once(service, terminal, draw, ticket_id)
        then = [sell_once(service, terminal, draw, ticket_id) for _ in range(3)]
    finally:
        valkey.send_signal(signal.SIGCONT)
    assert first[:2] == (503, "intake_unavailable")
    assert first[2] < HANGING_S
    assert {answer[:2] for answer in then} == {(503, "intake_unavailable")}
    assert min(answer[2] for answer in then) < REFUSED_S
    _sells_again(service, terminal, draw, ticket_id)
    service.wait_whole()


def test_a_refusing_redis_is_answered_503_and_the_same_id_sells_later(service: Service, terminal: Terminal) -> None:
    draw = service.draw(service.login("superadmin"), "21:00")
    ticket_id = str(uuid.uuid4())
    assert sell_once(service, terminal, draw, str(uuid.uuid4()))[0] == 201
    service.processes("valkey-server")[0].kill()
    status, code, seconds = sell_once(service, terminal, draw, ticket_id)
    assert (status, code) == (503, "intake_unavailable")
    assert seconds < REFUSED_S
    _sells_again(service, terminal, draw, ticket_id)


def _sells_again(service: Service, terminal: Terminal, draw: str, ticket_id: str) -> None:
    deadline = time.monotonic() + 60
    while (status := sell_once(service, terminal, draw, ticket_id)[0]) not in (200, 201):
        assert status == 503
        assert time.monotonic() < deadline, "it never sold again"
        time.sleep(0.2)
