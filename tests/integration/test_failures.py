"""How a step's failures are counted, spaced and ended, by the rows that say so."""

from __future__ import annotations

import threading
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
import pytest
import redis
import sqlalchemy.exc
from kombu.exceptions import OperationalError as BrokerAway
from sqlalchemy import Row, text

from actions import failures
from actions.failure_kinds import AWAY, LOST, PASSING, PERMANENT, Failure, Message, NotKept, failure_of, kind_of
from actions.failures import HeldBack, attempt, due, held_back, note_failure, note_message, note_success, pause_s
from actions.store_records import Differs, DrainStopped
from intake.gate_errors import Unreconciled
from models.session import make_sessions
from rules.errors import DatabaseUnavailable, IntakeUnavailable, NotFound
from tasks.persist import persist
from tasks.retries import ring_due
from tasks.settle import OutOfBalance
from tasks.sweep import sweep_journals
from tasks.void_draw import SumsDiffer
from tests.integration.after_sales import as_owner
from tests.integration.conftest import Lottery

TASK, ARGUMENTS = "draws.settle", ("3D-20260301-1400",)


def failure(kind: str = PASSING, arguments: tuple[Any, ...] = ARGUMENTS, error: str = "Broken: no") -> Failure:
    return Failure(TASK, arguments, "settle", error, "Traceback …", kind)


def rows(lottery: Lottery, table: str) -> list[Row[Any]]:
    with lottery.res.sessions() as session:
        return list(session.execute(text(f"SELECT *, now() AS now FROM {table}")).all())


def change(lottery: Lottery, statement: str) -> None:
    with lottery.res.sessions.begin() as session:
        session.execute(text(statement))


def time_passes(lottery: Lottery) -> None:
    """As if every pause were over."""
    change(lottery, "UPDATE retries SET due_at = now() - interval '1 second'")
    change(lottery, "UPDATE dead_letters SET last_at = now() - interval '61 seconds'")


def fail_with(error: Exception) -> Callable[[], int]:
    def run() -> int:
        raise error

    return run


def tried(lottery: Lottery, run: Callable[[], int], *, again: bool = False) -> int:
    return attempt(lottery.res.sessions, TASK, ARGUMENTS, "settle", run, again=again)


def sql_error(kind: type[Exception], state: str | None) -> Exception:
    original = psycopg.Error()
    original.sqlstate = state
    made: Exception = kind("SELECT 1", {}, original)  # type: ignore[call-arg]
    return made


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (IntakeUnavailable(), AWAY),
        (DatabaseUnavailable(), AWAY),
        (Unreconciled("another server answers"), AWAY),
        (sqlalchemy.exc.TimeoutError("no connection in the pool is free"), AWAY),
        (sql_error(sqlalchemy.exc.OperationalError, None), AWAY),
        (sql_error(sqlalchemy.exc.InterfaceError, None), AWAY),
        (sql_error(sqlalchemy.exc.OperationalError, "57P01"), AWAY),  # shut down
        (sql_error(sqlalchemy.exc.OperationalError, "53100"), AWAY),  # disk full
        (sql_error(sqlalchemy.exc.InternalError, "25006"), AWAY),  # read only
        (redis.ConnectionError(), AWAY),
        (redis.TimeoutError(), AWAY),
        (BrokerAway(), AWAY),
        (ConnectionRefusedError(), AWAY),
        (NotKept(failure(), "no"), AWAY),
        (TypeError(), PERMANENT),
        (ValueError(), PERMANENT),
        (KeyError("draw"), PERMANENT),
        (AssertionError(), PERMANENT),
        (NotFound(), PERMANENT),
        (Differs("two records"), PERMANENT),
        (OutOfBalance("sums"), PERMANENT),
        (SumsDiffer("sums"), PERMANENT),
        (sql_error(sqlalchemy.exc.ProgrammingError, "42P01"), PERMANENT),
        (sql_error(sqlalchemy.exc.DataError, "22003"), PERMANENT),
        (sql_error(sqlalchemy.exc.IntegrityError, "23505"), PERMANENT),
        (sql_error(sqlalchemy.exc.OperationalError, "40P01"), PASSING),  # deadlock
        (sql_error(sqlalchemy.exc.OperationalError, "57014"), PASSING),  # took too long
        (DrainStopped("twelve of thirteen"), PASSING),
        (RuntimeError(), PASSING),
        (OSError(), PASSING),
    ],
    ids=repr,
)
def test_what_kind_of_failure_an_error_is(error: Exception, kind: str) -> None:
    assert kind_of(error) == kind
    assert failure_of(error, TASK, ARGUMENTS, "settle").kind == kind


