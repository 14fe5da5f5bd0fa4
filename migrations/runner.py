"""Upgrading a database to the newest schema, and asking which one it has."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

CONNECT_TIMEOUT_S = 5


def _config(url: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    return config


def upgrade(owner_url: str) -> None:
    """Brings the database at `owner_url` (the owner's role) to the newest migration."""
    command.upgrade(_config(owner_url), "head")


def is_current(url: str) -> bool:
    """Whether the database is at the newest migration. Raises sqlalchemy.exc.OperationalError while it is away."""
    head = ScriptDirectory.from_config(_config(url)).get_current_head()
    engine = create_engine(url, poolclass=NullPool, connect_args={"connect_timeout": CONNECT_TIMEOUT_S})
    try:
        with engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision() == head
    finally:
        engine.dispose()
