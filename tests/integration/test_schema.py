"""What the database itself holds, and that the models say what the migration made."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine

import models.gate_state
import models.ledger
import models.reports
import models.settlement
import models.tickets  # noqa: F401  (imported for the tables that they register)
from models.base import Base
from tests.conftest import Database
from tests.integration.conftest import Lottery

# The ledger's trigger reads it; no code of ours does.
NOT_IN_MODELS = {("entries", "xact")}


@pytest.mark.filterwarnings("ignore:Did not recognize type 'xid8'")
def test_the_models_have_the_tables_and_columns_of_the_migration(database: Database) -> None:
    engine = create_engine(database.owner_url)
    with engine.connect() as connection:
        partitions = {"alembic_version"}
        context = MigrationContext.configure(
            connection,
            opts={
                "compare_type": True,
                "include_object": lambda thing, name, kind, *_: kind in ("table", "column") and name not in partitions,
            },
        )
        differences = compare_metadata(context, Base.metadata)
    engine.dispose()
    missing = [d for d in differences if d[0] in ("add_table", "remove_table", "add_column", "remove_column")]
    assert {(d[2], d[3].name) for d in missing if d[0] == "remove_column"} == NOT_IN_MODELS
    assert len(missing) == len(NOT_IN_MODELS), missing


@contextmanager
def connect(url: str) -> Iterator[psycopg.Connection]:
    """A connection that commits at the end, and is closed also if the commit is refused."""
    connection = psycopg.connect(url.replace("+psycopg", "", 1))
    try:
        yield connection
        connection.commit()
    finally:
        connection.close()


def test_an_entry_that_does_not_balance_is_refused_at_commit(lottery: Lottery, database: Database) -> None:
    with pytest.raises(psycopg.DatabaseError, match="does not balance"), connect(database.url) as connection:
        connection.execute("INSERT INTO entries (kind) VALUES ('load')")
    one_sided = """WITH e AS (INSERT INTO entries (kind) VALUES ('load') RETURNING id)
                   INSERT INTO postings SELECT e.id, a.id, 5 FROM e, accounts a WHERE a.kind = 'cash'"""
    with pytest.raises(psycopg.DatabaseError, match="does not balance"), connect(database.url) as connection:
        connection.execute(one_sided)


def test_no_posting_can_be_added_to_an_entry_of_the_past(lottery: Lottery, database: Database) -> None:
    lottery.person(pesos=10)
    with (
        pytest.raises(psycopg.DatabaseError, match="transaction of their entry"),
        connect(database.url) as connection,
    ):
        connection.execute(
            "INSERT INTO postings SELECT (SELECT max(id) FROM entries), id, 5 FROM accounts WHERE kind = 'sales'"
        )


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE postings SET amount = 1",
        "DELETE FROM entries",
        "TRUNCATE postings",
        "UPDATE ticket_lines SET stake = 100",
        "DELETE FROM tickets",
        "UPDATE seals SET merkle_root = ''",
        "DELETE FROM users",
        "DROP TABLE postings",
        "ALTER TABLE entries DISABLE TRIGGER ALL",
    ],
)
def test_the_applications_role_cannot_change_what_is_written(database: Database, statement: str) -> None:
    with connect(database.url) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(statement)


def test_a_state_without_its_timestamp_is_refused(lottery: Lottery, database: Database) -> None:
    lottery.draw()
    for wrong in (
        "status = 'closed'",
        "closed_at = now()",
        "status = 'settled'",
        "voided_at = now()",
        "status = 'gone'",
    ):
        with connect(database.url) as connection, pytest.raises(psycopg.errors.CheckViolation):
            connection.execute(f"UPDATE draws SET {wrong}")


def test_partitions_are_made_by_the_first_that_needs_them_also_if_two_do_at_once(database: Database) -> None:
    with connect(database.url) as first, connect(database.url) as second:
        first.execute("SELECT ensure_partitions('2027-02-28')")
        first.commit()
        second.execute("SELECT ensure_partitions('2027-02-01')")
        found = second.execute("SELECT count(*) FROM pg_class WHERE relname LIKE 'ticket%_2027_02'").fetchone()
    assert found == (2,)
