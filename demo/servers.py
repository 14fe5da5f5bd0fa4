"""`drawbreak run` as a child process on a VAR of its own, and the way to its servers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from demo.calls import Connection, NoAnswer, Unexpected
from runtime.embedded_postgres import Postgres
from runtime.embedded_valkey import Valkey
from runtime.process import DIE_WITH_PARENT, free_port, spawn_options
from runtime.secret_files import new_password
from runtime.settings import WIDE_LIMITS

READY_WAIT_S = 120
STOP_WAIT_S = 40

# A demo must never touch an installation that the environment happens to name.
FOREIGN = (
    "DATABASE_URL", "OWNER_DATABASE_URL", "REDIS_URL", "BROKER_URL", "JWT_KEY", "CODE_KEY", "API_HOST",
    "REDIS_REPLICAS", "FLOWER_BASIC_AUTH",
)  # fmt: skip


class Servers:
    """Everything that sells, as one child; ends with this process, however that ends."""

    def __init__(self, var_dir: Path) -> None:
        self.var_dir = var_dir
        self.port = free_port()
        self.live_port = free_port()
        self.superadmin_password = new_password()
        self.log = var_dir / "drawbreak.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Raises OSError."""
        environ = {name: value for name, value in os.environ.items() if name not in FOREIGN}
        environ |= {
            "VAR": str(self.var_dir),
            "PORT": str(self.port),
            "LIVE_PORT": str(self.live_port),
            "FLOWER": "0",
            "SCHEDULE_DAYS": "0",  # only the draws that are played
            "SUPERADMIN_PASSWORD": self.superadmin_password,
            DIE_WITH_PARENT: "1",
            **WIDE_LIMITS,
        }
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "cli.main", "run"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environ, **spawn_options(signal.SIGTERM),
            )  # fmt: skip

    @property
    def pid(self) -> int:
        """Of the process whose children are the servers, the API and the workers."""
        assert self._process is not None
        return self._process.pid

    def ready(self) -> bool:
        """Whether the API can sell by now. Raises Unexpected when the servers ended."""
        assert self._process is not None
        if self._process.poll() is not None:
            end = self.log.read_text(errors="replace")[-1500:]
            raise Unexpected(f"the servers ended, exit code {self._process.returncode}:\n{end}")
        connection = Connection(self.port)
        try:
            connection.send("GET", "/health/ready")
            answer = connection.receive()
        except NoAnswer:
            return False
        finally:
            connection.close()
        return answer.status == 200 and bool(answer.body["status"] == "ready")

    def journal_lag(self) -> int | None:
        """Records that have not reached the database, as the API says."""
        connection = Connection(self.port)
        try:
            connection.send("GET", "/health/ready")
            lag: int | None = connection.receive().body["journal_lag"]
            return lag
        except NoAnswer:
            return None
        finally:
            connection.close()

    @property
    def database_url(self) -> str:
        return Postgres(self.var_dir / "postgres").url()

    @property
    def redis_url(self) -> str:
        return Valkey(self.var_dir / "valkey").url()

    def stop(self) -> None:
        """Orderly, and by force if that takes too long."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_WAIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()  # what it runs is told by the kernel
            self._process.wait()
            time.sleep(1)