def test_pauses_double_up_to_a_bound_and_differ() -> None:
    for failed in range(1, 1_000):
        longest = min(60.0, 2.0 ** (failed - 1))
        pauses = [pause_s(failed, 60) for _ in range(20)]
        assert longest / 2 <= min(pauses) < max(pauses) <= longest


def test_a_passing_failure_is_tried_again_with_growing_pauses_and_then_a_dead_letter(lottery: Lottery) -> None:
    for failed in range(1, failures.TRIES_MAX):
        with pytest.raises(RuntimeError):
            tried(lottery, fail_with(RuntimeError("lost its way")))
        [row] = rows(lottery, "retries")
        assert (row.task, row.arguments, row.queue) == (TASK, list(ARGUMENTS), "settle")
        assert (row.attempts, row.error) == (failed, "RuntimeError: lost its way")
        assert "fail_with" in row.traceback or "run" in row.traceback
        longest = min(60, 2 ** (failed - 1))
        assert longest / 2 <= (row.due_at - row.last_at).total_seconds() <= longest
        with pytest.raises(HeldBack):
            tried(lottery, fail_with(AssertionError("it was run")))
        first_at = row.first_at
        time_passes(lottery)
    with pytest.raises(RuntimeError):
        tried(lottery, fail_with(RuntimeError("lost its way")))
    assert rows(lottery, "retries") == []
    [letter] = rows(lottery, "dead_letters")
    assert (letter.kind, letter.status, letter.task, letter.arguments) == ("task", "waiting", TASK, list(ARGUMENTS))
    assert (letter.queue, letter.attempts) == ("settle", failures.TRIES_MAX)
    assert (letter.error, letter.first_at) == ("RuntimeError: lost its way", first_at)
    assert "RuntimeError" in letter.traceback
    assert letter.last_at > letter.first_at


def test_a_permanent_failure_is_a_dead_letter_at_once(lottery: Lottery) -> None:
    with pytest.raises(KeyError):
        tried(lottery, fail_with(KeyError("result")))
    assert rows(lottery, "retries") == []
    [letter] = rows(lottery, "dead_letters")
    assert (letter.status, letter.attempts, letter.error) == ("waiting", 1, "KeyError: 'result'")


def test_a_part_that_is_away_is_waited_for_without_end_and_not_for_long(lottery: Lottery) -> None:
    for failed in range(1, 3 * failures.TRIES_MAX):
        assert note_failure(lottery.res.sessions, failure(AWAY)) == "retry"
        [row] = rows(lottery, "retries")
        assert row.attempts == failed
        assert (row.due_at - row.last_at).total_seconds() <= failures.SHORT_PAUSE_MAX_S
    # … and none of that counts against the step itself.
    for _ in range(failures.TRIES_MAX - 1):
        assert note_failure(lottery.res.sessions, failure(PASSING)) == "retry"
    assert note_failure(lottery.res.sessions, failure(PASSING)) == "dead"


def test_what_kills_its_process_is_a_dead_letter_after_three_times(lottery: Lottery) -> None:
    outcomes = [note_failure(lottery.res.sessions, failure(kind)) for kind in (LOST, AWAY, PASSING, LOST, LOST)]
    assert outcomes == ["retry", "retry", "retry", "retry", "dead"]
    [letter] = rows(lottery, "dead_letters")
    assert letter.attempts == 5


def test_a_step_without_arguments_serves_all_and_is_not_held_back_for_long(lottery: Lottery) -> None:
    for _ in range(failures.TRIES_MAX - 1):
        assert note_failure(lottery.res.sessions, failure(PASSING, arguments=())) == "retry"
        [row] = rows(lottery, "retries")
        assert (row.due_at - row.last_at).total_seconds() <= failures.SHORT_PAUSE_MAX_S
    assert note_failure(lottery.res.sessions, failure(PASSING, arguments=())) == "dead"
    assert held_back(lottery.res.sessions, TASK, ())
    change(lottery, "UPDATE dead_letters SET last_at = now() - interval '6 seconds'")
    assert held_back(lottery.res.sessions, TASK, ()) is False


