"""A ticket as a picture: black and white, one pixel for each dot of the printer."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

from reports.tickets.fitting import fitted
from reports.tickets.paper import Paper
from reports.tickets.qr import QUIET_MODULES, modules
from reports.tickets.rows import Drawn, Row, Text

DOTS_PER_INCH = 203
MARGIN_DOTS = 6
COMPRESS_LEVEL = 6  # 8 kB; as small as can be takes ten times as long, and a sale may wait for it
BLACK, WHITE = 0, 1

# Heights of the letters in dots, font and line.
NORMAL, TALL, BIG = 27, 36, 52
LINE_HEIGHT = 1.15
RULE_DOTS, RULE_SPACE = 2, 8
BLACK_SPACE = 4  # above and below a black stripe, so that two of them are two

_FONTS_PACKAGE = "font_source_sans_pro"


class _Stripe(NamedTuple):
    """A piece of the ticket over the paper's whole width: its height, and what draws it from a height on."""

    height: int
    draw: Callable[[Image.Image, int], None]


def picture(rows: Sequence[Row], qr: str, paper: Paper) -> bytes:
    """A PNG of one bit a pixel, `paper.dots` wide and as long as it needs."""
    stripes = [stripe for row in rows for stripe in _stripes(row, qr, paper)]
    image = Image.new("1", (paper.dots, sum(stripe.height for stripe in stripes) + 2 * MARGIN_DOTS), WHITE)
    top = MARGIN_DOTS
    for stripe in stripes:
        stripe.draw(image, top)
        top += stripe.height
    stream = io.BytesIO()
    image.save(stream, "PNG", dpi=(DOTS_PER_INCH, DOTS_PER_INCH), compress_level=COMPRESS_LEVEL)
    return stream.getvalue()


def _stripes(row: Row, qr: str, paper: Paper) -> Iterator[_Stripe]:
    if row is Drawn.RULE:
        yield _Stripe(2 * RULE_SPACE + RULE_DOTS, _draw_rule)
    elif row is Drawn.QR:
        code = qr_image(qr, paper.module_dots)
        yield _Stripe(code.height, partial(_draw_code, code))
    elif isinstance(row, Text):
        font = _font_for(row, paper.dots - 2 * MARGIN_DOTS)
        height = round(font.size * LINE_HEIGHT) + (2 * BLACK_SPACE if "black" in row.styles else 0)
        for left, right in fitted(row, paper.dots - 2 * MARGIN_DOTS, font.getlength):
            yield _Stripe(height, partial(_draw_line, row.styles, font, left, right, height))


def qr_image(text: str, module_dots: int) -> Image.Image:
    """The QR code with its margin."""
    rows = modules(text)
    side = len(rows) + 2 * QUIET_MODULES
    small = Image.new("1", (side, side), WHITE)
    for y, row in enumerate(rows, QUIET_MODULES):
        for x, module in enumerate(row, QUIET_MODULES):
            if module:
                small.putpixel((x, y), BLACK)
    return small.resize((side * module_dots, side * module_dots), Image.Resampling.NEAREST)


def _draw_rule(image: Image.Image, top: int) -> None:
    first = top + RULE_SPACE
    ImageDraw.Draw(image).rectangle((MARGIN_DOTS, first, image.width - MARGIN_DOTS - 1, first + RULE_DOTS - 1), BLACK)


def _draw_code(code: Image.Image, image: Image.Image, top: int) -> None:
    image.paste(code, ((image.width - code.width) // 2, top))


def _draw_line(
    styles: frozenset[str],
    font: ImageFont.FreeTypeFont,
    left: str,
    right: str,
    height: int,
    image: Image.Image,
    top: int,
) -> None:
    draw, ink = ImageDraw.Draw(image), BLACK
    if "black" in styles:
        draw.rectangle((0, top + BLACK_SPACE, image.width, top + height - BLACK_SPACE - 1), BLACK)
        ink = WHITE
    middle = top + height / 2
    if "middle" in styles and not right:
        draw.text((image.width / 2, middle), left, ink, font, anchor="mm")
    else:
        draw.text((MARGIN_DOTS, middle), left, ink, font, anchor="lm")
    draw.text((image.width - MARGIN_DOTS, middle), right, ink, font, anchor="rm")


def _font_for(row: Text, width: int) -> ImageFont.FreeTypeFont:
    """The row's font, smaller where it would not fit, but never below that of a normal row."""
    size = BIG if "big" in row.styles else TALL if "tall" in row.styles else NORMAL
    weight = "Bold" if row.styles & {"bold", "big", "black"} else "Semibold"
    text = f"{row.left} {row.right}".strip()
    while size > NORMAL and _font(weight, size).getlength(text) > width:
        size -= 1
    return _font(weight, size)


@cache
def _font(weight: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(_font_folder() / f"SourceSansPro-{weight}.ttf", size)


@cache
def _font_folder() -> Path:
    """The package is not imported: some releases of it import pkg_resources, which is no more."""
    spec = find_spec(_FONTS_PACKAGE)
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0]) / "files"
