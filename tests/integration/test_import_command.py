"""`drawbreak import`, run as a person runs it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from actions.users import ensure_superadmin
from cli.main import main
from models.audit import AuditRow
from tests.conftest import Database
from tests.integration.conftest import Lottery
from tests.integration.moving import BALANCES, PEOPLE, WINNERS, person, rows_written
from tests.integration.test_persist import owner


@pytest.fixture
def house(lottery: Lottery) -> Lottery:
    """A lottery with its first superadmin."""
    assert ensure_superadmin(lottery.res.sessions, "first superadmin's words")
    return lottery


@pytest.fixture
def command(house: Lottery, database: Database, tmp_path: Path) -> Callable[..., Result]:
    settings = house.res.settings
    environ = {"DATABASE_URL": database.url, "REDIS_URL": settings.redis_url, "VAR": str(settings.var_dir)}
    for name, content in (("users", PEOPLE), ("balances", BALANCES), ("winners", WINNERS)):
        (tmp_path / f"{name}.csv").write_text(content)

    def run_command(*words: str) -> Result:
        given = [str(tmp_path / word) if word.endswith(".csv") else word for word in words]
        return CliRunner().invoke(main, ["import", *given], env=environ)

    return run_command


ALL = ("--users", "users.csv", "--balances", "balances.csv", "--winners", "winners.csv")


def test_the_command_tries_then_writes_then_refuses(house: Lottery, command: Callable[..., Result]) -> None:
    before = rows_written(house)
    tried = command(*ALL)
    assert (tried.exit_code, rows_written(house)) == (0, before)
    assert "3 agent" in tried.output
    assert "balances: ₱20,600.50" in tried.output
    assert "winners: 2, prizes ₱5,250.00" in tried.output
    assert "nothing was written" in tried.output
    written = command(*ALL, "--commit")
    assert (written.exit_code, written.output.splitlines()[-1]) == (0, "Written.")
    again = command(*ALL, "--commit")
    assert again.exit_code == 1
    assert "users.csv:2:username: ana is taken" in again.output
    assert "8 findings; nothing was written" in again.output


def test_the_audit_log_names_the_systems_user_and_every_newcomer(
    house: Lottery, command: Callable[..., Result]
) -> None:
    assert command(*ALL, "--commit").exit_code == 0
    with house.res.sessions() as session:
        rows = session.scalars(select(AuditRow).order_by(AuditRow.id)).all()
    made = [row for row in rows if row.action == "user.create"]
    assert {row.object for row in made} >= {f"user:{person(house, name).id}" for name in ("ana", "boss", "eyes")}
    assert len(made) == 6
    (deed,) = [row for row in rows if row.action == "import"]
    assert deed.actor
    assert {row.actor for row in made} == {deed.actor}
    assert (deed.after["winners"], deed.after["prizes"]) == (2, 525_000)
    assert all(len(file["sha256"]) == 64 for file in deed.after["files"])
    assert "$2b$" not in str([row.after for row in rows])
    assert "1234" not in str([{**row.after, "files": None} for row in rows if row.after])


@pytest.mark.parametrize("words", [(), ("--balances", "balances.csv"), ("--users", "nowhere.csv"), ALL[2:]])
def test_the_command_says_what_it_needs(command: Callable[..., Result], words: tuple[str, ...]) -> None:
    assert command(*words, "--commit").exit_code == 2


def test_a_refusal_of_the_database_shows_no_password_hash(
    house: Lottery, database: Database, command: Callable[..., Result]
) -> None:
    with owner(database) as connection:
        connection.execute("ALTER TABLE users ADD CONSTRAINT not_1000 CHECK (commission_bp <> 1000)")
    before = rows_written(house)
    refused = command(*ALL, "--commit")
    assert refused.exit_code == 1
    assert "nothing was written" in refused.output
    assert "not_1000" in refused.output
    assert "$2b$" not in refused.output
    assert rows_written(house) == before


def test_a_commit_whose_answer_was_lost_is_told_by_the_next_run(
    house: Lottery, command: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Session.commit

    def lost(session: Session) -> None:
        whole(session)
        raise OperationalError("COMMIT", None, ConnectionError())

    with monkeypatch.context() as patched:
        patched.setattr(Session, "commit", lost)
        unsure = command(*ALL, "--commit")
    assert unsure.exit_code == 1
    assert "run it again" in unsure.output
    assert "nothing was written" not in unsure.output
    written = rows_written(house)
    assert "ana is taken" in command(*ALL, "--commit").output
    assert rows_written(house) == written
