"""What an API process does beside its requests: reconcile with the gate, and answer rounds of witnesses.

Two threads, because a reconcile waits for the witnesses of all processes, this one's too: a process that
reconciled and answered in one thread would be silent to another one's round, and a silent slot costs a gap.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import structlog
from sqlalchemy.exc import SQLAlchemyError

from actions.reconcile import reconcile
from actions.resources import Resources
from actions.witnessing import answer, list_self
from models.session import make_sessions
from rules.errors import Problem

# Rounds are rare and cost one short read; a reconcile gives each slot two seconds.
ANSWER_EVERY_S = 0.5
RETRY_S = 0.2
RETRY_MAX_S = 2.0
STOP_WAIT_S = 5.0
RECONCILE_CONNECTIONS = 3  # the rebuild's, and its rounds of witnesses beside it

_log = structlog.get_logger()


class Background:
    """Two daemon threads. `wake` never blocks and may be called from any request."""

    def __init__(self, res: Resources) -> None:
        self._res = res
        self._asked = threading.Event()
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._reconcile_when_asked, name="reconciler", daemon=True),
            threading.Thread(target=self._answer_witnesses, name="witness", daemon=True),
        ]

    def start(self) -> None:
        """Starts both threads; the first thing that they do is a reconcile."""
        self._asked.set()
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Asks for a reconcile. Calls while one runs lead to one more, however many they are."""
        self._asked.set()

    def stop(self) -> None:
        """Ends both threads and waits for them."""
        self._stopping.set()
        self._asked.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(STOP_WAIT_S)

    def _reconcile_when_asked(self) -> None:
        pause = RETRY_S
        while not self._stopping.is_set():
            self._asked.wait()
            if self._stopping.is_set():
                return
            # Cleared before the work: who asks from now on may have seen something newer.
            self._asked.clear()
            if self._try("reconcile", self._reconcile):
                pause = RETRY_S
                continue
            self._asked.set()
            self._stopping.wait(pause)
            pause = min(pause * 2, RETRY_MAX_S)

    def _reconcile(self) -> None:
        # Listed before the gate is adopted: nothing is answered for that no reconcile would ask about.
        list_self(self._res)
        with _patient(self._res) as res:
            reconcile(res)

    def _answer_witnesses(self) -> None:
        while not self._stopping.wait(ANSWER_EVERY_S):
            self._try("witnessing", self._answer)

    def _answer(self) -> None:
        # Having answered, this process sells no more until it has met the rebuilt gate.
        if answer(self._res):
            self.wake()

    def _try(self, what: str, work: Callable[[], object]) -> bool:
        try:
            work()
        except (Problem, SQLAlchemyError) as error:
            _log.warning(f"{what}_failed", error=str(error).splitlines()[0])
            return False
        except Exception:
            # A thread that died here would leave the process without sales until somebody restarts it.
            _log.exception(f"{what}_failed")
            return False
        return True


@contextmanager
def _patient(res: Resources) -> Iterator[Resources]:
    """The same with a way to the database whose statements may be long: a rebuild reads whole draws."""
    sessions = make_sessions(res.settings.database_url, pool_size=RECONCILE_CONNECTIONS)
    try:
        yield replace(res, sessions=sessions)
    finally:
        sessions.kw["bind"].dispose()
