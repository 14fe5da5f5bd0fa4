"""Tables on paper: widths by what stands in them, heads repeated on every page, numbers to the right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from reports.document import Column, Kind, Table
from reports.formats.pdf_page import SIZE, Paper
from reports.formats.rows import checked, one_line, shown, shown_alone, totals_of
from rules.errors import ReportTooLarge

TOTAL = "Total"

# Millimetres: beside a cell's text (at the normal size), above and below it; between tables.
PADDING, LEADING, GAP = 1.6, 1.1, 5.0
# Longer texts are wrapped. Where a page is too narrow for all, texts make room first.
TEXT_WIDTH_MAX, TEXT_WIDTH_MIN = 70.0, 16.0
# A row must fit a page, however narrow its columns; all of it stands in the other formats.
CELL_CHARACTERS_MAX = 400
# A millimetre of line for each point of type.
LINE_PER_POINT = 0.46
_HEAD_FILL, _LINE = 232, 205


class ReadTable(NamedTuple):
    """A table with its cells as texts, and its totals if it has any."""

    title: str
    columns: tuple[Column, ...]
    rows: list[tuple[str, ...]]
    totals: tuple[str, ...] | None


class Layout(NamedTuple):
    """How the tables fit the paper; the size in points."""

    landscape: bool
    size: float


# What is tried, in this order; the last is taken if nothing fits.
LAYOUTS = (Layout(False, 9), Layout(False, 8), Layout(True, 9), Layout(True, 8), Layout(True, 7))


def read_table(table: Table, rows_max: int) -> ReadTable:
    """Reads `rows_max` rows and, if there are more, one of these; only a whole table is held against its totals."""
    kinds = [column.kind for column in table.columns]
    rows = [
        tuple(_cell(kind, value) for kind, value in zip(kinds, row, strict=True))
        for row in islice(checked(table), rows_max + 1)
    ]
    totals = totals_of(table, TOTAL)
    cells = None
    if totals is not None:
        cells = tuple(_total(kind, total) for kind, total in zip(kinds, totals, strict=True))
    return ReadTable(table.title, table.columns, rows, cells)


def _cell(kind: Kind, value: object) -> str:
    text = one_line(shown(kind, value))
    return text if len(text) <= CELL_CHARACTERS_MAX else f"{text[:CELL_CHARACTERS_MAX]}…"


def _total(kind: Kind, total: object) -> str:
    if total is None:
        return ""
    return total if isinstance(total, str) else shown_alone(kind, total)


def choose_layout(paper: Paper, grids: Sequence[Grid]) -> Layout:
    """The first in which every table has the room that it needs."""
    short, long = sorted((paper.w, paper.h))
    for layout in LAYOUTS:
        room = (long if layout.landscape else short) - paper.l_margin - paper.r_margin
        if all(sum(grid.wanted) * layout.size / SIZE <= room for grid in grids):
            return layout
    return LAYOUTS[-1]


class Grid:
    """A table on its paper. `wanted`: the widths of its columns at the normal size."""

    def __init__(self, paper: Paper, table: ReadTable) -> None:
        self._paper, self._table = paper, table
        self._right = [column.kind in (Kind.ID, Kind.COUNT, Kind.MONEY, Kind.SHARE) for column in table.columns]
        self._wraps = [column.kind is Kind.TEXT for column in table.columns]
        self.wanted = [self._wanted(place) for place in range(len(table.columns))]

    def _wanted(self, place: int) -> float:
        column = self._table.columns[place]
        longest = sorted({row[place] for row in self._table.rows}, key=len)[-20:]
        widths = [self._paper.width(text, SIZE) for text in longest]
        if self._table.totals is not None:
            widths.append(self._paper.width(self._table.totals[place], SIZE, bold=True))
        most = min(max(widths, default=0), TEXT_WIDTH_MAX) if self._wraps[place] else max(widths, default=0)
        head = max((self._paper.width(word, SIZE, bold=True) for word in column.title.split()), default=0)
        return max(most, head) + 2 * PADDING

    def draw(self, size: float) -> None:
        """From where the paper stands to below its totals."""
        paper = self._paper
        self._size, self._line, self._padding = size, size * LINE_PER_POINT, PADDING * size / SIZE
        self._widths = self._fitted([width * size / SIZE for width in self.wanted], paper.epw)
        head = self._lines([column.title for column in self._table.columns], bold=True)
        # The title, the head and a first row stay together.
        paper.make_room(GAP + 6 + self._height(head) + 2 * self._line)
        paper.ln(GAP)
        paper.text_line(self._table.title, size=11.5, bold=True, height=6)
        self._row(head, bold=True, fill=True)
        for row in self._table.rows:
            lines = self._lines(row)
            if paper.make_room(self._height(lines)):
                self._row(head, bold=True, fill=True)
            self._row(lines)
        if not self._table.rows:
            paper.set_x(paper.l_margin + self._padding)
            paper.put(paper.epw, "None.", size=size, grey=True, height=self._line + LEADING)
            paper.ln(self._line + 2 * LEADING)
        if self._table.totals is not None:
            lines = self._lines(self._table.totals, bold=True)
            if paper.make_room(self._height(lines)):
                self._row(head, bold=True, fill=True)
            self._row(lines, bold=True, above=True)

    def _fitted(self, widths: list[float], room: float) -> list[float]:
        """Texts take what is left over, and give where there is too little; numbers are never broken.

        Raises ReportTooLarge where there is still too little.
        """
        texts = [place for place, wraps in enumerate(self._wraps) if wraps]
        left = room - sum(widths)
        if left >= 0:
            takers = texts or range(len(widths))
            more = min(left, sum(widths))  # a small table stays one
            for place in takers:
                widths[place] += more / len(takers)
            return widths
        while left < -0.01 and (givers := [place for place in texts if widths[place] > TEXT_WIDTH_MIN]):
            place = max(givers, key=lambda place: widths[place])
            given = min(-left, max(1.0, (widths[place] - TEXT_WIDTH_MIN) / 4))
            widths[place] -= given
            left += given
        if left < -0.01:
            raise ReportTooLarge(f"{self._table.title} is too wide for paper; take xlsx or csv.")
        return widths

    def _lines(self, texts: Sequence[str], *, bold: bool = False) -> list[list[str]]:
        rooms = [width - 2 * self._padding for width in self._widths]
        return [
            self._paper.wrapped(text, room + 0.01, self._size, bold=bold)
            for text, room in zip(texts, rooms, strict=True)
        ]

    def _height(self, lines: Sequence[Sequence[str]]) -> float:
        return max((len(cell) for cell in lines), default=1) * self._line + 2 * LEADING

    def _row(
        self, lines: Sequence[Sequence[str]], *, bold: bool = False, fill: bool = False, above: bool = False
    ) -> None:
        paper, top, height = self._paper, self._paper.get_y(), self._height(lines)
        if fill:
            paper.set_fill_color(_HEAD_FILL)
            paper.rect(paper.l_margin, top, sum(self._widths), height, style="F")
        for left, width, right, cell in zip(self._lefts(), self._widths, self._right, lines, strict=True):
            for number, text in enumerate(cell):
                paper.set_xy(left + self._padding, top + LEADING + number * self._line)
                align, room = "R" if right else "L", width - 2 * self._padding
                paper.put(room, text, size=self._size, align=align, bold=bold, height=self._line)
        paper.set_draw_color(80 if above else _LINE)
        edge = top if above else top + height
        paper.line(paper.l_margin, edge, paper.l_margin + sum(self._widths), edge)
        paper.set_xy(paper.l_margin, top + height)

    def _lefts(self) -> Iterator[float]:
        left = self._paper.l_margin
        for width in self._widths:
            yield left
            left += width
