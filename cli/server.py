"""`drawbreak server`: become PostgreSQL or Redis, on the data under VAR."""

from __future__ import annotations

import os
import signal

import click

from cli.supervision import FOR_SETUP_ONLY
from runtime.embedded_postgres import Postgres
from runtime.embedded_valkey import Valkey
from runtime.environment import Reader, directory
from runtime.process import DIE_WITH_PARENT, die_with_parent


@click.command(hidden=True)
@click.argument("name", type=click.Choice(["postgres", "valkey"]))
def server(name: str) -> None:
    """Become the server NAME, with data under VAR."""
    # Nothing but VAR: servers start before there are keys to read.
    var_dir = Reader(os.environ)("VAR", "var/run", directory)
    if name == "postgres":
        postgres = Postgres(var_dir / "postgres")
        postgres.prepare()
        if DIE_WITH_PARENT in os.environ:
            die_with_parent(signal.SIGINT)  # fast shutdown; on SIGTERM it would wait for its clients
        argv, environ = postgres.argv, postgres.env
    else:
        valkey = Valkey(var_dir / "valkey")
        valkey.prepare()
        argv, environ = valkey.argv, dict(os.environ)
    os.execve(argv[0], argv, {key: value for key, value in environ.items() if key not in FOR_SETUP_ONLY})
