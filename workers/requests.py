"""What the worker's main process does about a task that its pool process could not answer for."""

from __future__ import annotations

from functools import partial
from typing import Any

from billiard.einfo import ExceptionInfo, ExceptionWithTraceback
from celery.exceptions import InvalidTaskError, Terminated
from celery.utils.time import timezone
from celery.worker import request, state

from actions.failure_kinds import LOST, Failure, NotKept, said
from actions.failures import note_failure
from workers.steps import arguments_of, queue_of


class Request(request.Request):
    """A message of a task under way; every end of it but success is kept before it is acknowledged."""

    def __init__(self, message: Any, **options: Any) -> None:
        """Raises InvalidTaskError for a message that would stumble further on, where nobody keeps it."""
        try:
            super().__init__(message, **options)
            self._check()
        except InvalidTaskError:
            raise
        except Exception as error:
            raise InvalidTaskError(f"A header of the message is not what it should be: {said(error)}") from error

    def _check(self) -> None:
        if not isinstance(self.id, str):
            raise InvalidTaskError("The id of the message is no text.")
        hard, soft = self.time_limits or (None, None)
        _ = float(hard or 0), float(soft or 0), hash((self.name, *self.stamps))
        if self.eta is not None:
            timezone.to_system(self.eta).timestamp()

    def send_event(self, type: str, **fields: Any) -> None:
        """A message that expired before it came is announced by this event alone, and would show without a name."""
        if type == "task-revoked":
            fields |= {"name": self.name, "args": self.argsrepr, "kwargs": self.kwargsrepr}
        super().send_event(type, **fields)

    def on_failure(self, exc_info: ExceptionInfo, send_failed_event: bool = True, return_ok: bool = False) -> None:
        """`return_ok`: the pool process answered, and its Step has kept the failure, or says that it could not."""
        finish = partial(super().on_failure, exc_info, send_failed_event, return_ok)
        error = exc_info.exception
        if isinstance(error, ExceptionWithTraceback):
            error = error.exc
        if isinstance(error, NotKept):
            failure = error.failure
        elif return_ok or isinstance(error, Terminated):
            finish()
            return
        elif self._already_cancelled or state.should_terminate not in (None, False):
            # We ended its process ourselves, to shut down: the message goes back to its queue with our connection.
            state.task_ready(self)
            return
        else:
            arguments = arguments_of(self.task, self.args, self.kwargs)
            failure = Failure(self.type, tuple(arguments), queue_of(self.delivery_info), said(error), None, LOST)
        state.task_ready(self)
        self._app.keeper.keep(partial(note_failure, failure=failure), finish)

    def on_timeout(self, soft: bool, timeout: float) -> None:
        """A task over its hard limit has been given to `on_failure` just before; here Celery would acknowledge it,
        kept or not."""
        if soft:
            super().on_timeout(soft, timeout)
