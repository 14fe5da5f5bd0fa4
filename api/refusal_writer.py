"""Writes the rows of refused attempts beside the requests, so that none of them waits for the database."""

from __future__ import annotations

import queue
import threading
from datetime import datetime
from typing import NamedTuple

import structlog
from sqlalchemy.orm import Session, sessionmaker

from actions.audit import record
from runtime.origin import SYSTEM, Origin, set_origin

# Some seconds of the worst day. What finds no place, or no database, has its log line.
WAITING_MAX = 1_000
STOP_WAIT_S = 5.0

_log = structlog.get_logger()


class Refusal(NamedTuple):
    """Who was refused what, when and why."""

    origin: Origin
    at: datetime
    action: str
    about: str
    code: str


class RefusalWriter:
    """One daemon thread and its queue. `put` never blocks and may be called from any request."""

    def __init__(self, sessions: sessionmaker[Session]) -> None:
        self._sessions = sessions
        self._waiting: queue.Queue[Refusal | None] = queue.Queue(WAITING_MAX)
        self._thread = threading.Thread(target=self._write_all, name="refusals", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def put(self, refusal: Refusal) -> None:
        """Has it written soon."""
        try:
            self._waiting.put_nowait(refusal)
        except queue.Full:
            _log.warning("refusal_not_written", error="too many wait")

    def flush(self) -> None:
        """Waits until everything is written that was put so far, or could not be."""
        self._waiting.join()

    def stop(self) -> None:
        """Ends the thread after it has written what waits; one that the database holds is not waited for long."""
        if not self._thread.is_alive():
            return
        try:
            self._waiting.put(None, timeout=STOP_WAIT_S)
        except queue.Full:
            return
        self._thread.join(STOP_WAIT_S)

    def _write_all(self) -> None:
        while (refusal := self._waiting.get()) is not None:
            self._write(refusal)
            self._waiting.task_done()
        self._waiting.task_done()

    def _write(self, refusal: Refusal) -> None:
        set_origin(refusal.origin)
        try:
            with self._sessions.begin() as session:
                record(session, refusal.action, refusal.about, outcome=refusal.code, at=refusal.at)
        except Exception as error:  # a thread that died here would leave all later ones unwritten
            _log.warning("refusal_not_written", error=type(error).__name__, request_id=refusal.origin.request_id)
        finally:
            set_origin(SYSTEM)
