"""PDF, to print and to sign: A4, what it is of and of when, its facts, its tables, a place for two signatures."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

from reports.document import Document, Fact, Kind
from reports.formats.pdf_page import HALF_GAP, LINE, MONO, SIZE, Paper
from reports.formats.pdf_table import Grid, ReadTable, choose_layout, read_table
from reports.formats.rows import Made, one_line, shown, shown_alone
from rules.errors import ReportTooLarge

# More is for machines: 5,000 rows are some hundred pages.
PDF_ROWS_MAX = 5_000

_HASH = re.compile(r"\A[0-9a-f]{64}\Z")
_HASH_GROUP = 8
# Points; and millimetres: so much that a hash fits beside the widest label on one line.
LABEL_SIZE, HASH_SIZE = 8.0, 8.0
LABEL_GAP, LABEL_WIDTH_MAX = 4.0, 56.0

SIGNERS = ("Made and checked by", "Approved by")
SIGNATURE_HEIGHT = 30


def write(document: Document, made: Made, file: BinaryIO, _: Path) -> None:
    """Raises ReportTooLarge beyond PDF_ROWS_MAX rows."""
    read = []
    left = PDF_ROWS_MAX
    for table in document.tables:
        read.append(read_table(table, left))
        left -= len(read[-1].rows)
        if left < 0:
            raise ReportTooLarge(f"A PDF holds {PDF_ROWS_MAX:,} rows at the most; take xlsx or csv.")
    with closing(Paper(document, made)) as paper:
        _print(paper, document, made, read)
        paper.output(file)  # closed by whoever opened it


def _print(paper: Paper, document: Document, made: Made, tables: Sequence[ReadTable]) -> None:
    grids = [Grid(paper, table) for table in tables]
    layout = choose_layout(paper, grids)
    paper.begin(landscape=layout.landscape)
    _head(paper, document, made)
    _facts(paper, document.facts)
    for grid in grids:
        grid.draw(layout.size)
    _signatures(paper)


def _head(paper: Paper, document: Document, made: Made) -> None:
    paper.text_line(document.title, size=17, bold=True, height=8.5)
    paper.text_line(document.about, size=11.5, height=6)
    asked = shown(Kind.INSTANT, made.asked_at)
    paper.text_line(
        f"Asked for by {made.asked_by} at {asked}. Figures of {shown(Kind.INSTANT, made.at)}, Manila time.",
        size=8,
        height=5,
        grey=True,
    )
    paper.rule(above=1, below=2.5)


def _facts(paper: Paper, facts: Sequence[Fact]) -> None:
    """Two beside each other where they fit, in their order."""
    widths = [paper.width(fact.title, LABEL_SIZE) for fact in facts]
    label = min(max(widths, default=0) + LABEL_GAP, LABEL_WIDTH_MAX)
    for pair in _pairs(paper, facts, label):
        paper.make_room(LINE)
        for place, fact in enumerate(pair):
            left = paper.l_margin + place * (paper.half + HALF_GAP)
            _fact(paper, fact, left, label, paper.half if _fits(paper, fact, label) else paper.epw)
        paper.ln(LINE)
    if facts:
        paper.ln(2)


def _pairs(paper: Paper, facts: Sequence[Fact], label: float) -> Iterator[list[Fact]]:
    open_pair: list[Fact] = []
    for fact in facts:
        if not _fits(paper, fact, label):
            if open_pair:
                yield open_pair
            yield [fact]
            open_pair = []
            continue
        open_pair.append(fact)
        if len(open_pair) == 2:
            yield open_pair
            open_pair = []
    if open_pair:
        yield open_pair


def _fits(paper: Paper, fact: Fact, label: float) -> bool:
    text = one_line(shown_alone(fact.kind, fact.value))
    return not _HASH.match(text) and "\n" not in text and paper.width(text, SIZE) <= paper.half - label


def _fact(paper: Paper, fact: Fact, left: float, label: float, width: float) -> None:
    text = one_line(shown_alone(fact.kind, fact.value))
    paper.set_x(left)
    paper.put(label, paper.cut(fact.title, label, LABEL_SIZE), size=LABEL_SIZE, grey=True)
    if _HASH.match(text):
        groups = " ".join(text[at : at + _HASH_GROUP] for at in range(0, len(text), _HASH_GROUP))
        paper.put(width - label, groups, size=HASH_SIZE, font=MONO)
        return
    first, *rest = paper.wrapped(text, width - label, SIZE) or [""]
    paper.put(width - label, first)
    for line in rest:
        paper.ln(LINE)
        paper.make_room(LINE)
        paper.set_x(left + label)
        paper.put(width - label, line)


def _signatures(paper: Paper) -> None:
    """Beside each other, never without a line of their own on a page."""
    paper.make_room(SIGNATURE_HEIGHT)
    top = paper.get_y() + SIGNATURE_HEIGHT - 16
    for place, who in enumerate(SIGNERS):
        left = paper.l_margin + place * (paper.half + HALF_GAP)
        paper.line(left, top, left + paper.half - 8, top)
        paper.set_xy(left, top + 1)
        paper.put(paper.half, who, size=8, grey=True)
        paper.set_xy(left, top + 5)
        paper.put(paper.half, "Name, signature, date", size=7, grey=True)
