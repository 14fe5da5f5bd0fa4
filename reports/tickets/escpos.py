"""A ticket in ESC/POS, the commands that receipt printers understand, from the large ones to the cheapest.

Text is in code page 850 (ESC t 2). It has what names in the Philippines need (ñ, Ñ, é, Á), nearly every printer has
it, and those that ignore the choice stay in page 437, where ñ, Ñ and the small accented letters have the same bytes. No
code page of printers has the peso sign: it is printed as P.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence

from reports.tickets.fitting import cells, fitted
from reports.tickets.paper import Paper
from reports.tickets.rows import Drawn, Row, Text

CODE_PAGE = "cp850"

_ESC, _GS, _FS = b"\x1b", b"\x1d", b"\x1c"
# Reset; no Chinese pairs of bytes, which cheap printers begin with; the American character set; code page 850.
START = _ESC + b"@" + _FS + b"." + _ESC + b"R\x00" + _ESC + b"t\x02"
# Four lines on, so that the last one is past the blade; cut but for one point. Printers without a blade go on.
END = _ESC + b"d\x04" + _GS + b"VB\x00"

_LEFT, _MIDDLE = _ESC + b"a\x00", _ESC + b"a\x01"
_SIZES = {"normal": b"\x00", "tall": b"\x01", "big": b"\x11"}

# Signs that people write and no code page has.
_SPELT = str.maketrans(
    {"₱": "P", "–": "-", "—": "-", "‘": "'", "’": "'", "“": '"', "”": '"', "…": "...", "•": "*", "€": "EUR"}
)


def escpos(rows: Sequence[Row], qr: str, paper: Paper) -> bytes:
    """The bytes to send to the printer as they are; the printer draws the QR code itself."""
    return START + b"".join(part for row in rows for part in _parts(row, qr, paper)) + END


def encoded(text: str) -> bytes:
    """The text in the printer's code page, without any byte that is a command to it; what it has not is "?"."""
    return bytes(byte for byte in _spelt(text).encode(CODE_PAGE, "replace") if byte >= 0x20 and byte != 0x7F)


def _spelt(text: str) -> str:
    """In letters that the code page has, as far as there are any."""
    return "".join(_letter(sign) for sign in text.translate(_SPELT))


def _letter(sign: str) -> str:
    if _is_in_page(sign):
        return sign
    plain = "".join(part for part in unicodedata.normalize("NFKD", sign) if not unicodedata.combining(part))
    return "".join(part if _is_in_page(part) else "?" for part in plain)


def _is_in_page(sign: str) -> bool:
    return bool(sign.encode(CODE_PAGE, "ignore"))


def _parts(row: Row, qr: str, paper: Paper) -> Iterator[bytes]:
    if row is Drawn.RULE:
        yield _LEFT + b"-" * paper.columns + b"\n"
    elif row is Drawn.QR:
        yield _MIDDLE + b"\n" + _qr(qr.encode("ascii"), paper.module_dots) + b"\n" + _LEFT
    elif isinstance(row, Text):
        yield _text(row._replace(left=_spelt(row.left), right=_spelt(row.right)), paper.columns)


def _text(row: Text, columns: int) -> bytes:
    size = _size(row, columns)
    width = columns // 2 if size == "big" else columns
    before = _MIDDLE if "middle" in row.styles else _LEFT
    before += _ESC + b"E" + _switch(row, "bold") + _GS + b"B" + _switch(row, "black") + _GS + b"!" + _SIZES[size]
    lines = [encoded(_spread(left, right, width)) + b"\n" for left, right in fitted(row, width, cells)]
    return before + b"".join(lines) + _ESC + b"E\x00" + _GS + b"B\x00" + _GS + b"!\x00" + _LEFT


def _size(row: Text, columns: int) -> str:
    """A big row that is too wide is only tall: a number broken in two is read wrongly."""
    if "big" in row.styles and cells(f"{row.left} {row.right}".strip()) <= columns // 2:
        return "big"
    return "tall" if row.styles & {"big", "tall"} else "normal"


def _switch(row: Text, style: str) -> bytes:
    return b"\x01" if style in row.styles else b"\x00"


def _spread(left: str, right: str, width: int) -> str:
    return left + " " * (width - cells(left) - cells(right)) + right if right else left


def _qr(data: bytes, module_dots: int) -> bytes:
    """GS ( k: model 2, the modules' size, level M, the data, print."""
    return b"".join(
        [
            _qr_function(b"\x41", b"2\x00"),
            _qr_function(b"\x43", bytes([module_dots])),
            _qr_function(b"\x45", b"1"),
            _qr_function(b"\x50", b"0" + data),
            _qr_function(b"\x51", b"0"),
        ]
    )


def _qr_function(function: bytes, parameters: bytes) -> bytes:
    """`1`: of QR codes. The length before it counts what follows, in two bytes, the low one first."""
    body = b"1" + function + parameters
    return _GS + b"(k" + len(body).to_bytes(2, "little") + body
