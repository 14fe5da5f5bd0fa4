"""The application behind its real server: a process of its own, over a socket."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from api.bodies import BATCH_BYTES_MAX, BODY_BYTES_MAX
from runtime.process import allow_files, free_port, spawn_options
from runtime.settings import WIDE_LIMITS, Settings
from tests.api.conftest import PASSWORD, set_up

START_WAIT_S = 30
TERMINALS = 1_300
FILES = TERMINALS + 200


class Server:
    """A connection at a time to one server."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.token: str | None = None

    def __call__(
        self,
        call: str,
        body: Any = None,
        *,
        raw: Any = None,
        chunked: bool = False,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, dict[str, str], bytes]:
        method, path = call.split(" ", 1)
        sent = {"Content-Type": "application/json", **(headers or {})}
        if self.token:
            sent["Authorization"] = f"Bearer {self.token}"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            payload = raw if raw is not None else None if body is None else json.dumps(body).encode()
            connection.request(method, path, payload, sent, encode_chunked=chunked)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()


@contextmanager
def started(
    settings: Settings, redis_url: str, folder: Path, **variables: str
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """(the server, which may still be loading, and its port); two processes behind it."""
    set_up(settings)
    port = free_port()
    environ = os.environ | {
        "DATABASE_URL": settings.database_url,
        "REDIS_URL": redis_url,
        "VAR": str(folder),
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "PORT": str(port),
        "API_WORKERS": "2",
        "API_THREADS": "8",
        **WIDE_LIMITS,
        **variables,
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "api.granian_server"],
        env=environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        **spawn_options(signal.SIGTERM),
    )
    try:
        yield process, port
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture
def server(request: pytest.FixtureRequest, settings: Settings, redis_url: str, tmp_path: Path) -> Iterator[Server]:
    """The variables that are a test's own come as the fixture's parameter."""
    with started(settings, redis_url, tmp_path, **getattr(request, "param", {})) as (process, port):
        yield _ready(Server(port), process)


def _ready(server: Server, process: subprocess.Popen[bytes]) -> Server:
    deadline = time.monotonic() + START_WAIT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if server("GET /health/ready")[0] == 200:
                return server
        except (OSError, http.client.HTTPException):
            pass
        time.sleep(0.1)
    raise AssertionError("the server did not become ready")


