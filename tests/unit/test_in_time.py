"""Answers that must be there within a time: given, refused, too late, and too many of them."""

from __future__ import annotations

import threading
from contextlib import suppress

import pytest

from runtime.in_time import InTime


def test_what_is_given_or_raised_in_time_reaches_the_caller() -> None:
    ask = InTime(seconds=60, at_once=1)
    assert [ask(lambda: "first"), ask(lambda: "second")] == ["first", "second"]
    with pytest.raises(ZeroDivisionError):
        ask(lambda: 1 // 0)
    assert ask(threading.current_thread) is not threading.current_thread()


def test_whoever_hangs_is_left_behind_and_bars_the_way_until_he_ends() -> None:
    ask, go_on = InTime(seconds=0.05, at_once=1), threading.Event()
    asked: list[str] = []
    with pytest.raises(TimeoutError):
        ask(go_on.wait)
    with pytest.raises(TimeoutError):
        ask(lambda: asked.append("while another hangs"))
    assert asked == []
    go_on.set()
    while not asked:
        with suppress(TimeoutError):
            ask(lambda: asked.append("afterwards"))
    assert set(asked) == {"afterwards"}
