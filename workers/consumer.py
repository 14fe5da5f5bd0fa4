"""The worker's main process takes no message off the broker before what became of it is safe in PostgreSQL."""

from __future__ import annotations

import json
import logging
import random
import traceback
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from celery.worker import consumer
from sqlalchemy.orm import Session, sessionmaker

from actions.failure_kinds import ERROR_CHARACTERS_MAX, Message, said
from actions.failures import note_message
from workers.envelopes import accept_anything
from workers.steps import queue_of

# Between two tries to keep what could not be kept.
TRY_AGAIN_S = (1.0, 3.0)
# As many messages may wait to be kept beside those that are worked on; more make the worker take no new ones.
HELD_MAX = 100

TASK_CHARACTERS_MAX = 200  # of a name that is no task's

Keep = Callable[[sessionmaker[Session]], object]

_log = logging.getLogger(__name__)


class Keeper:
    """Writes letters for the main process, and acknowledges their messages after that.

    What cannot be kept now stays unacknowledged at the broker, and is tried again by the consumer's timer: if this
    process ends before, the broker gives the message to another.
    """

    def __init__(self, sessions: sessionmaker[Session], consumer: Consumer) -> None:
        self._sessions = sessions
        self._consumer = consumer
        self._held: deque[tuple[Keep, Callable[[], object]]] = deque()

    def keep(self, letter: Keep, acknowledge: Callable[[], object]) -> None:
        """Calls `letter`, then `acknowledge`: at once, or when the database is there again."""
        if not self._held and self._is_kept(letter):
            acknowledge()
            return
        self._held.append((letter, self._released(acknowledge)))
        if len(self._held) == 1:
            self._later()

    def _is_kept(self, letter: Keep) -> bool:
        try:
            letter(self._sessions)
        except Exception as error:
            _log.error("a letter could not be kept: %s", said(error))
            return False
        return True

    def _released(self, acknowledge: Callable[[], object]) -> Callable[[], object]:
        """A message that waits must not take the place of one that can be worked on, unless there are too many."""
        if len(self._held) >= HELD_MAX:
            return acknowledge
        qos = self._consumer.qos  # another one after a reconnect, which never heard of this message
        qos.increment_eventually()

        def release() -> None:
            qos.decrement_eventually()
            acknowledge()

        return release

    def _later(self) -> None:
        self._consumer.timer.call_after(random.uniform(*TRY_AGAIN_S), self._keep_held)

    def _keep_held(self) -> None:
        """One after another; the first that cannot be kept is the last to be tried next time."""
        try:
            while self._held and self._is_kept(self._held[0][0]):
                _, acknowledge = self._held.popleft()
                acknowledge()
        finally:
            if self._held:
                self._held.rotate(-1)
                self._later()


class Consumer(consumer.Consumer):
    """Keeps the messages that nobody understands; all others go Celery's way."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.app.keeper = Keeper(self.app.letters, self)

    def create_task_handler(self, *args: Any) -> Callable[[Any], Any]:
        accept_anything(self.task_consumer.channel)  # called for each connection, before anything comes from it
        handle = super().create_task_handler(*args)

        def on_task_received(message: Any) -> Any:
            try:
                odd = _oddity(message)
            except Exception as error:
                return self.on_decode_error(message, error)
            return self._keep(message, odd) if odd else handle(message)

        return on_task_received

    def on_unknown_message(self, body: Any, message: Any) -> None:
        self._keep(message, "This is not a task's message.")

    def on_unknown_task(self, body: Any, message: Any, exc: Exception) -> None:
        self._keep(message, "Nobody here knows this task.")

    def on_invalid_task(self, body: Any, message: Any, exc: Exception) -> None:
        self._keep(message, said(exc), exc)

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        self._keep(message, said(exc), exc)

    def _keep(self, message: Any, why: str, error: Exception | None = None) -> None:
        headers = message.headers if isinstance(message.headers, dict) else {}
        task = headers.get("task")
        about = {"content_type": message.content_type, "id": headers.get("id"), "origin": headers.get("origin")}
        letter = Message(
            queue=queue_of(message.delivery_info),
            task=task[:TASK_CHARACTERS_MAX] if isinstance(task, str) else None,
            body=_bytes(message.body),
            error=f"{why} {json.dumps(about, default=repr)}"[:ERROR_CHARACTERS_MAX],
            traceback="".join(traceback.format_exception(error)) if error else None,
        )
        acknowledge = partial(message.ack_log_error, _log, self.connection_errors)
        self.app.keeper.keep(partial(note_message, message=letter), acknowledge)


def _oddity(message: Any) -> str | None:
    """What is wrong with the shape of a task's message, or None. Raises what its decoding raises."""
    if not isinstance(message.headers, dict) or not isinstance(message.headers.get("task"), str):
        return "This is not a task's message."
    match message.payload:
        case [list(), dict(), dict() | None]:
            return None
    return "The body is not [arguments, named arguments, options]."


def _bytes(body: Any) -> bytes:
    if isinstance(body, bytes):
        return body
    text = body if isinstance(body, str) else json.dumps(body)
    return text.encode(errors="backslashreplace")
