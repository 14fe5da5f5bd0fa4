"""Files of an older system, read row by row: CSV in UTF-8, with whatever is wrong in them told by line and field."""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TextIO, TypeVar

# All rows are held at once, and become one transaction: about 1 GB of memory and some minutes at the most.
ROWS_MAX = 500_000
# A quote that is never closed would else swallow the file; the longest true cell is an address of 500.
CELL_CHARACTERS_MAX = 10_000
_SHOWN_CHARACTERS_MAX = 40
_NAME = re.compile(r"\A[a-z_]{1,40}\Z")

T = TypeVar("T")


class Finding(NamedTuple):
    """What is wrong, and where. Line 0: the file as a whole, or its first line; field "": the row as a whole."""

    file: str
    line: int
    field: str
    message: str

    def __str__(self) -> str:
        place = ":".join(filter(None, (self.file, str(self.line or ""), self.field)))
        return f"{place}: {self.message}"


class Column(NamedTuple):
    """How a column's cells are read: `parse` raises ValueError with words for the reader; `optional` cells give None.

    What stands in a `secret` column is never shown.
    """

    parse: Callable[[str], object]
    optional: bool = False
    secret: bool = False


class Row(NamedTuple):
    """One row: the line that it begins on, and its cells as parsed; what could not be parsed is missing."""

    line: int
    cells: dict[str, object]

    def get(self, name: str, kind: type[T]) -> T | None:
        """The cell of that column if it was given and could be read."""
        value = self.cells.get(name)
        return value if isinstance(value, kind) else None


@dataclass
class Table:
    """One file: its rows, also the faulty ones, and what is wrong with them.

    `readable` is False when rows are missing here that may stand in the file.
    """

    file: str
    digest: str = ""
    rows: list[Row] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    readable: bool = True

    def find(self, line: int, column: str, message: str) -> None:
        self.findings.append(Finding(self.file, line, column, message))

    def give_up(self, line: int, message: str) -> None:
        self.find(line, "", message)
        self.readable = False


def shown(text: str) -> str:
    """A cell's text as it may stand in a message on a terminal: quoted, short, without control characters.

    A password's hash that slipped into another column stays hidden.
    """
    if "$" in text:
        return "$…"
    cut = text if len(text) <= _SHOWN_CHARACTERS_MAX else text[:_SHOWN_CHARACTERS_MAX] + "…"
    return repr(cut)


def read_table(path: Path, columns: Mapping[str, Column]) -> Table:
    """Reads the file; spaces around cells do not count, rows without any text neither. Raises OSError.

    Bytes that are no UTF-8 are found in their row, since they pass the decoder as lone surrogates.
    """
    table = Table(str(path))
    with path.open("rb") as raw:
        table.digest = hashlib.file_digest(raw, "sha256").hexdigest()
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
        lines = _records(text, table)
        with closing(lines):
            header = next(lines, None)
            names = _header(header[1] if header else [], columns, table)
            for line, cells in lines if names else ():
                if len(table.rows) == ROWS_MAX:
                    table.give_up(line, f"more than {ROWS_MAX} rows; split the file")
                    break
                if len(cells) != len(names):
                    table.find(line, "", f"{len(cells)} cells where the first line names {len(names)} columns")
                    table.readable = False  # whose row this is cannot be told
                else:
                    table.rows.append(_row(line, dict(zip(names, cells, strict=True)), columns, table))
    return table


def _records(text: TextIO, table: Table) -> Generator[tuple[int, list[str]], None, None]:
    """(line that it begins on, stripped cells) of each record that is not empty."""
    default = csv.field_size_limit(CELL_CHARACTERS_MAX)
    reader = csv.reader(text, strict=True)
    line = 1
    try:
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if any(stripped):
                yield line, stripped
            line = reader.line_num + 1
    except csv.Error as error:
        table.give_up(line, f"not CSV from here on: {error}")
    finally:
        csv.field_size_limit(default)


def _header(names: list[str], columns: Mapping[str, Column], table: Table) -> list[str]:
    """The columns' names in their order; empty when the file cannot be read by them."""
    if not names and not table.findings:
        table.give_up(0, f"the file is empty; its first line names the columns: {','.join(columns)}")
    for place, name in enumerate(names, 1):
        if name not in columns:
            # Without a line of names, the first row stands here, and maybe a code in it.
            told = shown(name) if _NAME.match(name) else f"as the one in place {place}"
            table.give_up(1, f"there is no column {told}; the columns are {','.join(columns)}")
    for name, column in columns.items() if names else ():
        if names.count(name) > 1:
            table.give_up(1, f"the column {name} is there {names.count(name)} times")
        if not column.optional and name not in names:
            table.give_up(1, f"the column {name} is missing")
    return names if table.readable else []


def _row(line: int, texts: dict[str, str], columns: Mapping[str, Column], table: Table) -> Row:
    cells: dict[str, object] = {}
    for name, cell in texts.items():
        column = columns[name]
        if not cell:
            if not column.optional:
                table.find(line, name, "is empty")
            continue
        try:
            if not all(character.isprintable() or character in "\r\n\t" for character in cell):
                raise ValueError("not UTF-8" if _has_surrogate(cell) else "has characters that cannot be printed")
            cells[name] = column.parse(cell)
        except ValueError as error:
            table.find(line, name, str(error) if column.secret else f"{error}: {shown(cell)}")
    return Row(line, cells)


def _has_surrogate(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)
