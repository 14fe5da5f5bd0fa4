"""What happened when, said at once and kept."""

from __future__ import annotations

import threading
import time
from collections import Counter


class Timeline:
    """Lines with the seconds since the beginning. From several threads."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.counts: Counter[str] = Counter()  # of what was broken, by kind and target
        self._began = time.time()
        self._lock = threading.Lock()

    def begin(self) -> float:
        """Counts from now on; seconds since 1970."""
        self._began = time.time()
        return self._began

    def note(self, what: str, *, count: str = "") -> None:
        with self._lock:
            line = f"{time.time() - self._began:7.1f} s  {what}"
            self.lines.append(line)
            if count:
                self.counts[count] += 1
            print(line, flush=True)
