"""Real servers for every test that asks: started once, a database of its own and an empty Redis per test."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import psycopg
import pytest

from migrations.runner import upgrade
from runtime.embedded_postgres import APP_ROLE, OWNER_ROLE, SUPERUSER, Postgres
from runtime.embedded_valkey import Valkey
from runtime.process import die_with_parent
from runtime.resp import ask
from runtime.secret_files import ensure_secret
from runtime.settings import WIDE_LIMITS, Settings

TEMPLATE = "template_migrated"

# Tests kill servers, not the machine, so what is written survives without reaching the disk.
UNSYNCED = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}

# A shared machine may take a second for what takes a millisecond.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")

# Whoever starts the tests in the background has them ignore it, and what they start would, too.
signal.signal(signal.SIGINT, signal.default_int_handler)

if os.environ.pop("DIE_WITH_PARENT", ""):
    die_with_parent(signal.SIGTERM)


@dataclass(frozen=True)
class Database:
    """One test's own database: the URL of the application's role, and that of the owner's."""

    name: str
    url: str
    owner_url: str


@pytest.fixture(scope="session")
def servers_dir() -> Iterator[Path]:
    """A short path, so that sockets fit; pytest's own temporary directories nest deep."""
    directory = Path(tempfile.mkdtemp(prefix="drawbreak-test-"))
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server(servers_dir: Path) -> Iterator[Postgres]:
    server = Postgres(servers_dir / "postgres", conf=UNSYNCED).start()
    yield server
    server.stop(signal.SIGQUIT)


@pytest.fixture(scope="session")
def valkey_server(servers_dir: Path) -> Iterator[Valkey]:
    server = Valkey(servers_dir / "valkey").start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def migrated_template(postgres_server: Postgres) -> str:
    """The name of a database at the newest migration, which each test's own is copied from."""
    postgres_server.ensure_database(TEMPLATE)
    upgrade(postgres_server.url(OWNER_ROLE, TEMPLATE))
    return TEMPLATE


@pytest.fixture
def database(postgres_server: Postgres, migrated_template: str) -> Iterator[Database]:
    with new_database(postgres_server, migrated_template) as made:
        yield made


@contextmanager
def new_database(server: Postgres, template: str) -> Iterator[Database]:
    """A copy of the template, dropped at the end."""
    name = f"test_{secrets.token_hex(6)}"
    with _superuser(server) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" OWNER "{OWNER_ROLE}"')
    yield Database(name, server.url(APP_ROLE, name), server.url(OWNER_ROLE, name))
    with _superuser(server) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def _superuser(server: Postgres) -> psycopg.Connection:
    url = server.url(SUPERUSER, "postgres").replace("+psycopg", "", 1)
    return psycopg.connect(url, autocommit=True)


@pytest.fixture
def redis_url(valkey_server: Valkey) -> str:
    return emptied(valkey_server)


def emptied(server: Valkey) -> str:
    """The URL of an empty Redis: no key in any database and no script of an earlier test."""
    assert ask(server.url(), "FLUSHALL", "SYNC") == "+OK"
    assert ask(server.url(), "SCRIPT", "FLUSH", "SYNC") == "+OK"
    return server.url()


@pytest.fixture
def settings(tmp_path: Path, database: Database, redis_url: str) -> Settings:
    return settings_in(tmp_path, database, redis_url)


def settings_in(var: Path, database: Database, redis_url: str, **more: str) -> Settings:
    """Settings as a real process reads them, on this test's own database, Redis and VAR."""
    ensure_secret(var / "keys" / "jwt.key")
    ensure_secret(var / "keys" / "code.key")
    return Settings.from_env(
        {
            "DATABASE_URL": database.url,
            "OWNER_DATABASE_URL": database.owner_url,
            "REDIS_URL": redis_url,
            "VAR": str(var),
            **WIDE_LIMITS,
            **more,
        }
    )
