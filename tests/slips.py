"""Tickets to be printed, and what a printer makes of them."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import Any

import segno
from PIL import Image

from reports.tickets.escpos import CODE_PAGE
from reports.tickets.slip import Seller, Slip
from rules.tickets import Line, Ticket, ticket_code

KEY = bytes(range(32))
SELLER = Seller(id=7, username="corner7", name="Lucky Corner", address="12 Rizal St, Cebu City")
TEN_LINES = tuple(
    Line("straight" if number % 2 else "rambolito", f"{number * 37 + 104:03d}", number * 1_000 + 100_000)
    for number in range(10)
)


def slip(
    *,
    status: str = "accepted",
    copy: int = 0,
    lines: tuple[Line, ...] = (Line("straight", "046", 1_000), Line("rambolito", "123", 500)),
    seller: Seller = SELLER,
    serial: int = 17,
    draw: str = "3D-20261122-1400",
) -> Slip:
    """A ticket sold on 22 November 2026 at 13:54:59 in Manila."""
    ticket = Ticket(draw, serial, "0198c0de-0000-7000-8000-000000000001", seller.id, 1_795_326_899_123, lines, 98_500)
    return Slip(ticket, ticket_code(KEY, ticket), status, copy, seller)


@dataclass
class Printed:
    """A line of text as the paper shows it."""

    text: str
    align: int
    bold: bool
    size: int
    black: bool

    @property
    def columns(self) -> int:
        return len(self.text) * (2 if self.size & 0x10 else 1)


@dataclass
class Printer:
    """A strict printer: knows the commands that a ticket needs, and raises ValueError on any other byte."""

    lines: list[Printed] = field(default_factory=list)
    qr: list[str] = field(default_factory=list)
    qr_settings: dict[int, bytes] = field(default_factory=dict)
    page: int | None = None
    cuts: int = 0
    fed: int = 0

    def take(self, raw: bytes) -> Printer:
        state: dict[str, Any] = {"align": 0, "bold": False, "size": 0, "black": False}
        at, text, stored = 0, b"", b""
        while at < len(raw):
            three = raw[at : at + 3]
            if raw[at : at + 2] in (b"\x1b@", b"\x1c."):
                at += 2
            elif three[:2] in (b"\x1bR", b"\x1bt", b"\x1ba", b"\x1bE", b"\x1bd", b"\x1dB", b"\x1d!"):
                self._set(state, three[:2], three[2])
                at += 3
            elif three == b"\x1dVB":
                self.cuts += 1
                at += 4
            elif three == b"\x1d(k":
                size = int.from_bytes(raw[at + 3 : at + 5], "little")
                body = raw[at + 5 : at + 5 + size]
                stored = self._qr_function(body, stored)
                at += 5 + size
            elif raw[at] == 0x0A:
                self.lines.append(Printed(text.decode(CODE_PAGE), **state))
                text = b""
                at += 1
            elif raw[at] >= 0x20 and raw[at] != 0x7F:
                text += raw[at : at + 1]
                at += 1
            else:
                raise ValueError(f"byte {raw[at]:#x} at {at}")
        if text:
            raise ValueError("a line without an end")
        return self

    def _set(self, state: dict[str, Any], command: bytes, value: int) -> None:
        names = {b"\x1ba": "align", b"\x1bE": "bold", b"\x1dB": "black", b"\x1d!": "size"}
        if command in names:
            name = names[command]
            state[name] = bool(value) if name in ("bold", "black") else value
        elif command == b"\x1bt":
            self.page = value
        elif command == b"\x1bd":
            self.fed += value
        elif value != 0:  # ESC R, the character set
            raise ValueError(f"{command!r} {value}")

    def _qr_function(self, body: bytes, stored: bytes) -> bytes:
        if body[:1] != b"1":
            raise ValueError("not of QR codes")
        function, parameters = body[1], body[2:]
        if function == 0x50:
            return parameters[1:]
        if function == 0x51:
            self.qr.append(stored.decode("ascii"))
        else:
            self.qr_settings[function] = parameters
        return stored

    @property
    def text(self) -> str:
        return "\n".join(line.text for line in self.lines)


def image_of(png: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(png))
    image.load()
    return image


def expected_code(text: str, module_dots: int) -> Image.Image:
    """The QR code with its margin as segno itself draws it."""
    stream = io.BytesIO()
    segno.make_qr(text, error="M", boost_error=False).save(stream, kind="png", scale=module_dots, border=4)
    return image_of(stream.getvalue()).convert("1")


def find_code(image: Image.Image, code: Image.Image) -> int | None:
    """At which height the picture shows exactly that code, in its middle."""
    left = (image.width - code.width) // 2
    wanted = code.tobytes()
    for top in range(image.height - code.height + 1):
        if image.crop((left, top, left + code.width, top + code.height)).tobytes() == wanted:
            return top
    return None


def black_stripes(image: Image.Image) -> list[int]:
    """Where stripes begin that are black from edge to edge, whatever is written in them; as heights."""
    edges = [image.getpixel((0, y)) == 0 and image.getpixel((image.width - 1, y)) == 0 for y in range(image.height)]
    return [y for y in range(1, image.height) if edges[y] and not edges[y - 1]]
