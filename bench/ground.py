"""What every measure stands on: the whole service on a VAR of its own, people, draws, and the load from outside."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import redis
from sqlalchemy.engine import make_url

from bench.load import MARK
from demo.calls import Caller, Unexpected
from demo.servers import READY_WAIT_S, Servers
from runtime.embedded_postgres import OWNER_ROLE, Postgres
from runtime.process import free_port, spawn_options
from runtime.secret_files import new_password
from runtime.settings import Settings

CONNECTIONS = 64
LINES = 3
STAKE = 100  # centavos a line, the smallest
BODIES = 32  # different tickets that each connection sends in turn
CREDIT = 10**12
NO_LIMIT = 10**12
CUTOFF_S = 1.5
DRAINING = ("apps:worker-persist", "apps:worker-default")  # the second sweeps journals, too


class Ground:
    """The running service. Its draws have no limits to speak of, its agents no end of credit."""

    def __init__(self, var_dir: Path, seed: int = 1) -> None:
        self.servers = Servers(var_dir)
        self.chance = random.Random(seed)
        self.agents: list[Caller] = []
        self._minute = 0
        self._prefix = int(time.time()) << 8

    def start(self) -> None:
        """Raises Unexpected, OSError."""
        self.servers.start()
        deadline = time.monotonic() + READY_WAIT_S
        while not self.servers.ready():
            if time.monotonic() > deadline:
                raise Unexpected("the servers are not ready")
            time.sleep(0.2)
        self.superadmins = [Caller(self.servers.port, "superadmin", self.servers.superadmin_password)]
        self.superadmins.append(self._person("superadmin-b", "superadmin"))
        self.agents = [self._agent(number) for number in range(CONNECTIONS)]

    def _person(self, username: str, role: str) -> Caller:
        password = new_password()
        made = {"username": username, "password": password, "role": role}
        self.superadmins[0].must("POST", "/v1/users", made)
        caller = Caller(self.servers.port, username, password)
        caller.login()
        return caller

    def _agent(self, number: int) -> Caller:
        agent = self._person(f"agent-{number:03}", "agent")
        load = {"amount": CREDIT, "kind": "load", "note": "bench"}
        self.superadmins[0].must("POST", f"/v1/users/{agent.user_id}/credit", load, key=f"load-{number}")
        return agent

    # ── draws ─────────────────────────────────────────────────────────────────────────────────────────────────

    def draw(self) -> str:
        """A draw that sells until `close`."""
        self._minute += 1
        now = datetime.now(UTC)
        body = {
            "game": "3D",
            "date": f"{date.today()}",
            "time": f"{self._minute // 60:02}:{self._minute % 60:02}",
            "opens_at": (now - timedelta(minutes=1)).isoformat(),
            "cutoff_at": (now + timedelta(hours=6)).isoformat(),
            "draws_at": (now + timedelta(hours=7)).isoformat(),
            "limits": [{"play": play, "max": NO_LIMIT} for play in ("straight", "rambolito")],
            "payout_limit": NO_LIMIT,
        }
        made = self.superadmins[0].must("POST", "/v1/draws", body)
        self._wait(made["id"], "open")
        return str(made["id"])

    def close(self, draw: str) -> float:
        """Ends the sale; seconds from the cutoff until the draw was sealed."""
        cutoff = datetime.now(UTC) + timedelta(seconds=CUTOFF_S)
        body = {
            "cutoff_at": cutoff.isoformat(),
            "draws_at": (cutoff + timedelta(hours=1)).isoformat(),
            "reason": "bench",
        }
        self.superadmins[0].must("PATCH", f"/v1/draws/{draw}", body)
        self._wait(draw, "sealed")
        return (datetime.now(UTC) - cutoff).total_seconds()

    def settle(self, draw: str, number: str) -> float:
        """Has the sealed draw drawn now; seconds from the second person's word until it was settled."""
        with self.sql() as sql:  # nobody waits here for the hour at which it is drawn
            sql.execute("UPDATE draws SET draws_at = now() WHERE name = %s", [draw])
        found = self.superadmins[0].must("GET", f"/v1/draws/{draw}")
        entry = {"number": number, "date": found["date"], "time": found["time"]}
        self.superadmins[0].must("POST", f"/v1/draws/{draw}/result", entry)
        return self._until_settled(draw, "result/confirm", entry)

    def correct(self, draw: str, number: str) -> float:
        """Settles the draw anew with another number; seconds as `settle`."""
        found = self.superadmins[0].must("GET", f"/v1/draws/{draw}")
        entry = {"number": number, "date": found["date"], "time": found["time"], "reason": "bench"}
        self.superadmins[0].must("POST", f"/v1/draws/{draw}/correction", entry)
        return self._until_settled(draw, "correction/confirm", entry)

    def _until_settled(self, draw: str, call: str, entry: dict[str, Any]) -> float:
        self.superadmins[1].must("GET", f"/v1/draws/{draw}")  # its connection may have been closed
        began = time.perf_counter()
        self.superadmins[1].must("POST", f"/v1/draws/{draw}/{call}", entry)
        with self.sql() as sql:
            while sql.execute("SELECT status FROM draws WHERE name = %s", [draw]).fetchone() != ("settled",):
                if time.perf_counter() - began > 300:
                    raise Unexpected(f"{draw} is not settled")
                time.sleep(0.01)
        return time.perf_counter() - began

    def _wait(self, draw: str, status: str) -> None:
        deadline = time.monotonic() + 300
        with self.sql() as sql:
            while sql.execute("SELECT status FROM draws WHERE name = %s", [draw]).fetchone() != (status,):
                if time.monotonic() > deadline:
                    raise Unexpected(f"{draw} is not {status}")
                time.sleep(0.02)

    # ── the servers ───────────────────────────────────────────────────────────────────────────────────────────

    @contextmanager
    def sql(self) -> Iterator[psycopg.Connection]:
        """The database, as the tables' owner."""
        with psycopg.connect(plain_url(self.owner_url), autocommit=True) as connection:
            yield connection

    @property
    def owner_url(self) -> str:
        return Postgres(self.servers.var_dir / "postgres").url(OWNER_ROLE)

    @contextmanager
    def nobody_drains(self) -> Iterator[None]:
        """The journals grow, and nothing takes from them."""
        self._control("stop", *DRAINING).wait()
        try:
            yield
        finally:
            self._control("start", *DRAINING)

    def drain_with_one(self) -> None:
        """Starts the persisting worker alone; to be called within `nobody_drains`."""
        self._control("start", DRAINING[0])

    def _control(self, *words: str) -> subprocess.Popen[bytes]:
        """Tells supervisord; a start is only called successful after ten seconds, which nobody here waits for."""
        conf = self.servers.var_dir / "supervisord.conf"
        command = [sys.executable, "-m", "supervisor.supervisorctl", "-c", str(conf), *words]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, **spawn_options(signal.SIGTERM))

    def position(self, sql: psycopg.Connection, draw: str) -> int:
        """The last serial that is stored."""
        query = "SELECT serial FROM positions JOIN draws ON draws.id = draw_id WHERE name = %s"
        row = sql.execute(query, [draw]).fetchone()
        return int(row[0]) if row else 0

    def top(self, draw: str) -> int:
        """The last serial that the gate gave."""
        with redis.Redis.from_url(self.servers.redis_url) as client:
            return int(client.hget(f"draw:{draw}", "serial") or 0)

    def wait_stored(self, draw: str, serial: int) -> None:
        """Until the ticket with that serial is stored."""
        deadline = time.monotonic() + 300
        with self.sql() as sql:
            while self.position(sql, draw) < serial:
                if time.monotonic() > deadline:
                    raise Unexpected("the journal is not drained")
                time.sleep(0.02)

    # ── the load ──────────────────────────────────────────────────────────────────────────────────────────────

    def job(
        self, draw: str, seconds: float, *, per_s: float = 0, batch: int = 0, connections: int = CONNECTIONS
    ) -> Job:
        """Three-line tickets of that draw from as many agents; `batch`: so many in one upload."""
        path = "/v1/tickets/batch" if batch else "/v1/tickets"
        bodies = [[self._body(draw, batch) for _ in range(2 if batch else BODIES)] for _ in range(connections)]
        senders = [(agent._token, mine) for agent, mine in zip(self.agents, bodies, strict=False)]
        return Job(self.servers.port, path, senders, seconds, per_s, self.next_prefix())

    def next_prefix(self) -> int:
        """For the ids of one more load: no two loads make the same."""
        self._prefix += 1 << 8
        return self._prefix & 0xFFFFFFFF

    def _body(self, draw: str, batch: int) -> str:
        if not batch:
            return json.dumps(self.ticket(draw))
        return json.dumps({"tickets": [self.ticket(draw) for _ in range(batch)]})

    def ticket(self, draw: str) -> dict[str, Any]:
        """One three-line ticket with three numbers; its id is still to be filled in."""
        numbers = self.chance.sample(range(1, 1000), LINES)  # 000 is kept for `settling`
        lines = [{"game": "3D", "play": "straight", "number": f"{n:03}", "stake": STAKE} for n in numbers]
        return {"id": MARK.decode(), "draw_id": draw, "lines": lines}


