"""A ticket as plain text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from reports.tickets.fitting import cells, in_columns
from reports.tickets.paper import Paper
from reports.tickets.qr import Modules, modules
from reports.tickets.rows import Drawn, Row, Text

# Two modules above each other in one character, as all code pages of printers have them: (upper, lower) → sign.
_BLOCKS = {(0, 0): " ", (1, 0): "▀", (0, 1): "▄", (1, 1): "█"}


def plain(rows: Sequence[Row], qr: str, paper: Paper) -> bytes:
    """UTF-8, lines of at most `paper.columns` characters; the QR code out of blocks, dark on light."""
    lines = [line.rstrip() for row in rows for line in _lines(row, qr, paper.columns)]
    return ("\n".join(lines) + "\n").encode()


def _lines(row: Row, qr: str, columns: int) -> Iterator[str]:
    if row is Drawn.RULE:
        yield "-" * columns
    elif row is Drawn.QR:
        yield ""
        for line in blocks(modules(qr)):
            yield " " * ((columns - len(line)) // 2) + line
        yield ""
    elif isinstance(row, Text):
        for line in in_columns(row, columns):
            yield _framed(line.strip(), columns) if "black" in row.styles else line


def blocks(rows: Modules) -> list[str]:
    """The code in half as many lines as it has rows."""
    even = [*rows, bytes(len(rows))] if len(rows) % 2 else list(rows)
    return ["".join(_BLOCKS[pair] for pair in zip(*even[at : at + 2], strict=True)) for at in range(0, len(even), 2)]


def _framed(line: str, columns: int) -> str:
    """White on black there is none."""
    stars = max(0, columns - cells(line) - 2) // 2
    return f"{'*' * stars} {line} {'*' * stars}" if stars else line
