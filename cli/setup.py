"""`drawbreak setup`: roles, schema and the first superadmin. Safe to repeat."""

from __future__ import annotations

import os
import time

import click
import psycopg
from alembic.util import CommandError
from sqlalchemy.exc import SQLAlchemyError

from actions.games import ensure_games
from actions.users import ensure_superadmin
from migrations.runner import upgrade
from models.session import make_sessions
from rules.errors import Problem
from runtime.embedded_postgres import Postgres
from runtime.secret_files import new_password
from runtime.settings import Settings

PAUSE_SECONDS_MAX = 30


@click.command()
@click.option("--embedded-postgres", is_flag=True, hidden=True, help="First make roles and database under VAR.")
@click.option("--keep-trying", is_flag=True, help="Do not give up, say after each failure what was wrong.")
def setup(embedded_postgres: bool, keep_trying: bool) -> None:
    """Bring the database to the newest schema and make the first superadmin.

    OWNER_DATABASE_URL is the tables' owner; without it the schema is left to whoever has that role.
    SUPERADMIN_PASSWORD is the first superadmin's password; without it one is made and printed, once.
    """
    settings = Settings.from_env(os.environ)
    pause = 0.25
    while True:
        try:
            return _set_up(settings, embedded_postgres)
        except (psycopg.Error, SQLAlchemyError, CommandError, Problem) as error:
            if not keep_trying:
                raise click.ClickException(_words(error)) from error
            # Silent for the first seconds: a server that was started a moment ago is not ready yet.
            if pause > 2:
                click.echo(f"setup failed, again in {pause:.0f} s: {_words(error)}", err=True)
        time.sleep(pause)
        pause = min(pause * 2, PAUSE_SECONDS_MAX)


def _set_up(settings: Settings, embedded_postgres: bool) -> None:
    if embedded_postgres:
        Postgres(settings.var_dir / "postgres").ensure_database()
    if settings.owner_database_url:
        upgrade(settings.owner_database_url)
    sessions = make_sessions(settings.database_url, pool_size=1)
    ensure_games(sessions)
    given = os.environ.get("SUPERADMIN_PASSWORD")
    password = given or new_password()
    if ensure_superadmin(sessions, password) and not given:
        click.echo(f"The first superadmin's password (user superadmin), shown only now: {password}")


def _words(error: Exception) -> str:
    fields = error.errors if isinstance(error, Problem) else ()
    return "; ".join([str(error), *(f"{field['path']}: {field['message']}" for field in fields)])