@dataclass(frozen=True)
class Job:
    """What the load generator is asked for; `connections`: a token and its bodies for each."""

    port: int
    path: str
    connections: Sequence[tuple[str, list[str]]]
    seconds: float
    per_s: float
    prefix: int

    def run(self) -> dict[str, Any]:
        """What it saw: {per_s, statuses, ms: {p50, p99, p99.9}, seconds}."""
        with self.start() as running:
            out, _ = running.communicate()
        if running.returncode:
            raise Unexpected("the load generator failed")
        return self.read(out)

    @staticmethod
    def read(out: str) -> dict[str, Any]:
        """What a generator that was started has said."""
        found: dict[str, Any] = json.loads(out)
        return found

    def start(self) -> subprocess.Popen[str]:
        """The generator at work; its answer is one line of its output."""
        process = subprocess.Popen(
            [sys.executable, "-m", "bench.load"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            **spawn_options(signal.SIGTERM),
        )  # fmt: skip
        assert process.stdin is not None
        process.stdin.write(json.dumps(self.__dict__) + "\n")
        process.stdin.flush()
        return process


@contextmanager
def http_server(module: str, **environ: str) -> Iterator[int]:
    """Another application behind the same HTTP server, with the service's own settings; gives its port."""
    port = free_port()
    workers, threads = Settings.api_workers, Settings.api_threads
    options = ["--interface", "wsgi", "--port", str(port), "--workers", str(workers)]
    options += ["--blocking-threads", str(threads), "--no-ws", "--log-level", "warning"]
    process = subprocess.Popen(
        [sys.executable, "-m", "granian", *options, f"{module}:app"],
        env={**os.environ, **environ},
        stdout=subprocess.DEVNULL,
        **spawn_options(signal.SIGTERM),
    )
    try:
        _wait_for_port(port, process)
        yield port
    finally:
        process.terminate()
        process.wait(30)


def _wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    import socket

    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                time.sleep(0.5)
                return
        time.sleep(0.1)
    raise Unexpected("the server of a baseline did not start")


def plain_url(url: str) -> str:
    """The URL as psycopg itself takes it."""
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
