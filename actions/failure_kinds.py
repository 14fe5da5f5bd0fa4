"""What a failure is, and whether another try can help."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, InterfaceError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from intake.gate_errors import SERVER_AWAY
from rules.errors import Contradiction, DatabaseUnavailable, IntakeUnavailable, Problem

# Kinds of failures: a part is away; tries cannot help; they may; and it took the process that worked on it along.
AWAY, PERMANENT, PASSING, LOST = "away", "permanent", "passing", "lost"

# What is kept of an error.
ERROR_CHARACTERS_MAX = 2_000
TRACEBACK_CHARACTERS_MAX = 20_000

_PERMANENT = (
    *(TypeError, ValueError, LookupError, AssertionError, AttributeError, NameError, ImportError),
    *(Problem, Contradiction, ProgrammingError, DataError, IntegrityError),
)
# SQLSTATEs of a server that cannot work for anybody now: connections, resources, shutdown, read-only after a failover.
_SERVER_AWAY_STATES = ("08", "53", "57P", "25006")


class Failure(NamedTuple):
    """A task that failed. `arguments` are JSON values, `kind` is one of the four above."""

    task: str
    arguments: tuple[Any, ...]
    queue: str
    error: str
    traceback: str | None
    kind: str


class Message(NamedTuple):
    """A message that nobody understands. `task`: what it seems to ask for."""

    queue: str
    task: str | None
    body: bytes
    error: str
    traceback: str | None = None


class NotKept(Exception):
    """The failure could not be written down, so nothing about it may be acknowledged."""

    def __init__(self, failure: Failure, why: str) -> None:
        super().__init__(failure, why)
        self.failure = failure

    def __str__(self) -> str:
        return f"{self.failure.error} – which could not be kept: {self.args[1]}"


def kind_of(error: BaseException) -> str:
    """Away, permanent or passing."""
    if isinstance(error, OperationalError | InterfaceError):
        state = getattr(error.orig, "sqlstate", None) or ""
        return AWAY if not state or state.startswith(_SERVER_AWAY_STATES) else PASSING
    if isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", None) in _SERVER_AWAY_STATES:
        return AWAY
    away = (NotKept, IntakeUnavailable, DatabaseUnavailable, PoolTimeoutError, ConnectionError, TimeoutError)
    if isinstance(error, away + SERVER_AWAY):
        return AWAY
    return PERMANENT if isinstance(error, _PERMANENT) else PASSING


def failure_of(error: BaseException, task: str, arguments: Sequence[Any], queue: str, kind: str = "") -> Failure:
    """The failure that the error is, of a kind by its class unless it is given."""
    trace = "".join(traceback.format_exception(error))[-TRACEBACK_CHARACTERS_MAX:]
    return Failure(task, tuple(arguments), queue, said(error), trace, kind or kind_of(error))


def said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:ERROR_CHARACTERS_MAX]