def test_a_dead_step_is_tried_once_a_minute_and_adds_to_its_letter(lottery: Lottery) -> None:
    note_failure(lottery.res.sessions, failure(PERMANENT))
    with pytest.raises(HeldBack):
        tried(lottery, fail_with(AssertionError("it was run")))
    time_passes(lottery)
    with pytest.raises(ValueError, match="another"):
        tried(lottery, fail_with(ValueError("another")))
    with pytest.raises(HeldBack):
        tried(lottery, fail_with(AssertionError("it was run")))
    [letter] = rows(lottery, "dead_letters")
    assert (letter.attempts, letter.error) == (2, "ValueError: another")
    # While a part is away, the reason why it is dead stays.
    time_passes(lottery)
    assert note_failure(lottery.res.sessions, failure(AWAY, error="away")) == "dead"
    [letter] = rows(lottery, "dead_letters")
    assert (letter.attempts, letter.error) == (3, "ValueError: another")
    assert rows(lottery, "retries") == []


def test_success_ends_the_retry_and_the_letter(lottery: Lottery) -> None:
    note_failure(lottery.res.sessions, failure(PASSING))
    time_passes(lottery)
    assert tried(lottery, lambda: 7) == 7
    assert rows(lottery, "retries") == []
    note_failure(lottery.res.sessions, failure(PERMANENT))
    time_passes(lottery)
    assert tried(lottery, lambda: 8) == 8
    [letter] = rows(lottery, "dead_letters")
    assert (letter.status, letter.ended_by, letter.end_reason) == ("replayed", None, failures.BY_ITSELF)
    assert letter.ended_at is not None
    # What is over stays over: the next failure gets a letter of its own.
    note_failure(lottery.res.sessions, failure(PERMANENT))
    assert [letter.status for letter in rows(lottery, "dead_letters")] == ["replayed", "waiting"]


def test_a_message_that_says_again_is_not_held_back(lottery: Lottery) -> None:
    note_failure(lottery.res.sessions, failure(PERMANENT))
    note_failure(lottery.res.sessions, failure(PASSING, arguments=("other",)))
    assert tried(lottery, lambda: 1, again=True) == 1
    assert held_back(lottery.res.sessions, TASK, ("other",))
    assert held_back(lottery.res.sessions, TASK, ARGUMENTS) is None


