"""`drawbreak audit verify`, as somebody types it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner, Result

from actions.audit import record
from actions.audit_chain import heads_file
from cli.main import main
from runtime.origin import SYSTEM, origin, set_origin
from runtime.settings import Settings
from tasks.audit import chain
from tests.conftest import Database
from tests.integration.conftest import Lottery

Verify = Callable[..., Result]


@pytest.fixture
def verify(settings: Settings, database: Database, redis_url: str, lottery: Lottery) -> Iterator[Verify]:
    for number in range(3):
        with lottery.res.sessions.begin() as session:
            record(session, "user.change", f"user:{number}")
    chain(lottery.res)
    environ = {"VAR": str(settings.var_dir), "DATABASE_URL": database.url, "REDIS_URL": redis_url}

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(main, ["audit", "verify", *arguments], env=environ)

    yield run
    set_origin(SYSTEM)


def test_a_log_as_it_was_written_is_said_to_be_so(verify: Verify, lottery: Lottery) -> None:
    found = verify()
    assert (found.exit_code, "3 rows are chained" in found.output) == (0, True), found.output
    assert heads_file(lottery.res).read_text().split()[-1] in found.output
    assert "1 kept heads agree" in found.output


def test_a_changed_row_ends_it_with_1_and_the_finding(verify: Verify, database: Database) -> None:
    with psycopg.connect(database.owner_url.replace("+psycopg", "", 1)) as connection:
        connection.execute("UPDATE audit SET object = 'user:99' WHERE object = 'user:1'")
    found = verify()
    assert found.exit_code == 1
    assert found.output.startswith("link 2: row ")


def test_a_head_written_in_part_is_named_beside_the_verdict(verify: Verify, lottery: Lottery) -> None:
    with heads_file(lottery.res).open("ab") as file:
        file.write(b"4 00ff\0\0")
    found = verify()
    assert found.exit_code == 0, found.output
    assert "audit-heads.log, line 2: a head that was written in part" in found.output
    assert "1 kept heads agree" in found.output


def test_kept_heads_from_elsewhere_are_compared(verify: Verify, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_text("\n7 " + "ab" * 32 + "\n")
    found = verify("--heads", str(kept))
    assert found.exit_code == 1
    assert "head 7 is kept elsewhere and not in the chain" in found.output


def test_without_kept_heads_it_says_so(verify: Verify, lottery: Lottery) -> None:
    heads_file(lottery.res).unlink()
    found = verify()
    assert (found.exit_code, "no kept heads" in found.output) == (0, True)


def test_what_a_command_does_is_the_systems_users(monkeypatch: pytest.MonkeyPatch, verify: Verify) -> None:
    monkeypatch.setenv("LOGNAME", "lola")
    assert verify().exit_code == 0
    assert str(origin().actor).startswith("lola")
    assert origin()._replace(actor=None) == SYSTEM
