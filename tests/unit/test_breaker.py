"""When a part is not asked any more, and when it is asked again."""

from __future__ import annotations

import threading
import time
import uuid

import pytest

from runtime import breaker as breakers
from runtime.breaker import FAILURES_MIN, IN_A_ROW, Breaker, Refused, Rule

WAIT_S = 20


class Away(Exception):
    """The part did not answer."""


class Busy(Exception):
    """Nobody asked the part."""


class Part:
    """What a breaker stands before; its probe fails until `answers` is set."""

    def __init__(self, rule: Rule) -> None:
        self.answers = threading.Event()
        self.probes = 0
        self.name = uuid.uuid4().hex
        self.breaker = Breaker(self.name, rule, failed=self._failed, probe=self._probe)

    @staticmethod
    def _failed(error: Exception) -> bool | None:
        return None if isinstance(error, Busy) else isinstance(error, Away)

    def _probe(self) -> None:
        self.probes += 1
        if not self.answers.is_set():
            raise Away

    def call(self, error: type[Exception] | None = None) -> None:
        with self.breaker.calling():
            if error is not None:
                raise error

    def fail(self, error: type[Exception] = Away) -> None:
        with pytest.raises(error):
            self.call(error)

    def open(self) -> None:
        """With as few failures as it takes."""
        for _ in range(FAILURES_MIN):
            self.fail()
        assert self.breaker.is_open

    def probing(self) -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread.name.endswith(self.name)]

    def is_closed_in_time(self) -> bool:
        deadline = time.monotonic() + WAIT_S
        while self.breaker.is_open and time.monotonic() < deadline:
            time.sleep(0.01)
        return not self.breaker.is_open


@pytest.fixture
def part() -> Part:
    return Part(Rule(window_s=60, failing_share=0.5, open_s=60))


def test_it_opens_when_half_of_the_calls_of_its_window_have_failed(part: Part) -> None:
    for _ in range(2):
        part.call()
    for _ in range(4):
        part.call()
        part.fail()
    assert not part.breaker.is_open  # 4 of 10
    part.fail()
    assert not part.breaker.is_open  # 5 of 11
    part.fail()
    assert part.breaker.is_open  # 6 of 12


def test_failures_in_a_row_open_it_however_many_answers_came_before(part: Part) -> None:
    for _ in range(1000):
        part.call()
    for _ in range(IN_A_ROW):
        assert not part.breaker.is_open
        part.fail()
    assert part.breaker.is_open


def test_few_failures_do_not_open_it_though_nothing_else_was_asked(part: Part) -> None:
    for _ in range(FAILURES_MIN - 1):
        part.fail()
    assert not part.breaker.is_open
    part.fail()
    assert part.breaker.is_open


def test_what_failed_before_the_window_does_not_count() -> None:
    part = Part(Rule(window_s=0.05, failing_share=0.5, open_s=60))
    for _ in range(FAILURES_MIN - 1):
        part.fail()
        part.call()
    time.sleep(0.06)
    part.call()
    part.fail()  # half of all, and as many as it takes, but for those before
    assert not part.breaker.is_open


def test_while_it_is_open_nothing_is_asked(part: Part) -> None:
    part.open()
    with pytest.raises(Refused):
        part.call(AssertionError)


def test_errors_of_an_answering_part_and_of_one_that_nobody_asked_do_not_open_it(part: Part) -> None:
    for _ in range(IN_A_ROW * 2):
        part.fail(Busy)
        part.fail(ValueError)
    assert not part.breaker.is_open
    for _ in range(IN_A_ROW * 3):  # these are no answers either
        part.fail(Busy)
    for _ in range(IN_A_ROW):
        part.fail()
    assert part.breaker.is_open


def test_a_probe_closes_it_as_soon_as_the_part_answers(part: Part, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breakers, "PROBE_EVERY_S", 0.01)
    part.open()
    while part.probes < 3:
        time.sleep(0.01)
    assert part.breaker.is_open
    part.answers.set()
    assert part.is_closed_in_time()
    part.call()


def test_after_its_time_one_call_tries_and_the_others_are_refused() -> None:
    part = Part(Rule(window_s=60, failing_share=0.5, open_s=0.2))
    part.open()
    time.sleep(0.25)
    with part.breaker.calling(), pytest.raises(Refused):
        part.call()
    assert not part.breaker.is_open
    part.call()


def test_a_trial_that_fails_keeps_it_open() -> None:
    part = Part(Rule(window_s=60, failing_share=0.5, open_s=0.2))
    part.open()
    time.sleep(0.25)
    part.fail()
    with pytest.raises(Refused):
        part.call()


def test_an_answer_to_a_call_from_before_does_not_close_it(part: Part) -> None:
    with part.breaker.calling():
        part.open()
    assert part.breaker.is_open


def test_stopped_it_probes_no_more(part: Part, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breakers, "PROBE_EVERY_S", 0.01)
    part.open()
    (probing,) = part.probing()
    part.breaker.stop()
    probing.join(WAIT_S)
    assert not probing.is_alive()
    assert part.breaker.is_open
