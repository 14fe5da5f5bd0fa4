"""The whole system as `drawbreak run` starts it, and a terminal that follows the contract's rules."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from xmlrpc.client import ServerProxy

import psutil
import psycopg
from supervisor.xmlrpc import SupervisorTransport

from cli.supervision import control_socket
from runtime.embedded_postgres import Postgres
from runtime.process import free_port, spawn_options
from runtime.settings import WIDE_LIMITS

PASSWORD = "a-long-test-password"
START_S = 90


class Service:
    """One running installation under its own VAR."""

    def __init__(self, var: Path, **environ: str) -> None:
        self.var = var
        self.port = free_port()
        given = {"VAR": str(var), "PORT": str(self.port), "SUPERADMIN_PASSWORD": PASSWORD}
        given |= {"FLOWER": "0", "LIVE": "0", "SCHEDULE_DAYS": "0"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "cli.main", "run"],
            env={**os.environ, **given, **WIDE_LIMITS, **environ},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            **spawn_options(signal.SIGTERM),
        )
        self.wait_ready()

    def wait_ready(self) -> None:
        """Until every dependency answers. Raises TimeoutError."""
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            assert self._process.poll() is None, "drawbreak run ended by itself"
            try:
                if self.call("GET", "/health/ready")[0] == 200:
                    return
            except (OSError, http.client.HTTPException):
                pass
            time.sleep(0.2)
        raise TimeoutError("the service did not become ready")

    def wait_whole(self) -> None:
        """Until nothing is away for the process that answers; with one API process. Raises TimeoutError."""
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            with suppress(OSError, http.client.HTTPException):
                if self.call("GET", "/health/ready")[1].get("status") == "ready":
                    return
            time.sleep(0.2)
        raise TimeoutError("the service did not become whole")

    def end(self, *programs: str) -> None:
        """Has supervisord send each of these its SIGTERM and waits until it is gone: "apps:api", "servers:valkey"."""
        for program in programs:
            self._supervise("stopProcess", program)

    def begin(self, *programs: str) -> None:
        """Starts these again; does not wait until they work."""
        for program in programs:
            self._supervise("startProcess", program, False)

    def _supervise(self, call: str, *arguments: Any) -> None:
        url = f"unix://{control_socket(self.var)}"
        with ServerProxy("http://127.0.0.1", transport=SupervisorTransport("", "", url)) as supervisord:
            getattr(supervisord.supervisor, call)(*arguments)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(60)

    def call(
        self, method: str, path: str, body: Any = None, token: str | None = None, **headers: str
    ) -> tuple[int, dict[str, Any]]:
        """(status, JSON body) of one request on a connection of its own. Raises OSError, HTTPException."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            headers |= {"Content-Type": "application/json"} if body is not None else {}
            headers |= {"Authorization": f"Bearer {token}"} if token else {}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            raw = answer.read()
            return answer.status, json.loads(raw) if raw else {}
        finally:
            connection.close()

    def login(self, username: str, password: str = PASSWORD) -> str:
        status, body = self.call("POST", "/v1/auth/login", {"username": username, "password": password})
        assert status == 200, body
        return str(body["access_token"])

    def person(self, token: str, role: str, centavos: int = 0) -> tuple[int, str]:
        """(user id, access token) of a new person below the token's owner, with that much credit."""
        name = f"{role}-{uuid.uuid4().hex[:8]}"
        status, body = self.call("POST", "/v1/users", {"username": name, "password": PASSWORD, "role": role}, token)
        assert status == 201, body
        if centavos:
            load = {"amount": centavos, "kind": "load", "note": "test"}
            key = {"Idempotency-Key": name}
            status, answer = self.call("POST", f"/v1/users/{body['id']}/credit", load, token, **key)
            assert status == 201, answer
            self._wait_for_credit(int(body["id"]))
        return int(body["id"]), self.login(name)

    def _wait_for_credit(self, user_id: int) -> None:
        """The gate is told right after the answer, or by a sweep if it could not be told then."""
        waiting = "SELECT count(*) FROM wallet_outbox WHERE user_id = %s AND applied_at IS NULL"
        deadline = time.monotonic() + START_S
        with psycopg.connect(Postgres(self.var / "postgres").url().replace("+psycopg", "", 1), autocommit=True) as sql:
            while sql.execute(waiting, [user_id]).fetchone() != (0,):
                assert time.monotonic() < deadline, "the credit does not reach the gate"
                time.sleep(0.2)

    def draw(self, token: str, time_: str = "14:00", *, cutoff_s: float = 3600, draws_s: float = 7200) -> str:
        """An open draw of 3D whose cutoff is that many seconds away."""
        now = datetime.now(UTC)
        body = {
            "game": "3D",
            "date": "2026-03-02",
            "time": time_,
            "opens_at": (now - timedelta(minutes=1)).isoformat(),
            "cutoff_at": (now + timedelta(seconds=cutoff_s)).isoformat(),
            "draws_at": (now + timedelta(seconds=draws_s)).isoformat(),
        }
        status, answer = self.call("POST", "/v1/draws", body, token)
        assert status == 201, answer
        return str(answer["id"])

    def processes(self, *words: str) -> list[psutil.Process]:
        """Our processes whose command line holds all these words, the oldest first."""
        found = []
        for process in psutil.Process(self._process.pid).children(recursive=True):
            try:
                if all(word in " ".join(process.cmdline()) for word in words):
                    found.append(process)
            except psutil.Error:
                continue
        return sorted(found, key=lambda process: process.create_time())


@dataclass
class Terminal:
    """Sells and voids as the contract asks of a terminal: one id until an answer comes, whatever happens."""

    service: Service
    agent_id: int
    token: str
    receipts: dict[str, dict[str, Any]] = field(default_factory=dict)
    voided: set[str] = field(default_factory=set)
    refusals: list[str] = field(default_factory=list)

    def ask(self, method: str, path: str, body: Any) -> tuple[int, dict[str, Any]]:
        """The first final answer; after a timeout, 429 or 5xx the same call again."""
        pause = 0.1
        while True:
            try:
                status, answer = self.service.call(method, path, body, self.token)
            except (OSError, http.client.HTTPException):
                status, answer = 503, {}
            if status < 500 and status != 429:
                return status, answer
            assert status in (429, 503), answer
            time.sleep(pause)
            pause = min(pause * 1.5, 1.0)

    def sell(self, draw: str, number: str, stake: int = 100) -> None:
        ticket_id = str(uuid.uuid4())
        line = {"game": "3D", "play": "straight", "number": number, "stake": stake}
        body = {"id": ticket_id, "draw_id": draw, "lines": [line]}
        status, answer = self.ask("POST", "/v1/tickets", body)
        if status in (200, 201):
            self.receipts[ticket_id] = answer
        else:
            self.refusals.append(answer["code"])

    def void(self, ticket_id: str) -> None:
        path = f"/v1/tickets/{self.receipts[ticket_id]['number']}/void"
        status, answer = self.ask("POST", path, {"reason": "test"})
        # "already voided": the void was done, and its first answer was lost.
        assert status == 200 or answer["code"] == "already_voided", answer
        self.voided.add(ticket_id)
