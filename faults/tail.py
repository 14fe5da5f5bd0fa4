"""Cutting the tail off the append-only file, and knowing exactly which records of the journals were on it.

The file is a row of commands as clients send them (RESP). What one script did stands between MULTI and EXEC, and a
server that starts drops a transaction that is not whole.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple


class CutRecord(NamedTuple):
    """A record of a journal that the file has lost."""

    draw: str
    serial: int
    sub: int
    text: str


@dataclass(frozen=True)
class Cut:
    """What was cut, and when (seconds since 1970)."""

    at: float
    bytes: int
    records: tuple[CutRecord, ...]


class Unit(NamedTuple):
    """One command, or one transaction, with its place in the file."""

    start: int
    end: int
    commands: list[list[bytes]]


def newest(folder: Path) -> Path:
    """The file that is being appended to."""
    return max(folder.glob("*.incr.aof"), key=lambda path: int(path.name.split(".")[-3]))


def cut(path: Path, *, records: int = 0, bytes_: int = 0, at: float) -> Cut:
    """Cuts before the last `records` units that wrote to a journal, or so many bytes. The server must be still."""
    data = path.read_bytes()
    units = list(read_units(data))
    if records:
        writing = [unit for unit in units if any(True for _ in journal_records(unit))]
        place = writing[-min(records, len(writing))].start if writing else len(data)
    else:
        place = max(0, len(data) - bytes_)
    os.truncate(path, place)
    lost = [record for unit in units if unit.end > place for record in journal_records(unit)]
    return Cut(at, len(data) - place, tuple(lost))


def read_units(data: bytes) -> Iterator[Unit]:
    """Every whole unit in order; what is torn at the end is none."""
    place, start, commands, within = 0, 0, list[list[bytes]](), False
    while place < len(data):
        if not within:
            start, commands = place, []
        if data[place : place + 1] == b"#":  # a note, no command
            place = data.index(b"\n", place) + 1
            continue
        try:
            command, place = _command(data, place)
        except (ValueError, IndexError):
            return
        word = command[0].upper()
        within = word == b"MULTI" or (within and word != b"EXEC")
        commands.append(command)
        if not within:
            yield Unit(start, place, commands)


def _command(data: bytes, place: int) -> tuple[list[bytes], int]:
    """(words, where the next one starts). ValueError, IndexError: it is not whole."""
    count, place = _number(data, place, b"*")
    words = []
    for _ in range(count):
        length, place = _number(data, place, b"$")
        if place + length + 2 > len(data):
            raise ValueError("torn")
        words.append(data[place : place + length])
        place += length + 2
    return words, place


def _number(data: bytes, place: int, sign: bytes) -> tuple[int, int]:
    end = data.index(b"\r\n", place)
    if data[place : place + 1] != sign:
        raise ValueError(f"no {sign!r} at {place}")
    return int(data[place + 1 : end]), end + 2


def journal_records(unit: Unit) -> Iterator[CutRecord]:
    """The records that the unit appended to journals."""
    for words in unit.commands:
        if words[0].upper() == b"XADD" and words[1].startswith(b"draw:") and words[1].endswith(b":journal"):
            serial, sub = words[-3].split(b"-")
            draw = words[1].split(b":")[1].decode()
            yield CutRecord(draw, int(serial), int(sub), words[-1].decode())
