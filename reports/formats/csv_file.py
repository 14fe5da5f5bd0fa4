"""CSV: what the report is, its facts, then each table behind an empty line. UTF-8, commas, CRLF as RFC 4180 has it.

Text that a spreadsheet would take for a formula has an apostrophe in front (reports.formats.rows.defused).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from reports.document import Document, Kind, Table
from reports.formats.rows import Made, checked, plain, text_of, totals_of

TOTAL = "TOTAL"


def write(document: Document, made: Made, file: BinaryIO, _: Path) -> None:
    """First the head and the facts, a name and a value each; then the tables."""
    text = io.TextIOWrapper(file, "utf-8", newline="")
    try:
        csv.writer(text).writerows(_lines(document, made))
    finally:
        text.detach()  # closed by whoever opened it


def _lines(document: Document, made: Made) -> Iterator[list[str]]:
    yield ["report", plain(Kind.TEXT, document.kind)]
    yield ["title", plain(Kind.TEXT, document.title)]
    yield ["about", plain(Kind.TEXT, document.about)]
    yield ["asked_by", plain(Kind.TEXT, made.asked_by)]
    yield ["asked_at", plain(Kind.INSTANT, made.asked_at)]
    yield ["made_at", plain(Kind.INSTANT, made.at)]
    for fact in document.facts:
        yield [fact.name, plain(fact.kind, fact.value)]
    for table in document.tables:
        yield []
        yield from _table(table)


def _table(table: Table) -> Iterator[list[str]]:
    """Its name, its head, its rows, and their totals if it has any."""
    kinds = [column.kind for column in table.columns]
    yield ["table", table.name]
    yield [column.name for column in table.columns]
    for row in checked(table):
        yield [plain(kind, value) for kind, value in zip(kinds, row, strict=True)]
    if totals := totals_of(table, TOTAL):
        yield [text_of(cell) if cell == TOTAL else plain(kind, cell) for kind, cell in zip(kinds, totals, strict=True)]
