"""The rolls of paper that ticket printers take."""

from __future__ import annotations

from typing import NamedTuple


class Paper(NamedTuple):
    """One width. Printers have 8 dots a millimetre (203 dpi), and a character of their font A is 12 dots wide."""

    mm: int  # of the roll; what is printed on is narrower
    columns: int  # of font A
    dots: int
    module_dots: int  # of one module of a QR code; below 4 dots (half a millimetre) cameras have a hard time


PAPERS = {
    58: Paper(mm=58, columns=32, dots=384, module_dots=6),
    80: Paper(mm=80, columns=48, dots=576, module_dots=8),
}
# Hand-held terminals have it.
DEFAULT_PAPER = 58

assert all(paper.columns * 12 == paper.dots for paper in PAPERS.values())
