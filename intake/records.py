"""The journal's records: one line of text each, so that anyone with a terminal can read a journal.

t|agent|id|accepted ms|available after|s046:1000,r123:500     a ticket, at <serial>-0; its stake is that of its lines
v|agent|id|made ms|ticket's serial|stake|reason               a void, after the last ticket: <serial>-<sub>
c|agent|id|made ms|ticket's serial or 0|stake|reason          a cancel: the id is dead, sold or not
g|made ms|first serial|last serial                            a gap, at <last serial>-0
o|made ms|draw's name                                         the journal's beginning, at 0-1
z|made ms|last serial|tickets|stake|voids|voided stake|why    the close marker, always the last
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from rules.tickets import Line

_TICKET = re.compile(r"t\|(\d{1,18})\|([0-9a-f]{32})\|(\d{1,15})\|(-?\d{1,18})\|(.+)\Z", re.ASCII)
_VOID = re.compile(
    r"([vc])\|(\d{1,18})\|([0-9a-f]{32})\|(\d{1,15})\|(\d{1,15})\|(\d{1,18})\|(.*)\Z", re.ASCII | re.DOTALL
)
_GAP = re.compile(r"g\|(\d{1,15})\|(\d{1,15})\|(\d{1,15})\Z", re.ASCII)
_OPEN = re.compile(r"o\|(\d{1,15})\|(.+)\Z", re.ASCII)
_CLOSE = re.compile(r"z\|(\d{1,15})\|(\d{1,15})\|(\d{1,15})\|(\d{1,18})\|(\d{1,15})\|(\d{1,18})\|(\w+)\Z", re.ASCII)
_LINE = re.compile(r"([sr])([0-9-]{1,10}):(\d{1,15})", re.ASCII)

PLAY_LETTERS = {"straight": "s", "rambolito": "r"}
_PLAYS = {letter: play for play, letter in PLAY_LETTERS.items()}


class BadRecord(ValueError):
    """Bytes in a journal that no version of this program wrote."""


class Position(NamedTuple):
    """A place in a journal: the stream id `serial-sub`."""

    serial: int
    sub: int

    def __str__(self) -> str:
        return f"{self.serial}-{self.sub}"

    @classmethod
    def parse(cls, text: str | bytes) -> Position:
        serial, _, sub = text.partition("-") if isinstance(text, str) else text.partition(b"-")
        return cls(int(serial), int(sub or 0))


class TicketRecord(NamedTuple):
    """An accepted ticket; its serial is its place. `id` is the uuid's 32 hex digits."""

    agent_id: int
    id: str
    accepted_ms: int
    available: int
    lines: tuple[Line, ...]

    @property
    def stake(self) -> int:
        return sum([line.stake for line in self.lines])

    def text(self) -> str:
        return f"t|{self.agent_id}|{self.id}|{self.accepted_ms}|{self.available}|{lines_text(self.lines)}"


class VoidRecord(NamedTuple):
    """A void (`v`) or a cancel (`c`); `ticket_serial` 0 for an id that was never sold."""

    kind: str
    agent_id: int
    id: str
    made_ms: int
    ticket_serial: int
    stake: int
    reason: str

    def text(self) -> str:
        return "|".join(map(str, self))


class GapRecord(NamedTuple):
    """Serials that will never be issued."""

    made_ms: int
    first: int
    last: int

    def text(self) -> str:
        return "g|" + "|".join(map(str, self))


class OpenRecord(NamedTuple):
    """A journal's first record."""

    made_ms: int
    draw: str

    def text(self) -> str:
        return f"o|{self.made_ms}|{self.draw}"


class CloseRecord(NamedTuple):
    """A journal's last record, with what the gate counted."""

    made_ms: int
    serial: int
    tickets: int
    stake: int
    voids: int
    voided_stake: int
    why: str

    def text(self) -> str:
        return "z|" + "|".join(map(str, self))


Record = TicketRecord | VoidRecord | GapRecord | OpenRecord | CloseRecord


def raw_record(entry: Sequence[bytes]) -> tuple[bytes, bool]:
    """(the record's bytes, whether they were written back from the database) of a stream's entry: name, value, …"""
    fields = {entry[0]: entry[1]} if len(entry) == 2 else dict(zip(entry[::2], entry[1::2], strict=True))
    return (fields[b"r"], False) if b"r" in fields else (fields.get(b"b", b""), True)


def lines_text(lines: tuple[Line, ...]) -> str:
    """Lines as a ticket record holds them."""
    return ",".join(f"{PLAY_LETTERS[line.play]}{line.number}:{line.stake}" for line in lines)


def _lines(text: str) -> tuple[Line, ...]:
    return tuple([_line(part) for part in text.split(",")])


@lru_cache(maxsize=16_384)  # stakes are round, and numbers few
def _line(text: str) -> Line:
    match = _LINE.fullmatch(text)
    if match is None:
        raise BadRecord(f"no line: {text[:40]!r}")
    return Line(_PLAYS[match[1]], match[2], int(match[3]))


def decode(raw: bytes) -> Record:
    """The record that these bytes are. Raises BadRecord."""
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise BadRecord("not UTF-8") from error
    if match := _TICKET.match(text):
        return TicketRecord(int(match[1]), match[2], int(match[3]), int(match[4]), _lines(match[5]))
    if match := _VOID.match(text):
        numbers = (int(match[4]), int(match[5]), int(match[6]))
        return VoidRecord(match[1], int(match[2]), match[3], *numbers, match[7])
    if match := _GAP.match(text):
        return GapRecord(int(match[1]), int(match[2]), int(match[3]))
    if match := _OPEN.match(text):
        return OpenRecord(int(match[1]), match[2])
    if match := _CLOSE.match(text):
        made, serial, tickets, stake, voids, voided = map(int, match.groups()[:6])
        return CloseRecord(made, serial, tickets, stake, voids, voided, match[7])
    raise BadRecord(f"no record: {text[:60]!r}")
