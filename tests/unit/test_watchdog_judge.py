"""When a worker counts as deaf: looks one after another, with seconds of a clock that the test turns."""

from __future__ import annotations

from intake.records import Position
from workers.watchdog import Idleness, Judge

A, B = "3D-20260302-1400", "3D-20260302-1700"


def at(serial: int) -> Position:
    return Position(serial, 0)


def test_time_runs_while_a_journal_waits_and_the_worker_takes_nothing_up() -> None:
    judge = Judge()
    assert judge.look(100, {A: at(5)}, taken=7) == (0, 0)
    assert judge.look(104, {A: at(5)}, taken=7) == (4, 4)
    assert judge.look(108, {A: at(5), B: at(1)}, taken=7) == (8, 8)


def test_a_position_that_moved_begins_it_anew_whichever_draw_it_is() -> None:
    judge = Judge()
    judge.look(100, {A: at(5), B: at(1)}, taken=7)
    assert judge.look(110, {A: at(5), B: at(2)}, taken=7) == (0, 0)
    assert judge.look(115, {A: at(5)}, taken=7) == (0, 0), "B has been stored to its end"
    assert judge.look(120, {A: at(5)}, taken=7) == (5, 5)


def test_a_worker_that_takes_something_up_is_not_deaf_though_the_journal_stands_still() -> None:
    judge = Judge()
    judge.look(100, {A: at(5)}, taken=7)
    assert judge.look(110, {A: at(5)}, taken=8) == (10, 0)
    assert judge.look(115, {A: at(5)}, taken=8) == (15, 5)


def test_nothing_waits_nothing_counts() -> None:
    judge = Judge()
    judge.look(100, {A: at(5)}, taken=7)
    assert judge.look(110, {}, taken=7) == (0, 0)
    assert judge.look(120, {A: at(5)}, taken=7) == (0, 0)
    assert judge.look(125, {A: at(5)}, taken=7) == (5, 5)


def test_what_was_forgotten_does_not_count() -> None:
    judge = Judge()
    judge.look(100, {A: at(5)}, taken=7)
    judge.forget()
    assert judge.still({A: at(5)}) == []
    assert judge.look(200, {A: at(5)}, taken=7) == (0, 0)
    assert judge.still({A: at(5), B: at(1)}) == [A]


def test_messages_that_lie_there_count_until_the_worker_takes_something_up() -> None:
    idleness = Idleness()
    assert idleness.look(100, messages=1, taken=7) == 0
    assert idleness.look(104, messages=3, taken=7) == 4
    assert idleness.look(108, messages=3, taken=8) == 0, "it took one"
    assert idleness.look(112, messages=3, taken=8) == 4


def test_a_worker_for_whom_nothing_lies_there_may_idle_for_ever() -> None:
    idleness = Idleness()
    idleness.look(100, messages=1, taken=7)
    assert idleness.look(110, messages=0, taken=7) == 0
    assert idleness.look(200, messages=1, taken=7) == 0, "it came just now"
    idleness.forget()
    assert idleness.look(300, messages=1, taken=7) == 0
