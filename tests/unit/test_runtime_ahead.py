"""Reading ahead."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from runtime.ahead import ahead


def test_parts_come_in_their_order_and_end() -> None:
    assert list(ahead(iter([[1], [2, 3], []]))) == [[1], [2, 3], []]
    assert list(ahead(iter([]))) == []


def test_the_next_part_is_fetched_while_the_last_is_looked_at() -> None:
    fetched = threading.Event()

    def parts() -> Iterator[int]:
        yield 1
        fetched.set()
        yield 2

    read = ahead(parts())
    assert next(read) == 1
    assert fetched.wait(10)
    assert list(read) == [2]


def test_what_fetching_raises_comes_after_the_parts_before_it() -> None:
    def parts() -> Iterator[int]:
        yield 1
        raise ConnectionError("the server is gone")

    read = ahead(parts())
    assert next(read) == 1
    with pytest.raises(ConnectionError, match="the server is gone"):
        next(read)


def test_who_stops_early_leaves_no_thread_behind() -> None:
    before = threading.active_count()
    read = ahead(iter(range(10)))
    assert next(read) == 0
    read.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
