"""Rows of a ticket: what a template for txt, png and escpos says, line by line.

Each line of text is a row. It may begin with marks: `<middle>`, `<bold>`, `<tall>` (double height), `<big>` (double
height and width), `<black>` (white on black). What follows `<right>` goes to the right edge. `<rule>` and `<qr>` stand
alone. The texts of a ticket come escaped as in HTML, so that nothing in them is taken for a mark.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from enum import Enum
from html import unescape
from typing import NamedTuple

from reports.tickets.slip import Slip

# A ticket of ten lines has some 30 rows and 800 characters. What is far longer is a mistake, and would be a picture of
# metres.
ROWS_MAX = 120
CHARACTERS_MAX = 6_000

_MARK = re.compile(r"<([a-z]+)>")
_STYLES = frozenset({"middle", "bold", "tall", "big", "black"})


class BadTemplate(ValueError):
    """A template that makes no ticket; the message says why, and holds nothing of the ticket."""


class Text(NamedTuple):
    """A row of text; `right` stands at the right edge. `styles` of: middle, bold, tall, big, black."""

    left: str
    right: str = ""
    styles: frozenset[str] = frozenset()


class Drawn(Enum):
    """A row that is no text."""

    RULE = "rule"
    QR = "qr"


Row = Text | Drawn


def rows_of(marked: str) -> list[Row]:
    """The rows of a template's text, without empty ones at its ends. Raises BadTemplate."""
    lines = marked.strip().splitlines()
    if len(lines) > ROWS_MAX or len(marked) > CHARACTERS_MAX:
        raise BadTemplate(f"more than {ROWS_MAX} rows or {CHARACTERS_MAX} characters")
    return [_row(line.strip(), place) for place, line in enumerate(lines, 1)]


def _row(line: str, place: int) -> Row:
    styles, rest = set(), line
    while (mark := _MARK.match(rest)) and mark[1] in _STYLES:
        styles.add(mark[1])
        rest = rest[mark.end() :].lstrip()
    if rest in ("<rule>", "<qr>"):
        return Drawn(rest[1:-1])
    left, _, right = rest.partition("<right>")
    for text in (left, right):
        if mark := _MARK.search(text):
            raise BadTemplate(f"in row {place} there is a mark out of place, or an unknown one: {mark[0]}")
    return Text(_seen(left), _seen(right), frozenset(styles))


def _seen(text: str) -> str:
    """Without what would act on a printer."""
    return "".join(sign if sign.isprintable() else " " for sign in unescape(text)).strip()


def check_rows(rows: Sequence[Row], slip: Slip) -> None:
    """That what makes the ticket valid, or not valid, is on it. Raises BadTemplate."""
    check_texts([f"{row.left} {row.right}" for row in rows if isinstance(row, Text)], slip)
    if Drawn.QR not in rows:
        raise BadTemplate("it prints no qr")


def check_texts(texts: Sequence[str], slip: Slip) -> None:
    """That number, code and marks each stand in one of these. Raises BadTemplate."""
    squeezed = [_squeezed(text) for text in texts]
    missing = [name for name, wanted in _wanted(slip) if not any(_squeezed(wanted) in text for text in squeezed)]
    if missing:
        raise BadTemplate(f"it prints no {', no '.join(missing)}")


def _wanted(slip: Slip) -> Iterator[tuple[str, str]]:
    yield "number", slip.number
    yield "code", slip.code
    for mark in slip.marks:
        yield f"mark {mark}", mark


def _squeezed(text: str) -> str:
    """People read, and we take, numbers and codes with spaces and dashes or without."""
    return re.sub(r"[\s-]", "", text)
