"""Fitting rows into a width, whatever it is counted in: a printer's columns, or a picture's dots."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

from reports.tickets.rows import Text

Measure = Callable[[str], float]


def fitted(row: Text, width: float, measure: Measure) -> list[tuple[str, str]]:
    """The row as lines of (left, right); a right part that does not fit beside the left one gets lines of its own."""
    if not row.right:
        return [(line, "") for line in wrapped(row.left, width, measure)]
    if measure(f"{row.left} {row.right}") <= width:
        return [(row.left, row.right)]
    left = wrapped(row.left, width, measure) if row.left else []
    return [(line, "") for line in left] + [("", line) for line in wrapped(row.right, width, measure)]


def wrapped(text: str, width: float, measure: Measure) -> list[str]:
    """Lines of whole words, where words fit; one empty line for an empty text."""
    if measure(text) <= width:
        return [text]
    lines: list[str] = []
    line = ""
    for word in text.split():
        longer = f"{line} {word}" if line else word
        if measure(longer) <= width:
            line = longer
            continue
        if line:
            lines.append(line)
        line = word
        while measure(line) > width and len(line) > 1:
            fits = _beginning(line, width, measure)
            lines.append(line[:fits])
            line = line[fits:]
    return [*lines, line]


def _beginning(word: str, width: float, measure: Measure) -> int:
    """How many characters of the word fit; one at the least."""
    fits = 1
    while fits < len(word) and measure(word[: fits + 1]) <= width:
        fits += 1
    return fits


def cells(text: str) -> int:
    """How many columns the text takes where all characters are as wide as one, or as two."""
    return sum(_cells_of(sign) for sign in text)


def _cells_of(sign: str) -> int:
    if unicodedata.combining(sign):
        return 0
    return 2 if unicodedata.east_asian_width(sign) in "WF" else 1


def in_columns(row: Text, columns: int) -> list[str]:
    """The row's lines for that many columns, filled up on the left where they stand in the middle or at the right."""
    return [_padded(left, right, row, columns) for left, right in fitted(row, columns, cells)]


def _padded(left: str, right: str, row: Text, columns: int) -> str:
    if right:
        return left + " " * (columns - cells(left) - cells(right)) + right
    if "middle" in row.styles:
        return " " * ((columns - cells(left)) // 2) + left
    return left
