"""A real worker on a real broker, with a task that fails as it is told."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import psycopg
import redis
from sqlalchemy import Row, text

from actions.resources import Resources
from cli.serve import COMMANDS
from intake.doorbell import producer
from runtime.embedded_postgres import SUPERUSER, Postgres
from runtime.process import spawn_options
from runtime.settings import BROKER_DB
from tests.conftest import Database

ROOT = Path(__file__).parents[2]
DEADLINE_S = 60


class Ground:
    """A worker for the queue `default`, what it is sent, and what is there of that."""

    def __init__(self, res: Resources, folder: Path) -> None:
        self.res, self.folder = res, folder
        socket = urlsplit(res.settings.redis_url).path
        self.broker = redis.Redis(unix_socket_path=socket, db=BROKER_DB)
        self._publisher: Any = producer(res.settings.broker_url)
        self._workers: list[subprocess.Popen[bytes]] = []
        self._hurried: datetime | None = None

    def start(self, visibility_s: int = 360) -> subprocess.Popen[bytes]:
        """As `drawbreak serve worker-default` does, with the failing task."""
        settings = self.res.settings
        argv = COMMANDS["worker-default"](settings)
        argv[argv.index("workers.app")] = "tests.integration.failing_worker"
        environ = {
            "DATABASE_URL": settings.database_url,
            "REDIS_URL": settings.redis_url,
            "VAR": str(settings.var_dir),
            "SCHEDULE_DAYS": "0",
            "FAILING_FOLDER": str(self.folder),
            "FAILING_VISIBILITY_S": str(visibility_s),
        }
        with (self.folder / "log").open("ab") as log:
            worker = subprocess.Popen(
                argv, env=os.environ | environ, cwd=ROOT, stdout=log, stderr=log, **spawn_options(signal.SIGKILL)
            )
        self._workers.append(worker)
        return worker

    def close(self) -> None:
        for worker in self._workers:
            kill(worker)
        self.broker.close()
        self._publisher.close()

    def send(self, task: str, *arguments: Any, **options: Any) -> None:
        self._publisher.send_task(task, args=arguments, queue="default", **options)

    def push(
        self,
        body: bytes,
        headers: Any,
        content_type: str | None = "application/json",
        *,
        tag: str | None = None,
        routing_key: str = "default",
    ) -> None:
        """A message as any other program could send it."""
        message = {
            "body": base64.b64encode(body).decode(),
            "content-encoding": "utf-8",
            "content-type": content_type,
            "headers": headers,
            "properties": {
                "delivery_tag": tag or str(uuid.uuid4()),
                "body_encoding": "base64",
                "delivery_info": {"exchange": "", "routing_key": routing_key},
                "priority": 0,
            },
        }
        self.broker.lpush("default", json.dumps(message))

    def at_broker(self) -> int:
        """How many messages the broker still has, waiting or with a worker."""
        counts: Any = self.broker.llen("default"), self.broker.hlen("unacked")
        return int(sum(counts))

    def runs(self) -> int:
        with suppress(FileNotFoundError):
            return len((self.folder / "runs").read_text().splitlines())
        return 0

    def has_run(self, times: int) -> bool:
        return self.runs() == times

    def rows(self, table: str) -> list[Row[Any]]:
        with self.res.sessions() as session:
            return list(session.execute(text(f"SELECT * FROM {table} ORDER BY first_at")).all())

    def hurry(self) -> None:
        """The retry is due now and is rung for, but once only after each failure."""
        last_at = max((row.last_at for row in self.rows("retries") if row.task == "test.fail"), default=None)
        if last_at is not None and last_at != self._hurried:
            with self.res.sessions.begin() as session:
                session.execute(text("UPDATE retries SET due_at = now() - interval '1 second'"))
            self.send("sweep.retries")
            self._hurried = last_at

    def flag(self, name: str, there: bool) -> None:
        if there:
            (self.folder / name).touch()
        else:
            (self.folder / name).unlink()

    def wait_for(self, done: Callable[[], Any], *, hurrying: bool = False) -> Any:
        """What `done` gives once that is true."""
        deadline = time.monotonic() + DEADLINE_S
        while not (value := done()):
            assert time.monotonic() < deadline, self.trouble()
            time.sleep(0.1)
            if hurrying:
                self.hurry()
        return value

    def trouble(self) -> str:
        said = (self.folder / "log").read_text()[-4_000:]
        return f"{said}\n{self.broker.lrange('default', 0, -1)} {self.broker.hgetall('unacked')}"

    def letter(self, *, hurrying: bool = False) -> Row[Any]:
        """The one dead letter, once it is there and the broker has forgotten its message."""
        self.wait_for(lambda: self.rows("dead_letters"), hurrying=hurrying)
        self.wait_for(lambda: self.at_broker() == 0)
        [letter] = self.rows("dead_letters")
        return letter

    def stays_at_broker(self, seconds: float = 4) -> None:
        """Long enough for the worker to try several times."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            if self.at_broker() != 1:
                time.sleep(0.2)  # for a moment it is with neither, on its way to the worker
                assert self.at_broker() == 1, self.trouble()
            time.sleep(0.05)


def kill(worker: subprocess.Popen[bytes]) -> None:
    """As `kill -9` of the main process does it; its pool ends with it."""
    with suppress(psutil.NoSuchProcess):
        pool = psutil.Process(worker.pid).children(recursive=True)
        worker.kill()
        worker.wait()
        psutil.wait_procs(pool, 10)


@contextmanager
def database_away(server: Postgres, database: Database) -> Iterator[None]:
    """Nobody gets a connection to the test's database, and who had one has lost it."""
    url = server.url(SUPERUSER, "postgres").replace("+psycopg", "", 1)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'ALTER DATABASE "{database.name}" ALLOW_CONNECTIONS false')
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [database.name])
        try:
            yield
        finally:
            connection.execute(f'ALTER DATABASE "{database.name}" ALLOW_CONNECTIONS true')
