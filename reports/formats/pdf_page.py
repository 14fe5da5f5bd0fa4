"""The paper that a report is printed on: its fonts, its margins, what stands at the foot of every page. Millimetres."""

from __future__ import annotations

from fpdf import FPDF
from fpdf.fonts import TTFFont

from reports.document import Document, Kind
from reports.formats.fonts import font_file
from reports.formats.rows import Made, shown

SANS, MONO = "Sans", "Courier"
SIZE = 9.0  # points
LINE = 4.8
MARGIN, FOOT = 15.0, 18.0
HALF_GAP = 6.0
_GREY = 95


class Paper(FPDF):
    """A4."""

    def __init__(self, document: Document, made: Made) -> None:
        super().__init__(unit="mm", format="A4")
        self._foot = f"{document.title} · {document.about} · figures of {shown(Kind.INSTANT, made.at)}"
        self.add_font(SANS, "", str(font_file("SourceSansPro-Regular.ttf")))
        self.add_font(SANS, "B", str(font_file("SourceSansPro-Bold.ttf")))
        self.set_title(document.title)
        self.set_subject(document.about)
        self.set_creator("drawbreak")
        self.set_creation_date(made.at)
        self.set_margin(MARGIN)
        self.c_margin = 0  # whoever draws leaves the room that he wants
        self.set_auto_page_break(True, FOOT)
        self.set_font(SANS, "", SIZE)

    def begin(self, *, landscape: bool) -> None:
        """The first page; all others are like it."""
        self.add_page(orientation="landscape" if landscape else "portrait")
        self.set_line_width(0.2)
        self.set_draw_color(150)

    def close(self) -> None:
        """Closes the files of its fonts, printed or not."""
        for font in self.fonts.values():
            if isinstance(font, TTFFont):
                font.close()

    def footer(self) -> None:
        """What the page is of, and which of how many."""
        self.set_y(-12)
        number = f"Page {self.page_no()} of {{nb}}"
        self.put(self.epw - 30, self.cut(self._foot, self.epw - 32, 7.5), size=7.5, grey=True)
        self.put(30, number, size=7.5, align="R", grey=True)

    @property
    def half(self) -> float:
        """Of two things beside each other."""
        return float(self.epw - HALF_GAP) / 2

    def width(self, text: str, size: float, *, bold: bool = False) -> float:
        self.set_font(SANS, "B" if bold else "", size)
        return float(self.get_string_width(printed(text)))

    def put(
        self,
        width: float,
        text: str,
        *,
        size: float = SIZE,
        font: str = SANS,
        align: str = "L",
        bold: bool = False,
        grey: bool = False,
        height: float = LINE,
    ) -> None:
        """A line of text where we stand; then we stand right of it."""
        self.set_font(font, "B" if bold else "", size)
        self.set_text_color(_GREY if grey else 0)
        self.cell(width, height, printed(text), align=align)

    def text_line(self, text: str, *, size: float, height: float, bold: bool = False, grey: bool = False) -> None:
        """As many whole lines as the text needs."""
        for line in self.wrapped(text, self.epw, size, bold=bold) or [""]:
            self.put(self.epw, line, size=size, bold=bold, grey=grey, height=height)
            self.ln(height)

    def rule(self, *, above: float, below: float) -> None:
        """A line from margin to margin."""
        self.ln(above)
        self.line(self.l_margin, self.get_y(), self.l_margin + self.epw, self.get_y())
        self.ln(below)

    def make_room(self, height: float) -> bool:
        """Goes on to another page unless so much is left of this one; whether it did."""
        if self.get_y() + height <= self.page_break_trigger:
            return False
        self.add_page(same=True)
        return True

    def cut(self, text: str, width: float, size: float) -> str:
        """The text, or as much of its beginning as fits."""
        if self.width(text, size) <= width:
            return text
        while text and self.width(f"{text}…", size) > width:
            text = text[:-1]
        return f"{text}…"

    def wrapped(self, text: str, width: float, size: float, *, bold: bool = False) -> list[str]:
        """The text in lines that fit, broken between words, or within one that is too long for a line."""
        if "\n" not in text and self.width(text, size, bold=bold) <= width:
            return [text] if text else []
        lines = []
        for paragraph in text.split("\n"):
            line = ""
            for word in paragraph.split():
                joined = f"{line} {word}" if line else word
                if self.width(joined, size, bold=bold) <= width:
                    line = joined
                    continue
                if line:
                    lines.append(line)
                *full, line = self._pieces(word, width, size, bold)
                lines += full
            lines.append(line)
        return lines

    def _pieces(self, word: str, width: float, size: float, bold: bool) -> list[str]:
        pieces, piece = [], ""
        for character in word:
            if piece and self.width(piece + character, size, bold=bold) > width:
                pieces.append(piece)
                piece = ""
            piece += character
        return [*pieces, piece]


def printed(text: str) -> str:
    """Without what a page cannot show."""
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)
