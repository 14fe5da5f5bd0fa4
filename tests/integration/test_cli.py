"""The operator's commands, run as a person runs them, against the servers of the test."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import func, insert, select, text

from actions.reconcile import reconcile
from cli.main import main
from models.audit import AuditRow
from models.dead_letters import DeadLetter, Retry
from models.draws import CancelledDate
from tasks.persist import persist
from tests.conftest import Database
from tests.integration.conftest import Lottery
from tests.integration.test_persist import owner


@pytest.fixture
def drawbreak(lottery: Lottery, database: Database):  # type: ignore[no-untyped-def]
    """`drawbreak("dead-letters", "list")`: what the command printed and how it ended."""
    settings = lottery.res.settings
    environ = {"DATABASE_URL": database.url, "REDIS_URL": settings.redis_url, "VAR": str(settings.var_dir)}

    def run(*words: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(main, words, input=stdin, env=environ)

    return run


def test_a_dead_letter_is_listed_shown_and_replayed(lottery: Lottery, database: Database, drawbreak) -> None:  # type: ignore[no-untyped-def]
    agent, draw = lottery.person(pesos=100), lottery.draw()
    lottery.sell(draw, agent, "s300:1")
    with owner(database) as connection:
        connection.execute("ALTER TABLE ticket_lines ADD CONSTRAINT not_300 CHECK (number <> '300')")
    persist(lottery.res, draw)
    assert "not_300" in drawbreak("dead-letters", "list").output.replace("\n", "")
    shown = json.loads(drawbreak("dead-letters", "show", "1").output)
    assert (shown["draw_id"], shown["position"], shown["body"][:2]) == (draw, "1-0", "t|")
    assert drawbreak("dead-letters", "replay", "1").exit_code == 1
    with owner(database) as connection:
        connection.execute("ALTER TABLE ticket_lines DROP CONSTRAINT not_300")
    for _ in range(2):
        assert drawbreak("dead-letters", "replay", "1").output == "1: replayed\n"
    assert "no dead letters" in drawbreak("dead-letters", "list").output
    assert "replayed" in drawbreak("dead-letters", "list", "--status", "all", "--draw", draw).output
    assert drawbreak("dead-letters", "show", "7").exit_code == 1
    assert "never discarded" in drawbreak("dead-letters", "discard", "1", "--reason", "old").output


def test_what_stands_in_brackets_is_listed_as_it_is(lottery: Lottery, drawbreak) -> None:  # type: ignore[no-untyped-def]
    with lottery.res.sessions.begin() as session:
        values = {"kind": "message", "queue": "default", "task": "[/x] [red]", "body": b"", "error": "[null]"}
        session.execute(insert(DeadLetter).values(values))
    listed = drawbreak("dead-letters", "list")
    assert listed.exit_code == 0
    assert "[/x]" in listed.output
    assert "[null]" in listed.output


def test_a_tasks_letter_is_replayed_or_discarded_with_a_reason(lottery: Lottery, drawbreak) -> None:  # type: ignore[no-untyped-def]
    with lottery.res.sessions.begin() as session:
        for place in range(52):
            values = {"kind": "task", "queue": "settle", "task": "draws.seal", "arguments": [str(place)], "error": "no"}
            session.execute(insert(DeadLetter).values(values))
    assert "there are more: --before 3" in drawbreak("dead-letters", "list").output
    older = drawbreak("dead-letters", "list", "--before", "3", "--kind", "task").output
    assert (older.count("draws.seal"), "there are more" in older) == (2, False)
    assert drawbreak("dead-letters", "replay", "1").output == "1: replayed\n"
    assert drawbreak("dead-letters", "discard", "2").exit_code == 2, "not without a reason"
    for reason in ("", " ", "\033[2J", "\udcff"):
        assert drawbreak("dead-letters", "discard", "2", "--reason", reason).exit_code == 2
    for _ in range(2):
        assert drawbreak("dead-letters", "discard", "2", "--reason", "an old draw").output == "2: discarded\n"
    mixed = drawbreak("dead-letters", "replay", "2", "3", "99")
    assert mixed.exit_code == 1
    assert mixed.output.splitlines() == [
        "2: not replayed: The letter is discarded.",
        "3: replayed",
        "99: not replayed: there is no such dead letter",
    ]
    shown = json.loads(drawbreak("dead-letters", "show", "2").output)
    assert (shown["status"], shown["reason"], shown["ended_by"]) == ("discarded", "an old draw", None)
    with lottery.res.sessions() as session:
        actors = session.scalars(select(AuditRow.actor).where(AuditRow.object == "dead_letter:2")).all()
        assert session.scalar(select(func.count()).select_from(Retry)) == 2
    assert [actor is not None and actor.endswith("(command line)") for actor in actors] == [True]
    annul = drawbreak("dead-letters", "annul", "2")
    assert (annul.exit_code, "POST /v1/dead-letters/2/annul" in annul.output) == (1, True)


def test_a_receipt_proves_itself_and_an_altered_one_does_not(lottery: Lottery, drawbreak) -> None:  # type: ignore[no-untyped-def]
    receipt = lottery.sell(lottery.draw(), lottery.person(pesos=100), "s046:10", "r123:5")
    lottery.res.gate._client.flushall()  # the ticket is in no store any more
    assert "GENUINE" in drawbreak("check-receipt", "-", stdin=json.dumps(receipt)).output
    receipt["lines"][0]["number"] = "047"
    altered = drawbreak("check-receipt", "-", stdin=json.dumps(receipt))
    assert (altered.exit_code, "NOT OURS" in altered.output) == (1, True)
    assert drawbreak("check-receipt", "-", stdin="[]").exit_code == 1


def test_a_draw_that_stopped_goes_on_once_the_difference_is_mended(
    lottery: Lottery,
    database: Database,
    drawbreak,  # type: ignore[no-untyped-def]
) -> None:
    agent, draw = lottery.person(pesos=100), lottery.draw()
    lottery.sell(draw, agent)
    persist(lottery.res, draw)
    with owner(database) as connection:
        connection.execute("UPDATE positions SET serial = 0, sub = 1")
        connection.execute("UPDATE ticket_lines SET number = '047'")
    with pytest.raises(RuntimeError):
        persist(lottery.res, draw)
    with owner(database) as connection:
        connection.execute("UPDATE ticket_lines SET number = '046'")
    assert "is not the ticket 1 of the database" in drawbreak("draws", "resume", draw).output
    reconcile(lottery.res)
    assert "had not stopped" in drawbreak("draws", "resume", draw).output
    assert reconcile(lottery.res), "the first call may have died before the gate learnt of it"
    assert lottery.sell(draw, agent)["serial"] == 2
    persist(lottery.res, draw)
    with lottery.res.sessions() as session:
        assert session.scalar(text("SELECT balance FROM wallets")) == 8_000
    assert drawbreak("draws", "resume", "3D-20300101-1400").exit_code == 1


def test_a_date_is_cancelled(lottery: Lottery, drawbreak) -> None:  # type: ignore[no-untyped-def]
    assert drawbreak("draws", "cancel-date", "3D", "2026-12-25", "--reason", "Christmas").exit_code == 0
    with lottery.res.sessions() as session:
        assert session.scalar(select(CancelledDate.reason)) == "Christmas"


def test_a_witness_slot_of_a_host_that_is_gone_is_forgotten(lottery: Lottery, drawbreak) -> None:  # type: ignore[no-untyped-def]
    with lottery.res.sessions.begin() as session:
        session.execute(text("INSERT INTO witness_slots (slot) VALUES ('gone')"))
    assert "gone" in drawbreak("witnesses", "list").output
    assert drawbreak("witnesses", "forget", "gone").exit_code == 0
    assert "gone" not in drawbreak("witnesses", "list").output
    assert drawbreak("witnesses", "forget", "gone").exit_code == 1
