"""Reading ahead: a server works on the next part while somebody looks at the last."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Part = TypeVar("Part")


def ahead(parts: Iterator[Part]) -> Generator[Part]:
    """The same parts, each fetched by a thread while the caller has the one before it.

    What the parts come from is that thread's until all are taken or this is closed, which waits for the thread. Raises
    what fetching raised.
    """
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, parts, None)
        while (part := coming.result()) is not None:
            coming = thread.submit(next, parts, None)
            yield part
