"""Running a step for one after another, so that one's trouble does not keep the others from their turn."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

import structlog

from intake.gate_errors import Unreconciled

Item = TypeVar("Item")

_log = structlog.get_logger()


def each(items: Iterable[Item], step: Callable[[Item], int], done: dict[Item, int] | None = None) -> int:
    """The sum of what `step` gives for every item. One that raises is logged, and the first error raised at the end.

    Unreconciled goes up at once: nothing can be done for the others before the gate is reconciled. `done`, if given,
    keeps what each item gave, also when something is raised.
    """
    done = {} if done is None else done
    first: Exception | None = None
    for item in items:
        try:
            done[item] = step(item)
        except Unreconciled:
            raise
        except Exception as error:
            _log.error("step_failed", item=str(item), error=repr(error))
            first = first or error
    if first is not None:
        raise first
    return sum(done.values())
