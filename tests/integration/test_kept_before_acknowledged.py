"""Real workers on a real broker: whatever becomes of a task, it is kept in PostgreSQL before the broker forgets it.

The tests that take PostgreSQL `away` do it at the moment when something is due to be kept. They fail if keeping and
acknowledging are swapped.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from intake.doorbell import AGAIN
from tests.integration.working import Ground, kill

pytestmark = [pytest.mark.faults, pytest.mark.long, pytest.mark.timeout(240)]


def test_a_passing_failure_is_tried_again_until_it_passes(ground: Ground) -> None:
    ground.start()
    ground.send("test.fail", "passing")
    ground.wait_for(lambda: [row.attempts for row in ground.rows("retries")] == [1])
    ground.send("test.fail", "passing")  # held back, and acknowledged
    ground.wait_for(lambda: ground.at_broker() == 0)
    assert ground.runs() == 1
    ground.wait_for(lambda: [row.attempts for row in ground.rows("retries")] == [3], hurrying=True)
    [row] = ground.rows("retries")
    assert (row.task, row.arguments, row.queue) == ("test.fail", ["passing"], "default")
    assert "this passes" in row.traceback
    ground.flag("well", True)
    ground.wait_for(lambda: ground.rows("retries") == [], hurrying=True)
    assert ground.rows("dead_letters") == []


def test_a_passing_failure_that_does_not_pass_is_a_dead_letter_and_ends_by_itself_when_it_does(ground: Ground) -> None:
    ground.start()
    ground.send("test.fail", "passing")
    letter = ground.letter(hurrying=True)
    assert (letter.status, letter.attempts, letter.error) == ("waiting", 8, "RuntimeError: this passes")
    assert ground.runs() == 8
    ground.flag("well", True)
    ground.send("test.fail", "passing")  # it is held back …
    ground.wait_for(lambda: ground.at_broker() == 0)
    assert ground.runs() == 8
    ground.send("test.fail", "passing", headers={AGAIN: True})  # … unless it is time again
    ground.wait_for(lambda: [letter.status for letter in ground.rows("dead_letters")] == ["replayed"])


def test_named_arguments_are_the_same_step(ground: Ground) -> None:
    ground.start()
    ground._publisher.send_task("test.fail", kwargs={"way": "permanent"}, queue="default")
    letter = ground.letter()
    assert (letter.task, letter.arguments) == ("test.fail", ["permanent"])


@pytest.mark.parametrize("arguments", [(), ("permanent", "and", "more"), ("nonsense",)])
def test_wrong_arguments_are_a_dead_letter_at_once(ground: Ground, arguments: tuple[str, ...]) -> None:
    ground.start()
    ground.send("test.fail", *arguments)
    letter = ground.letter()
    assert (letter.kind, letter.arguments, letter.attempts) == ("task", list(arguments), 1)
    assert letter.error.startswith(("TypeError", "KeyError"))


def test_a_tick_that_is_held_back_or_stale_is_acknowledged(ground: Ground) -> None:
    ground.send("test.fail", "away", expires=0.5)
    time.sleep(0.7)
    ground.start()
    ground.wait_for(lambda: ground.at_broker() == 0)
    assert ground.runs() == 0
    for _ in range(3):
        ground.send("test.fail", "away", expires=30)
    ground.wait_for(lambda: ground.at_broker() == 0)
    assert ground.runs() == 1
    ground.flag("well", True)
    ground.wait_for(lambda: ground.rows("retries") == [], hurrying=True)


def test_without_postgresql_a_message_is_neither_lost_nor_acknowledged(ground: Ground, away: Callable[[], Any]) -> None:
    ground.start()
    with away():
        ground.send("test.fail", "away")
        ground.wait_for(lambda: ground.runs() > 0)
        ground.stays_at_broker()
    ground.wait_for(lambda: ground.rows("retries"))
    ground.wait_for(lambda: ground.at_broker() == 0)


@pytest.mark.parametrize("way", ["permanent", "passing"])
def test_postgresql_goes_away_when_a_failure_is_due_to_be_kept(
    ground: Ground, away: Callable[[], Any], way: str
) -> None:
    """The message may even expire meanwhile: it was taken up in time."""
    ground.start()
    ground.flag("wait", True)
    ground.send("test.fail", way, expires=30)
    ground.wait_for(ground.runs)
    with away():
        ground.flag("wait", False)
        ground.stays_at_broker()
    kept = ground.wait_for(lambda: ground.rows("dead_letters") + ground.rows("retries"))
    ground.wait_for(lambda: ground.at_broker() == 0)
    assert [(row.task, row.arguments, row.attempts) for row in kept] == [("test.fail", [way], 1)]
    assert ground.runs() == 1


def test_a_message_that_waits_for_postgresql_keeps_no_other_from_its_turn(
    ground: Ground, away: Callable[[], Any]
) -> None:
    ground.start()
    ground.flag("wait", True)
    ground.send("test.fail", "permanent")
    ground.wait_for(ground.runs)
    with away():
        ground.flag("wait", False)
        time.sleep(1)
        ground.send("test.fail", "succeed")
        ground.wait_for(lambda: ground.runs() == 2)
        ground.wait_for(lambda: ground.at_broker() == 1)
    assert ground.letter().arguments == ["permanent"]


# ── tasks that take their process along ─────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("way", ["kill", "leave"])
def test_a_message_that_kills_its_worker_process_is_a_dead_letter_after_three_attempts(
    ground: Ground, way: str
) -> None:
    ground.start()
    ground.send("test.fail", way)
    letter = ground.letter(hurrying=True)
    assert (letter.kind, letter.arguments, letter.attempts) == ("task", [way], 3)
    assert letter.error.startswith("WorkerLostError" if way == "kill" else "SystemExit")
    assert ground.runs() == 3
    ground.send("test.fail", "succeed")
    ground.wait_for(lambda: ground.runs() == 4)


def test_the_same_with_postgresql_away_at_that_moment(ground: Ground, away: Callable[[], Any]) -> None:
    ground.start()
    for killed in range(3):
        ground.flag("wait", True)
        if not killed:
            ground.send("test.fail", "kill")
        ground.wait_for(partial(ground.has_run, killed + 1), hurrying=killed > 0)
        # Other messages than the one that is worked on would confuse the count.
        ground.wait_for(lambda: ground.at_broker() == 1)
        with away():
            ground.flag("wait", False)
            ground.stays_at_broker(8)
        ground.wait_for(lambda: ground.at_broker() == 0)
    letter = ground.letter()
    assert (letter.arguments, letter.attempts) == (["kill"], 3)
    assert ground.runs() == 3


def test_a_task_over_its_hard_limit_is_kept(ground: Ground, away: Callable[[], Any]) -> None:
    ground.start()
    ground.send("test.fail", "ignore", time_limit=2, soft_time_limit=1)
    ground.wait_for(ground.runs)
    with away():
        ground.stays_at_broker(7)
    ground.wait_for(lambda: ground.at_broker() == 0)
    [row] = ground.rows("retries")
    assert (row.arguments, row.attempts, row.losses) == (["ignore"], 1, 1)
    assert row.error.startswith("TimeLimitExceeded")


def test_a_task_over_its_soft_limit_is_kept(ground: Ground) -> None:
    ground.start()
    ground.send("test.fail", "hang", time_limit=60, soft_time_limit=1)
    [row] = ground.wait_for(lambda: ground.rows("retries"))
    assert (row.arguments, row.attempts, row.losses) == (["hang"], 1, 0)
    ground.wait_for(lambda: ground.at_broker() == 0)


def test_an_orderly_stop_counts_against_nobody(ground: Ground) -> None:
    worker = ground.start()
    ground.send("test.fail", "hang")
    ground.wait_for(ground.runs)
    worker.terminate()
    worker.wait(30)
    assert ground.at_broker() == 1
    assert ground.rows("retries") == ground.rows("dead_letters") == []


@pytest.mark.parametrize("at", ["work", "keeping", "acknowledging"])
def test_a_killed_worker_loses_nothing(ground: Ground, away: Callable[[], Any], at: str) -> None:
    """The whole worker, as `kill -9` does it: the broker gives what is not acknowledged to the next one."""
    worker = ground.start(visibility_s=5)
    ground.flag("wait", True)
    ground.send("test.fail", "permanent")
    ground.wait_for(ground.runs)
    if at == "keeping":
        with away():
            ground.flag("wait", False)
            time.sleep(2)
            kill(worker)
    elif at == "acknowledging":
        worker.send_signal(signal.SIGSTOP)
        ground.flag("wait", False)
        ground.wait_for(lambda: ground.rows("dead_letters"))
    kill(worker)
    assert ground.at_broker() == 1
    (ground.folder / "wait").unlink(missing_ok=True)
    ground.start(visibility_s=5)
    letter = ground.letter()
    assert (letter.arguments, letter.attempts) == (["permanent"], 1)
    assert ground.runs() == (1 if at == "acknowledging" else 2)
