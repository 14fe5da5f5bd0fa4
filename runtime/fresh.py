"""Answers that may be shared for a moment: made once, then given to whoever asks the same within that time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")


class Fresh:
    """At most `most` answers, none older than `seconds` when it is given. Safe among threads."""

    def __init__(self, seconds: float, most: int) -> None:
        self._seconds, self._most = seconds, most
        self._kept: dict[Hashable, tuple[float, Any]] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The answer for the key. What `make` raises is not kept; two at once may make it twice."""
        asked = time.monotonic()
        kept = self._kept.get(key)
        if kept is not None and asked - kept[0] < self._seconds:
            found: T = kept[1]
            return found
        answer = make()
        with self._lock:
            self._kept.pop(key, None)
            while len(self._kept) >= self._most:
                del self._kept[next(iter(self._kept))]  # the oldest
            self._kept[key] = asked, answer
        return answer
