"""XLSX: a sheet of facts and one for each table; cells with types, frozen heads with filters, totals, widths.

Money in pesos and shares as numbers with a format, dates as dates by Manila's clock. Text is written as text whatever
it looks like, never as a formula or a link. Rows go to the disk as they come.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from xlsxwriter import Workbook
from xlsxwriter.format import Format
from xlsxwriter.utility import xl_col_to_name
from xlsxwriter.worksheet import Worksheet

from reports.document import Column, Document, Fact, Kind, Table
from reports.formats.rows import SUMMED, Made, checked, in_manila, is_formula, shown_alone, totals_of
from rules.errors import ReportTooLarge

# A sheet has 1,048,576 rows: the head, these, and the totals.
SHEET_ROWS_MAX = 1_000_000
# Of a cell; one more and the whole cell would be left out.
CELL_CHARACTERS_MAX = 32_767
SHEET_NAME_CHARACTERS_MAX = 31
# In characters; the arrow of the filter takes a few.
WIDTH_MIN, WIDTH_MAX, ARROW = 8, 60, 3

TOTAL = "Total"
FACTS_SHEET = "Report"

_NUMBER_FORMATS = {
    Kind.ID: "0",
    Kind.COUNT: "#,##0",
    Kind.MONEY: "#,##0.00",
    Kind.SHARE: "0.00%",
    Kind.INSTANT: "yyyy-mm-dd hh:mm:ss",
    Kind.DATE: "yyyy-mm-dd",
}
_NO_SHEET_NAME = re.compile(r"[\[\]:*?/\\]")
_TEXTS_ONLY = {
    "constant_memory": True,
    "strings_to_formulas": False,
    "strings_to_numbers": False,
    "strings_to_urls": False,
}


def write(document: Document, made: Made, file: BinaryIO, drafts: Path) -> None:
    """Raises ReportTooLarge where a table has more rows than a sheet."""
    book = Workbook(file, {**_TEXTS_ONLY, "tmpdir": str(drafts)})
    try:
        book.use_zip64()
        book.set_properties({"title": document.title, "subject": document.about, "created": in_manila(made.at)})
        styles = Styles(book)
        _facts(book.add_worksheet(FACTS_SHEET), styles, document, made)
        taken = {FACTS_SHEET.lower()}
        for table in document.tables:
            _Sheet(book.add_worksheet(_sheet_name(table.title, taken)), styles, table.columns).write(table)
        book.close()
    except BaseException:
        for sheet in book.worksheets():  # their drafts; nobody else closes them
            if sheet.row_data_fh is not None:
                sheet.row_data_fh.close()
        raise


class Styles:
    """The formats of a book's cells."""

    def __init__(self, book: Workbook) -> None:
        self.plain = {kind: self._add(book, kind) for kind in Kind}
        self.alone = self.plain | {Kind.MONEY: self._add(book, Kind.MONEY, num_format='"₱"#,##0.00')}
        self.total = {kind: self._add(book, kind, bold=True, top=1) for kind in Kind}
        # Spreadsheets keep such a text what it is, also when somebody edits the cell or saves it as CSV.
        self.quoted = book.add_format({"quote_prefix": True, "valign": "top"})
        self.head = book.add_format(
            {"bold": True, "bottom": 1, "text_wrap": True, "valign": "top", "bg_color": "#E7E6E6"}
        )
        self.title = book.add_format({"bold": True, "font_size": 14})

    def _add(self, book: Workbook, kind: Kind, **more: Any) -> Format:
        number_format = _NUMBER_FORMATS.get(kind)
        return book.add_format({"valign": "top", **({"num_format": number_format} if number_format else {}), **more})


def _put(
    sheet: Worksheet, styles: Styles, row: int, column: int, kind: Kind, value: Any, *, alone: bool = False
) -> None:
    if value is None:
        return
    style = (styles.alone if alone else styles.plain)[kind]
    if kind is Kind.TEXT:
        text = _fitting(str(value))
        sheet.write_string(row, column, text, styles.quoted if is_formula(text) else style)
    elif kind is Kind.INSTANT:
        sheet.write_datetime(row, column, in_manila(value).replace(tzinfo=None), style)
    elif kind is Kind.DATE:
        sheet.write_datetime(row, column, value, style)
    else:
        sheet.write_number(row, column, _number(kind, value), style)


def _number(kind: Kind, value: int) -> float:
    if kind is Kind.MONEY:
        return value / 100
    return value / 10_000 if kind is Kind.SHARE else value


def _fitting(text: str) -> str:
    # Such a text the library takes for its own markup and writes as it is: cells could be forged with it.
    if text.startswith("<r>"):
        text = f" {text}"
    if len(text) <= CELL_CHARACTERS_MAX:
        return text
    note = f" … ({len(text):,} characters; all of them in CSV and JSON)"
    return text[: CELL_CHARACTERS_MAX - len(note)] + note


