"""Alembic's entry: one transaction, one migration at a time, and no waiting behind long transactions."""

from __future__ import annotations

from alembic import context
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from migrations.runner import CONNECT_TIMEOUT_S

LOCK_TIMEOUT = "10s"

engine = create_engine(
    context.config.get_main_option("sqlalchemy.url") or "",
    poolclass=NullPool,
    connect_args={"connect_timeout": CONNECT_TIMEOUT_S},
)
with engine.connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'"))
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('drawbreak migrations'))"))
        context.run_migrations()
engine.dispose()
