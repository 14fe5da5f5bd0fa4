"""Answers that may be shared for a moment: made once, then given to whoever asks the same within that time.

What is quick to make is kept for a short time, so that it is hardly ever old; what is slow takes no more than its share
of the processor, however many ask.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")

TIMES_ITS_MAKING = 20  # so long an answer is kept: it takes a twentieth of a processor at most


class Fresh:
    """At most `most` answers, none older than `seconds`, or TIMES_ITS_MAKING what it took to make, when it is given.
    Safe among threads."""

    def __init__(self, seconds: float, most: int) -> None:
        self.seconds = seconds
        self._most = most
        self._kept: dict[Hashable, tuple[float, Any]] = {}  # until when, and what
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The answer for the key. What `make` raises is not kept; two at once may make it twice."""
        asked = time.monotonic()
        kept = self._kept.get(key)
        if kept is not None and asked < kept[0]:
            found: T = kept[1]
            return found
        answer = make()
        until = asked + min(self.seconds, (time.monotonic() - asked) * TIMES_ITS_MAKING)
        with self._lock:
            self._kept.pop(key, None)
            while len(self._kept) >= self._most:
                del self._kept[next(iter(self._kept))]  # the oldest
            self._kept[key] = until, answer
        return answer
