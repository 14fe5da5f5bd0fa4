"""Asking a server that may hang for ever, and going on without its answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


class InTime:
    """Asks for answers that must be there within so many seconds.

    Who does not get one leaves a thread behind, which ends when the server answers or goes; there are never more than
    `at_once` of them, and whoever finds all of them busy waits no longer than for an answer.
    """

    def __init__(self, seconds: float, at_once: int) -> None:
        self._seconds = seconds
        self._free = threading.BoundedSemaphore(at_once)

    def __call__(self, ask: Callable[[], T]) -> T:
        """What `ask` gives or raises, called in another thread. Raises TimeoutError."""
        deadline = time.monotonic() + self._seconds
        if not self._free.acquire(timeout=self._seconds):
            raise TimeoutError
        answer: Future[T] = Future()
        threading.Thread(target=self._run, args=(ask, answer), name="in time", daemon=True).start()
        return answer.result(max(0.0, deadline - time.monotonic()))

    def _run(self, ask: Callable[[], T], answer: Future[T]) -> None:
        try:
            answer.set_result(ask())
        except BaseException as error:  # the caller's to handle, if he is still there
            answer.set_exception(error)
        finally:
            self._free.release()