def test_two_that_fail_at_once_make_one_row(lottery: Lottery) -> None:
    def several(kind: str) -> None:
        begun = threading.Barrier(8)

        def fail() -> None:
            begun.wait()
            note_failure(lottery.res.sessions, failure(kind))

        threads = [threading.Thread(target=fail) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    several(AWAY)
    [row] = rows(lottery, "retries")
    assert row.attempts == 8
    several(PERMANENT)
    assert rows(lottery, "retries") == []
    [letter] = rows(lottery, "dead_letters")
    assert letter.attempts == 16


def test_without_postgresql_a_failure_is_not_kept_and_says_so(lottery: Lottery) -> None:
    away = make_sessions("postgresql+psycopg://nobody@127.0.0.1:1/nothing", pool_size=1)
    with pytest.raises(NotKept) as raised:
        attempt(away, TASK, ARGUMENTS, "settle", fail_with(ValueError("a bad draw")))
    assert raised.value.failure[:5] == (TASK, ARGUMENTS, "settle", "ValueError: a bad draw", raised.value.failure[4])
    assert raised.value.failure.kind == PERMANENT
    assert attempt(away, TASK, ARGUMENTS, "settle", lambda: 3) == 3  # not to be seen is no reason not to work


def nested(depth: int) -> list[Any]:
    return [nested(depth - 1)] if depth else []


ODD = {
    "nul": "nul \0",
    "half": "half \ud800",
    "nan": float("nan"),
    "long": "long" * 1_000,
    # What kombu makes of JSON that somebody else wrote.
    "decimal": Decimal("1.5"),
    "uuid": UUID(int=7),
    "bytes": b"\0",
    # What no answer could show.
    "integer": 10**30,
    "deep": nested(300),
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD.keys())
def test_arguments_that_no_index_holds_make_a_message_of_it(lottery: Lottery, odd: Any) -> None:
    assert held_back(lottery.res.sessions, TASK, [odd]) is None
    with pytest.raises(RuntimeError):
        attempt(lottery.res.sessions, TASK, [odd], "settle", fail_with(RuntimeError(f"no such draw {odd}")))
    [letter] = rows(lottery, "dead_letters")
    assert (letter.kind, letter.task, letter.queue) == ("message", TASK, "settle")
    assert letter.body.startswith(b"[[")
    assert letter.error.startswith("RuntimeError: no such draw")
    assert rows(lottery, "retries") == []


def test_a_message_that_comes_again_is_one_letter(lottery: Lottery) -> None:
    sessions = lottery.res.sessions
    for _ in range(3):
        note_message(sessions, Message("default", None, b"\0\xff{", "DecodeError: no \0"))
    note_message(sessions, Message("persist", None, b"\0\xff{", "DecodeError: no"))
    found = [(letter.queue, letter.attempts, letter.body) for letter in rows(lottery, "dead_letters")]
    assert found == [("default", 3, b"\0\xff{"), ("persist", 1, b"\0\xff{")]


def test_what_is_due_is_rung_for_once_and_again_when_the_ring_was_lost(lottery: Lottery) -> None:
    sessions = lottery.res.sessions
    for number in range(5):
        note_failure(sessions, failure(PASSING, arguments=(str(number), number)))
    assert due(sessions, 10) == []
    time_passes(lottery)
    first, second = due(sessions, 3), due(sessions, 3)
    assert sorted(first + second) == [(TASK, [str(number), number]) for number in range(5)]
    assert due(sessions, 10) == []
    for row in rows(lottery, "retries"):
        assert 29 < (row.due_at - row.now).total_seconds() <= 30
    time_passes(lottery)
    lottery.rings.sent.clear()
    assert ring_due(lottery.res) == 5
    assert ring_due(lottery.res) == 0


def test_a_draw_that_cannot_be_drained_is_held_back_and_the_others_are_not(lottery: Lottery) -> None:
    agent = lottery.person(pesos=10_000)
    bad, good = lottery.draw(minute=1), lottery.draw(minute=2)
    with as_owner(lottery.res) as connection:
        connection.execute("ALTER TABLE ticket_lines ADD CONSTRAINT not_300 CHECK (number <> '300')")
    for _ in range(12):  # more than are condemned in one batch
        lottery.sell(bad, agent, "s300:1")
    for _ in range(2):  # the second time it is left out
        lottery.sell(good, agent, "s301:1")
        sweep_journals(lottery.res)
    [row] = rows(lottery, "retries")
    assert (row.task, row.arguments, row.queue, row.attempts) == ("tickets.persist", [bad], "persist", 1)
    assert len(rows(lottery, "tickets")) == 2
    with as_owner(lottery.res) as connection:
        connection.execute("ALTER TABLE ticket_lines DROP CONSTRAINT not_300")
    time_passes(lottery)
    sweep_journals(lottery.res)
    assert len(rows(lottery, "tickets")) == 14
    assert rows(lottery, "retries") == []


def test_a_drain_that_stores_something_is_not_what_killed_its_process(lottery: Lottery) -> None:
    """It goes on for as long as people buy: whoever kills workers then meets it every time."""
    draw, agent = lottery.draw(), lottery.rich_agent()
    killed = Failure("tickets.persist", (draw,), "persist", "WorkerLostError", None, LOST)
    for _ in range(failures.LOSSES_MAX):
        assert note_failure(lottery.res.sessions, killed) == "retry"
        lottery.sell(draw, agent)
        assert persist(lottery.res, draw) > 0
        assert rows(lottery, "retries") == []
    for _ in range(failures.LOSSES_MAX):
        note_failure(lottery.res.sessions, killed)
    lottery.sell(draw, agent)
    persist(lottery.res, draw)
    assert [letter.status for letter in rows(lottery, "dead_letters")] == ["replayed"]


def test_two_sweeps_at_once_ring_once(lottery: Lottery) -> None:
    for number in range(20):
        note_failure(lottery.res.sessions, failure(PASSING, arguments=(number,)))
    time_passes(lottery)
    found: list[tuple[str, list[Any]]] = []
    threads = [threading.Thread(target=lambda: found.extend(due(lottery.res.sessions, 5))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found += due(lottery.res.sessions, 20)
    assert sorted(found) == [(TASK, [number]) for number in range(20)]


def test_success_at_the_moment_of_a_failure_ends_one_way_or_the_other(lottery: Lottery) -> None:
    """Nothing is locked for ever, and there is never a retry beside its letter."""
    threads = [
        threading.Thread(target=call)
        for _ in range(6)
        for call in (
            lambda: note_failure(lottery.res.sessions, failure(PERMANENT)),
            lambda: note_success(lottery.res.sessions, TASK, ARGUMENTS),
        )
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert rows(lottery, "retries") == []
    assert sum(letter.status == "waiting" for letter in rows(lottery, "dead_letters")) <= 1
