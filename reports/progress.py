"""How far a report is while its rows pass."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import replace
from typing import Any

from reports.document import Document, Table

# The clock is looked at once in so many rows, and what is told at most once in so many seconds.
LOOK_ROWS = 100
TELL_S = 1.0


class Progress:
    """Counts the rows of a document and tells `(done, total)`; no total where a table does not know its own."""

    def __init__(self, tell: Callable[[int, int | None], None]) -> None:
        self._tell = tell
        self.done = 0
        self._total: int | None = None
        self._next = time.monotonic() + TELL_S

    def watched(self, document: Document) -> Document:
        """The same document; its rows are counted as they are read."""
        sizes = [len(table.rows) if isinstance(table.rows, Sized) else None for table in document.tables]
        known = [size for size in sizes if size is not None]
        self._total = sum(known) if len(known) == len(sizes) else None
        return replace(document, tables=tuple(self._counted(table) for table in document.tables))

    def _counted(self, table: Table) -> Table:
        return replace(table, rows=self._rows(table.rows))

    def _rows(self, rows: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
        for row in rows:
            yield row
            self.done += 1
            if self.done % LOOK_ROWS == 0 and time.monotonic() >= self._next:
                self._tell(self.done, self._total)
                self._next = time.monotonic() + TELL_S
