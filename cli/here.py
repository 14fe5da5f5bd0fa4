"""The installation that a command works on: the URLs given, or the servers that run under VAR."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator
from contextlib import contextmanager

from actions.resources import Resources, open_resources
from intake.doorbell import producer
from runtime.clock import Clock
from runtime.embedded_postgres import Postgres
from runtime.embedded_valkey import Valkey
from runtime.environment import Reader, directory
from runtime.origin import Origin, set_origin
from runtime.settings import Settings

CONNECTIONS = 3


@contextmanager
def resources_here() -> Iterator[Resources]:
    """Resources for one command; the servers must run. Raises SettingsError."""
    environ = dict(os.environ)
    var_dir = Reader(environ)("VAR", "var/run", directory)
    if not environ.get("DATABASE_URL"):
        environ["DATABASE_URL"] = Postgres(var_dir / "postgres").url()
    if not environ.get("REDIS_URL"):
        environ["REDIS_URL"] = Valkey(var_dir / "valkey").url()
    settings = Settings.from_env(environ)
    res = open_resources(settings, producer(settings.broker_url), Clock(), connections=CONNECTIONS, witness=False)
    set_origin(Origin(actor=_user()))
    try:
        yield res
    finally:
        res.close()


def _user() -> str:
    """Whoever types, for the audit log."""
    try:
        return f"{getpass.getuser()} (command line)"
    except (KeyError, OSError):  # a container's user without a name
        return f"uid {os.getuid()} (command line)"