@pytest.mark.slow
def test_requests_over_a_socket_are_answered_as_in_the_contract(server: Server) -> None:
    status, headers, raw = server("POST /v1/auth/login", {"username": "superadmin", "password": PASSWORD})
    assert status == 200
    assert headers["x-request-id"]
    assert headers["date"]

    # Bodies that nobody reads, bodies beyond their size, announced or chunked.
    large = b" " * (BATCH_BYTES_MAX + 1)
    assert server("POST /v1/tickets", raw=large)[0] == 401
    assert server("POST /v1/auth/login", raw=b" " * (BODY_BYTES_MAX + 1))[0] == 413
    pieces = [b" " * 1024] * (BODY_BYTES_MAX // 1024)
    assert server("POST /v1/auth/login", raw=iter(pieces), chunked=True)[0] == 422
    assert server("POST /v1/auth/login", raw=iter([*pieces, b" "]), chunked=True)[0] == 413

    server.token = json.loads(raw)["access_token"]
    status, headers, _ = server("GET /v1/draws")
    assert status == 200
    status, headers, body = server("GET /v1/draws", headers={"If-None-Match": headers["etag"]})
    assert (status, body) == (304, b"")
    assert headers["date"]
    assert server("GET /v1/docs/")[0] == 200
    assert server("POST /v1/tickets", {})[0] == 403


@pytest.mark.slow
def test_more_terminals_keep_a_connection_than_there_are_threads_and_all_are_answered(server: Server) -> None:
    """Connections are kept between two sales: a terminal that could not connect for want of room would wait without
    end, however little the others send."""
    files = allow_files(FILES)
    if files < FILES:
        assert not os.environ.get("CI"), files
        pytest.skip(f"this machine allows {files} open files, and the terminals alone take {FILES}")
    terminals = []
    try:
        for _ in range(TERMINALS):
            terminals.append(http.client.HTTPConnection("127.0.0.1", server.port, timeout=20))
            terminals[-1].connect()
        for _ in range(2):
            for terminal in terminals:
                terminal.request("GET", "/health/live")
            assert {_status(terminal) for terminal in terminals} == {200}
    finally:
        for terminal in terminals:
            terminal.close()


def _status(terminal: http.client.HTTPConnection) -> int:
    answer = terminal.getresponse()
    answer.read()
    return answer.status


@pytest.mark.slow
def test_a_refusal_reads_the_body_so_that_its_answer_arrives_and_the_connection_lives(server: Server) -> None:
    body = b" " * (2 * BATCH_BYTES_MAX)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    try:
        for call, status in (("POST /v1/tickets", 401), ("PUT /v1/tickets", 405), ("POST /v1/nothing", 404)):
            connection.request(*call.split(), body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            assert (answer.status, json.loads(answer.read())["status"]) == (status, status)
            connected = connection.sock
            connection.request("GET", "/health/live")
            assert connection.getresponse().read()
            assert connection.sock is connected
    finally:
        connection.close()


@pytest.mark.slow
def test_loads_at_once_over_two_processes_have_one_effect(server: Server) -> None:
    login = json.loads(server("POST /v1/auth/login", {"username": "superadmin", "password": PASSWORD})[2])
    server.token = login["access_token"]
    agent = {"username": "agent", "password": PASSWORD, "role": "agent"}
    user = json.loads(server("POST /v1/users", agent)[2])
    call, body = f"POST /v1/users/{user['id']}/credit", {"amount": 5_000, "kind": "load"}
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: server(call, body, headers={"Idempotency-Key": "rush"}), range(16)))
    assert {status for status, _, _ in answers} == {201}
    assert len({raw for _, _, raw in answers}) == 1
    shown = json.loads(server(f"GET /v1/users/{user['id']}")[2])
    assert shown["wallet"]["balance"] == 5_000


@pytest.mark.slow
@pytest.mark.parametrize(
    "server", [{"USER_REQUESTS_PER_S": "5", "TRUSTED_PROXIES": "127.0.0.0/8"}], indirect=True, ids=["narrow"]
)
def test_processes_count_together_and_believe_their_proxy(server: Server) -> None:
    login = {"username": "superadmin", "password": PASSWORD}
    came = {"X-Forwarded-For": "1.2.3.4, 203.0.113.7", "X-Forwarded-Proto": "https"}
    status, headers, raw = server("POST /v1/auth/login", login, headers=came)
    assert status == 200
    assert headers["server"] == "drawbreak"
    assert headers["strict-transport-security"].startswith("max-age=")
    server.token = json.loads(raw)["access_token"]
    began = time.monotonic()
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: server("GET /v1/me", headers=came), range(48)))
    refused = [headers for status, headers, _ in answers if status == 429]
    # However slow the machine: five in each second, not five in each process.
    assert len(answers) - len(refused) <= 5 * (int(time.monotonic() - began) + 1)
    assert all(int(headers["retry-after"]) >= 1 for headers in refused)
    time.sleep(1.1)
    rows = json.loads(server("GET /v1/audit?actor=superadmin", headers=came)[2])["items"]
    assert {row["address"] for row in rows if row["action"] == "login"} == {"203.0.113.7"}


@pytest.mark.slow
def test_a_process_that_is_loading_while_its_server_is_killed_ends_with_it(
    settings: Settings, redis_url: str, tmp_path: Path
) -> None:
    with started(settings, redis_url, tmp_path) as (process, _):
        server, deadline = psutil.Process(process.pid), time.monotonic() + START_WAIT_S
        while not (loading := server.children()) and time.monotonic() < deadline:
            time.sleep(0.001)
        process.kill()
        _, running = psutil.wait_procs(loading, timeout=20)
        for left in running:
            left.kill()
    assert loading
    assert not running
