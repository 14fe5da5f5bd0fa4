"""A circuit breaker: a part that does not answer is not asked, so that nobody waits for it."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import structlog

from runtime.metrics import note_breaker_opened

# Calls that fail one after the other open it, too: when a busy part begins to hang, the answers that it gave before
# would keep the share down until the window has passed them.
IN_A_ROW = 5
# Fewer in a window say nothing of a part: one call that was slow on a busy machine must not turn away the next hundred.
FAILURES_MIN = 2
# While it is open somebody asks beside the callers: a part that was away for two seconds must not be gone for thirty.
PROBE_EVERY_S = 1.0

_log = structlog.get_logger()


class Refused(Exception):
    """The part is not asked: it has not been answering."""


class Rule(NamedTuple):
    """When a breaker opens, and for how long at the most."""

    window_s: float = 3.0
    failing_share: float = 0.5
    open_s: float = 30.0


class Breaker:
    """Opens when that share of the calls of a window fails (FAILURES_MIN at least), or some in a row; closes when a
    probe or a trial succeeds.

    `failed` says of an error whether the part failed to answer (True), answered (False), or was never asked (None).
    `probe` asks the part for something cheap, with a short timeout of its own, and raises if there is no answer.
    Safe to use from several threads.
    """

    def __init__(
        self, name: str, rule: Rule, *, failed: Callable[[Exception], bool | None], probe: Callable[[], object]
    ) -> None:
        self.name = name
        self._rule = rule
        self._failed = failed
        self._probe = probe
        self._lock = threading.Lock()
        self._ended: deque[tuple[float, bool]] = deque()  # (when, whether it failed) of the calls of the window
        self._failures = 0
        self._in_a_row = 0
        self._refuse_until: float | None = None  # None: closed
        self._openings = 0
        self._stopping = threading.Event()

    @property
    def is_open(self) -> bool:
        """Whether calls are refused, but for one in `open_s` seconds."""
        return self._refuse_until is not None

    @contextmanager
    def calling(self) -> Iterator[None]:
        """Around one call. Raises Refused without making it."""
        is_trial = self._admit()
        try:
            yield
        except Exception as error:
            self._note(self._failed(error), is_trial)
            raise
        self._note(False, is_trial)

    def stop(self) -> None:
        """Ends its thread, if one runs."""
        self._stopping.set()

    def _admit(self) -> bool:
        if self._refuse_until is None:
            return False
        with self._lock:
            if self._refuse_until is None:
                return False
            now = time.monotonic()
            if now < self._refuse_until:
                raise Refused(self.name)
            self._refuse_until = now + self._rule.open_s  # this call tries, the others are refused meanwhile
        return True

    def _note(self, failed: bool | None, is_trial: bool) -> None:
        if failed is None:
            return
        with self._lock:
            if is_trial and not failed:
                self._close()
            if self._refuse_until is None:
                self._count(failed)

    def _count(self, failed: bool) -> None:
        now = time.monotonic()
        self._ended.append((now, failed))
        self._failures += failed
        self._in_a_row = self._in_a_row + 1 if failed else 0
        while self._ended[0][0] <= now - self._rule.window_s:
            self._failures -= self._ended.popleft()[1]
        share = self._failures / len(self._ended)
        half_fail = self._failures >= FAILURES_MIN and share >= self._rule.failing_share
        if failed and (half_fail or self._in_a_row >= IN_A_ROW):
            self._open(now)

    def _open(self, now: float) -> None:
        self._refuse_until = now + self._rule.open_s
        self._openings += 1
        _log.warning("breaker_opened", part=self.name, failed=self._failures, calls=len(self._ended))
        note_breaker_opened(self.name)
        name, opening = f"probe of {self.name}", self._openings
        threading.Thread(target=self._probe_until_closed, args=(opening,), name=name, daemon=True).start()

    def _close(self) -> None:
        if self._refuse_until is not None:
            _log.warning("breaker_closed", part=self.name)
        self._refuse_until = None
        self._ended.clear()
        self._failures = self._in_a_row = 0

    def _probe_until_closed(self, opening: int) -> None:
        while not self._stopping.wait(PROBE_EVERY_S) and self.is_open and self._openings == opening:
            try:
                self._probe()
            except Exception:  # whatever the part's library raises: it is still away
                continue
            with self._lock:
                self._close()
