"""What a visitor sees while it works: bars on a terminal, plain lines where there is none."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

WIDTH_PLAIN = 120
SAY_EVERY_S = 5.0


class Screen:
    """Bars by name on a terminal; elsewhere a line when a step begins, and now and then how far it is."""

    def __init__(self) -> None:
        plain = Console()
        self.console = plain if plain.is_terminal else Console(width=WIDTH_PLAIN)
        self._progress = Progress(
            TextColumn("{task.description:<34}"), BarColumn(28), MofNCompleteColumn(), TimeElapsedColumn(),
            console=self.console, disable=not plain.is_terminal,
        )  # fmt: skip
        self._bars: dict[str, TaskID] = {}
        self._said: dict[str, tuple[float, str, int]] = {}

    @contextmanager
    def working(self) -> Iterator[None]:
        """Bars are drawn within it."""
        with self._progress:
            yield

    def show(self, step: str, done: int, total: int, note: str = "") -> None:
        """How far a step is."""
        if self.console.is_terminal:
            text = f"{step}  [dim]{note}[/dim]" if note else step
            if step not in self._bars:
                self._bars[step] = self._progress.add_task(text, total=total)
            self._progress.update(self._bars[step], description=text, completed=done, total=total)
            return
        at, last_note, last_done = self._said.get(step, (0.0, "", -1))
        news = note != last_note or (done == total) != (last_done == total)
        if news or (done != last_done and time.monotonic() - at > SAY_EVERY_S):
            self._said[step] = (time.monotonic(), note, done)
            self.console.print(f"{step}: {done:,} of {total:,}{f', {note}' if note else ''}")

    def tables(self, tables: Iterable[Table]) -> None:
        for table in tables:
            self.console.print()
            self.console.print(table)
