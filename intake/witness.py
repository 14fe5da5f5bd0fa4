"""What this process answered for: per draw the highest journal id, in a small mapped file that outlives `kill -9`.

A process takes the first free slot of the folder and keeps it by a file lock; its successor finds the file as it was.
Beside each slot's file stands its name, made once: it stays the same from whatever host the folder is read.
A file is 1,024 records of 32 bytes: the draw's name (24 bytes, zero-filled) and a 64-bit word with the id, 0 for none.
The word is written as one aligned store, so that a kill leaves the old id or the new one.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from intake.records import Position

RECORDS = 1024
RECORD_BYTES = 32
NAME_BYTES = 24
SUB_BITS = 20
SLOTS_MAX = 256


class NoFreeSlot(RuntimeError):
    """More processes than slots share one folder."""


class Witness:
    """One process's slot. Safe to use from several threads."""

    def __init__(self, folder: Path) -> None:
        """Raises NoFreeSlot; OSError when the folder cannot be used."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._file, path = _take_slot(folder)
        self.slot = _name_of(path)
        self._map = mmap.mmap(self._file, RECORDS * RECORD_BYTES)
        self._words = memoryview(self._map).cast("Q")
        self._lock = threading.Lock()
        self._calls = 0
        self._calls_ended = threading.Condition(self._lock)
        self._places = {name: place for place, name, _ in _records(bytes(self._map))}

    def seen(self, draw: str) -> Position:
        """The highest journal id of the draw that this slot answered for; 0-0 if none."""
        place = self._places.get(draw)
        return Position(0, 0) if place is None else _unpack(self._words[_word(place)])

    def note(self, draw: str, position: Position) -> None:
        """Keeps the id if it is higher. Must be called before the answer leaves the process."""
        packed = position.serial << SUB_BITS | position.sub
        with self._lock:
            place = self._places.get(draw)
            if place is None:
                place = self._add(draw)
            if packed > self._words[_word(place)]:
                self._words[_word(place)] = packed

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Around a call to the gate and the note of its answer."""
        with self._lock:
            self._calls += 1
        try:
            yield
        finally:
            with self._lock:
                self._calls -= 1
                self._calls_ended.notify_all()

    def wait_for_calls(self, timeout_s: float) -> bool:
        """Until no call is between the gate's answer and its note; False: one still is. Callers stop new ones first."""
        with self._lock:
            return self._calls_ended.wait_for(lambda: self._calls == 0, timeout_s)

    def all(self) -> dict[str, Position]:
        """Every draw of the slot with its highest id."""
        with self._lock:
            return {name: position for _, name, position in _records(bytes(self._map))}

    def close(self) -> None:
        """Gives the slot back; the file stays."""
        self._words.release()
        self._map.close()
        os.close(self._file)

    def _add(self, draw: str) -> int:
        used = set(self._places.values())
        place = next((p for p in range(RECORDS) if p not in used), None)
        if place is None:
            # Names end in date and time: the oldest draw gives way.
            oldest = min(self._places, key=lambda name: name.partition("-")[2])
            place = self._places.pop(oldest)
        self._words[_word(place)] = 0
        start = place * RECORD_BYTES
        self._map[start : start + NAME_BYTES] = draw.encode().ljust(NAME_BYTES, b"\0")
        self._places[draw] = place
        return place


def read_folder(folder: Path) -> dict[str, dict[str, Position]]:
    """What the slots know whose process is gone: slot → draw → id.

    A living process answers for itself: between the gate's answer and its note its file does not tell all.
    """
    found = {}
    for path in sorted(folder.glob("slot-*[0-9]")):
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found[_name_of(path)] = {name: position for _, name, position in _records(path.read_bytes())}
        except BlockingIOError:
            pass
        finally:
            os.close(file)
    return found


def _take_slot(folder: Path) -> tuple[int, Path]:
    for number in range(SLOTS_MAX):
        path = folder / f"slot-{number}"
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Its space is taken now: a write into a hole of the map would kill the process on a full disk.
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file, 0, RECORDS * RECORD_BYTES)
            os.ftruncate(file, RECORDS * RECORD_BYTES)
        except BlockingIOError:
            os.close(file)
            continue
        except BaseException:
            os.close(file)
            raise
        return file, path
    raise NoFreeSlot(f"all {SLOTS_MAX} witness slots are taken")


def _name_of(path: Path) -> str:
    """The slot's name; whoever asks first makes it. The caller holds the slot's lock."""
    name = path.with_name(path.name + ".name")
    if not name.exists():
        draft = path.with_name(path.name + ".new")
        draft.write_text(str(uuid.uuid4()))
        draft.replace(name)
    return name.read_text().strip()


def _records(raw: bytes) -> list[tuple[int, str, Position]]:
    found = []
    words = memoryview(raw).cast("Q") if len(raw) == RECORDS * RECORD_BYTES else memoryview(b"").cast("Q")
    for place in range(len(words) * 8 // RECORD_BYTES):
        if word := words[_word(place)]:
            start = place * RECORD_BYTES
            found.append((place, raw[start : start + NAME_BYTES].rstrip(b"\0").decode(), _unpack(word)))
    return found


def _word(place: int) -> int:
    return place * (RECORD_BYTES // 8) + NAME_BYTES // 8


def _unpack(word: int) -> Position:
    return Position(word >> SUB_BITS, word & (1 << SUB_BITS) - 1)
