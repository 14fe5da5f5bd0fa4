"""What every task is: held back after failures, and not over before how it ended is kept."""

from __future__ import annotations

import inspect
import random
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from celery import Task
from celery.exceptions import Reject

from actions.failure_kinds import AWAY, LOST, NotKept, failure_of, said
from actions.failures import HeldBack, attempt
from intake.doorbell import AGAIN, DEFAULT_QUEUE

# Before a message is given back for which nothing can be done while PostgreSQL is away.
GIVE_BACK_S = (1.0, 3.0)

# What a message that is held back results in, for who reads events and logs.
HELD_BACK = "held back"


class Step(Task):
    """Base class of all tasks. A message that is held back is acknowledged: its step has a time of its own by now."""

    Request = "workers.requests:Request"

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Celery acknowledges a task that raises, so it may raise only what is kept. NotKept is the exception: with
        that the main process holds on to the message (workers/requests.py)."""
        if self.request.called_directly:
            return super().__call__(*args, **kwargs)
        arguments, queue = arguments_of(self, args, kwargs), queue_of(self.request.delivery_info)
        try:
            sessions = self.app.resources.sessions
        except Exception as error:
            raise NotKept(failure_of(error, self.name, arguments, queue, LOST), said(error)) from error
        run, again = partial(self.run, *args, **kwargs), bool(getattr(self.request, AGAIN, False))
        try:
            return attempt(sessions, self.name, arguments, queue, run, again=again)
        except HeldBack:
            return HELD_BACK
        except NotKept as problem:
            if problem.failure.kind != AWAY:
                raise
            time.sleep(random.uniform(*GIVE_BACK_S))
            raise Reject(str(problem), requeue=True) from problem


def arguments_of(task: Step, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
    """The arguments by their places, as rings give them, so that one step has one name however it was asked for."""
    if not kwargs:
        return list(args)
    try:
        bound = inspect.signature(task.run).bind(*args, **kwargs)
    except TypeError:  # it will fail with these
        return [*args, dict(kwargs)]
    return [*bound.args, bound.kwargs] if bound.kwargs else list(bound.args)


def queue_of(delivery_info: Mapping[str, Any] | None) -> str:
    """The queue that a message came from: queues are bound by their own names."""
    return str((delivery_info or {}).get("routing_key") or DEFAULT_QUEUE)
