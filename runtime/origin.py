"""Where the call comes from that is being served: for the audit log, which every change writes to."""

from __future__ import annotations

from contextvars import ContextVar
from typing import NamedTuple


class Origin(NamedTuple):
    """Who asked, from where. All None: the system itself, in a worker."""

    actor_id: int | None = None
    actor: str | None = None  # username; of a command line: the system's user
    role: str | None = None
    address: str | None = None
    request_id: str | None = None


SYSTEM = Origin()

_origin: ContextVar[Origin] = ContextVar("origin", default=SYSTEM)


def origin() -> Origin:
    """That of the current call."""
    return _origin.get()


def set_origin(origin: Origin) -> None:
    """For the current thread or task, until it is set again: whoever serves a call sets it at its beginning."""
    _origin.set(origin)
