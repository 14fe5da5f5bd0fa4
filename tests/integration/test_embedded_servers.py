"""The embedded servers: real, private, durable, and gone when whoever started them is gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from runtime.embedded_postgres import APP_ROLE, OWNER_ROLE, SUPERUSER, Postgres
from runtime.embedded_valkey import Valkey
from runtime.process import Locked, socket_directory
from runtime.resp import ask, pongs
from runtime.unprivileged import by_capability, by_namespace

# A parent that starts a server, says its pid, and waits to be killed.
PARENT = """
import sys, time
from pathlib import Path
import runtime.unprivileged
from runtime.{module} import {name}
{before}
server = {name}(Path(sys.argv[1])).start()
print(server.process.pid, flush=True)
time.sleep(600)
"""


def connect(server: Postgres, role: str = APP_ROLE, database: str = "drawbreak") -> psycopg.Connection:
    return psycopg.connect(server.url(role, database).replace("+psycopg", "", 1), autocommit=True)


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def start_and_kill_the_parent(module: str, name: str, home: Path, before: str = "") -> psutil.Process:
    """The server's process as it was, after `kill -9` of the process that started it."""
    code = PARENT.format(module=module, name=name, before=before)
    with subprocess.Popen([sys.executable, "-c", code, str(home)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        server = psutil.Process(int(parent.stdout.readline()))
        assert server.is_running()
        parent.kill()
    return server


def gone(process: psutil.Process) -> bool:
    """Ended, be it unreaped: the init process of a container may not reap."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.fixture
def postgres(servers_dir: Path, tmp_path: Path) -> Iterator[Postgres]:
    server = Postgres(servers_dir / tmp_path.name / "pg")
    yield server
    server.stop(signal.SIGQUIT)


@pytest.fixture
def valkey(servers_dir: Path, tmp_path: Path) -> Iterator[Valkey]:
    server = Valkey(servers_dir / tmp_path.name / "vk")
    yield server
    server.stop()


def test_the_owner_owns_the_database_and_the_app_role_does_not(postgres_server: Postgres) -> None:
    with connect(postgres_server, OWNER_ROLE) as connection:
        row = connection.execute("SELECT datdba::regrole::text FROM pg_database WHERE datname = 'drawbreak'").fetchone()
    assert row == (OWNER_ROLE,)
    with connect(postgres_server, APP_ROLE) as connection:
        row = connection.execute(
            "SELECT rolsuper OR rolcreatedb OR rolcreaterole FROM pg_roles WHERE rolname = %s", [APP_ROLE]
        ).fetchone()
        assert row == (False,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("CREATE TABLE public.mine (id int)")


def test_a_wrong_password_is_refused_even_on_the_socket(postgres_server: Postgres) -> None:
    url = postgres_server.url(APP_ROLE).replace("+psycopg", "", 1)
    head, _, tail = url.partition("@")
    wrong = head.rsplit(":", 1)[0] + ":wrong@" + tail
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(wrong)


def test_postgres_listens_on_a_private_socket_only(postgres_server: Postgres) -> None:
    with connect(postgres_server, SUPERUSER) as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
        assert connection.execute("SHOW timezone").fetchone() == ("UTC",)
        assert connection.execute("SHOW data_checksums").fetchone() == ("on",)
    assert postgres_server.socket_dir.stat().st_mode & 0o777 == 0o700
    for secret in postgres_server.home.glob("*.pw"):
        assert secret.stat().st_mode & 0o777 == 0o600


def test_postgres_keeps_what_was_committed_through_kill_nine(postgres: Postgres) -> None:
    postgres.start()
    with connect(postgres, OWNER_ROLE) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    assert postgres.process is not None
    postgres.process.kill()
    postgres.process.wait()
    assert wait_until(lambda: _startable(postgres))
    with connect(postgres, OWNER_ROLE) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)


def _startable(server: Postgres) -> bool:
    # Orphaned backends of a killed server end by themselves, and hold the directory until then.
    server.stop()
    try:
        server.start()
    except Locked:
        return False
    return True


def test_a_half_made_cluster_is_made_anew(postgres: Postgres) -> None:
    leftover = postgres.home / "data.init"
    leftover.mkdir(parents=True)
    (leftover / "PG_VERSION").write_text("18\n")
    postgres.start()
    assert not leftover.exists()


def test_a_dead_servers_pid_that_now_is_somebody_elses_does_not_stop_the_start(postgres: Postgres) -> None:
    postgres.start().stop()
    pid_file = postgres.data / "postmaster.pid"
    pid_file.write_text(f"{os.getpid()}\n{postgres.data}\n0\n5432\n\n\n\nready\n")
    postgres.start()
    with connect(postgres) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.parametrize("kind", [Postgres, Valkey])
def test_two_servers_never_share_a_directory(kind: type[Postgres] | type[Valkey], servers_dir: Path) -> None:
    home = servers_dir / f"shared-{kind.__name__}"
    first = kind(home)
    first.start()
    try:
        with pytest.raises(Locked):
            kind(home).start()
    finally:
        first.stop()


def test_a_socket_path_that_is_too_long_moves_to_a_short_one(servers_dir: Path) -> None:
    home = servers_dir / ("long-" * 20)
    server = Valkey(home).start()
    try:
        assert not server.socket_path.is_relative_to(home)
        assert pongs(server.url())
    finally:
        server.stop()
        server.socket_path.parent.rmdir()


def test_a_socket_directory_that_others_can_enter_is_refused(tmp_path: Path) -> None:
    home = tmp_path / "h"
    (home / "s").mkdir(parents=True)
    (home / "s").chmod(0o755)
    with pytest.raises(PermissionError):
        socket_directory(home, "x")


def test_valkey_syncs_every_write_and_never_evicts(valkey: Valkey) -> None:
    valkey.start()
    assert ask(valkey.url(), "SET", "sold", "1") == "+OK"
    assert valkey.process is not None
    valkey.process.kill()
    valkey.process.wait()
    valkey.stop()
    valkey.start()
    assert ask(valkey.url(), "EXISTS", "sold") == ":1"
    argv = " ".join(valkey.argv)
    assert "--appendfsync always" in argv
    assert "--maxmemory-policy noeviction" in argv
    assert "--port 0" in argv


@pytest.mark.faults
def test_postgres_ends_when_its_parent_is_killed(servers_dir: Path) -> None:
    server = start_and_kill_the_parent("embedded_postgres", "Postgres", servers_dir / "orphan-pg")
    assert wait_until(lambda: gone(server))


@pytest.mark.faults
def test_valkey_ends_when_its_parent_is_killed(servers_dir: Path) -> None:
    server = start_and_kill_the_parent("embedded_valkey", "Valkey", servers_dir / "orphan-vk")
    assert wait_until(lambda: gone(server))


@pytest.mark.faults
@pytest.mark.skipif(
    os.geteuid() != 0 or by_capability() is None,
    reason="only root drops to another user, and this way needs setpriv with capabilities",
)
def test_postgres_ends_with_its_parent_also_without_user_namespaces(servers_dir: Path) -> None:
    before = "runtime.unprivileged.by_namespace = lambda: None"
    server = start_and_kill_the_parent("embedded_postgres", "Postgres", servers_dir / "orphan-cap", before)
    assert wait_until(lambda: gone(server))


@pytest.mark.skipif(
    os.geteuid() != 0, reason="only root must drop to another user; everyone else runs PostgreSQL as himself"
)
@pytest.mark.parametrize("way", [by_namespace, by_capability])
def test_root_can_run_postgres_below_a_directory_that_nobody_else_enters(
    way: Callable[[], object], tmp_path: Path, servers_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = way()
    if chosen is None:
        pytest.skip(f"this machine does not offer {way.__name__}: it needs unshare or setpriv, and the kernel's leave")
    monkeypatch.setattr("runtime.embedded_postgres.unprivileged", lambda *_: chosen)
    closed = servers_dir / f"closed-{tmp_path.name}"
    closed.mkdir(mode=0o700)
    server = Postgres(closed / "pg").start()
    try:
        with connect(server) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    finally:
        server.stop()