def _sheet_name(title: str, taken: set[str]) -> str:
    """One that no other sheet has, in any letter case."""
    name = _NO_SHEET_NAME.sub(" ", title).strip("' ")[:SHEET_NAME_CHARACTERS_MAX] or "Table"
    number = 2
    while name.lower() in taken:
        end = f" {number}"
        name = name[: SHEET_NAME_CHARACTERS_MAX - len(end)].rstrip() + end
        number += 1
    taken.add(name.lower())
    return name


def _facts(sheet: Worksheet, styles: Styles, document: Document, made: Made) -> None:
    about = [
        Fact("about", "About", document.about),
        Fact("asked_by", "Asked for by", made.asked_by),
        Fact("asked_at", "Asked for at (Manila)", made.asked_at, Kind.INSTANT),
        Fact("made_at", "Figures of (Manila)", made.at, Kind.INSTANT),
        *document.facts,
    ]
    sheet.write_string(0, 0, document.title, styles.title)
    for row, fact in enumerate(about, start=1):
        sheet.write_string(row, 0, fact.title, styles.plain[Kind.TEXT])
        _put(sheet, styles, row, 1, fact.kind, fact.value, alone=True)
    sheet.set_column(0, 0, _width(max(len(fact.title) for fact in about)))
    sheet.set_column(1, 1, _width(max(len(shown_alone(fact.kind, fact.value)) for fact in about), most=80))


def _width(characters: int, most: int = WIDTH_MAX) -> int:
    return min(max(characters + 1, WIDTH_MIN), most)


class _Sheet:
    """A table's sheet, and how wide its columns have to be."""

    def __init__(self, sheet: Worksheet, styles: Styles, columns: Sequence[Column]) -> None:
        self._sheet, self._styles = sheet, styles
        self._columns = [(place, column.kind) for place, column in enumerate(columns)]
        self._widths = [max(map(len, column.title.split()), default=0) + ARROW for column in columns]

    def write(self, table: Table) -> None:
        self._sheet.freeze_panes(1, 0)
        for place, column in enumerate(table.columns):
            self._sheet.write_string(0, place, column.title, self._styles.head)
        rows = 0
        for row in checked(table):
            rows += 1
            if rows > SHEET_ROWS_MAX:
                raise ReportTooLarge(f"A sheet holds {SHEET_ROWS_MAX:,} rows, and {table.title} has more; take csv.")
            self._row(rows, row)
        if totals := totals_of(table, TOTAL):
            self._totals(rows + 1, totals)
        if table.columns:
            self._sheet.autofilter(0, 0, rows, len(table.columns) - 1)
        for place, width in enumerate(self._widths):
            self._sheet.set_column(place, place, _width(width))

    def _row(self, number: int, row: Sequence[Any]) -> None:
        for place, kind in self._columns:
            value = row[place]
            if value is not None:
                _put(self._sheet, self._styles, number, place, kind, value)
                if (length := _length(kind, value)) > self._widths[place]:
                    self._widths[place] = length

    def _totals(self, number: int, totals: Sequence[Any]) -> None:
        """Formulas, with the totals as their values for whoever reads the file without calculating."""
        for place, kind in self._columns:
            style, total = self._styles.total[kind], totals[place]
            if total is None:
                self._sheet.write_blank(number, place, None, style)
            elif kind not in SUMMED or isinstance(total, str):
                self._sheet.write_string(number, place, _fitting(str(total)), self._styles.total[Kind.TEXT])
            elif number == 1:  # no rows to add up
                self._sheet.write_number(number, place, _number(kind, total), style)
            else:
                name = xl_col_to_name(place)
                formula = f"=SUM({name}2:{name}{number})"
                self._sheet.write_formula(number, place, formula, style, _number(kind, total))
            self._widths[place] = max(self._widths[place], _length(kind, total) if total is not None else 0)


_LENGTHS: dict[Kind, Callable[[Any], int]] = {
    Kind.TEXT: lambda value: max(map(len, str(value)[:CELL_CHARACTERS_MAX].split("\n"))),
    Kind.ID: lambda value: len(str(value)),
    # With a separator for every three digits.
    Kind.COUNT: lambda value: len(str(value)) * 4 // 3,
    Kind.MONEY: lambda value: len(str(value)) * 4 // 3 + 1,
    Kind.SHARE: lambda value: len(str(value)) + 2,
    Kind.INSTANT: lambda _: 19,
    Kind.DATE: lambda _: 10,
}


def _length(kind: Kind, value: Any) -> int:
    return _LENGTHS[Kind.TEXT if isinstance(value, str) else kind](value)
