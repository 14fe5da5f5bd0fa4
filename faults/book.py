"""What somebody asked and was answered, in a file of his own: appended, and on disk before he goes on.

A line is `{"n", "call", "method", "path", "body", "key", "at"}` when something is asked, and `{"n", "status", "answer",
"at", "tries"}` when there is a final answer; `n` counts what was asked, `tries` says what came of the tries before it.
Whoever is killed in between reads his file and asks again.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Entry:
    """One thing asked; `status` 0 while there is no answer. Instants in seconds since 1970."""

    n: int
    call: str
    method: str
    path: str
    body: Any
    key: str
    at: float
    status: int = 0
    answer: Any = None
    answered_at: float = 0.0
    tries: list[str] = field(default_factory=list)

    @property
    def code(self) -> str:
        """The problem's code; "" for an answer that is none."""
        return str(self.answer.get("code", "")) if self.status >= 400 and isinstance(self.answer, dict) else ""


class Book:
    """Opens the file, or goes on where an earlier life stopped."""

    def __init__(self, path: Path) -> None:
        self.entries = read_book(path)  # what an earlier life asked
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        self._last = max((entry.n for entry in self.entries), default=0)
        self._lock = threading.Lock()
        _forget_torn_line(self._file)

    def asked(self, call: str, method: str, path: str, body: Any, key: str) -> Entry:
        """Writes down what is about to be asked."""
        with self._lock:
            self._last += 1
            entry = Entry(self._last, call, method, path, body, key, time.time())
            fields = {"n": entry.n, "call": call, "method": method, "path": path, "body": body, "key": key}
            self._write({**fields, "at": entry.at})
        return entry

    def answered(self, entry: Entry, status: int, answer: Any, tries: list[str]) -> None:
        """Writes down the final answer."""
        entry.status, entry.answer, entry.answered_at, entry.tries = status, answer, time.time(), tries
        with self._lock:
            fields = {"n": entry.n, "status": status, "answer": answer}
            self._write({**fields, "at": entry.answered_at, "tries": tries})

    def _write(self, line: dict[str, Any]) -> None:
        os.write(self._file, json.dumps(line).encode() + b"\n")
        os.fsync(self._file)


def _forget_torn_line(file: int) -> None:
    """What a kill left of a line: nothing was done on its word."""
    size = os.fstat(file).st_size
    whole = os.pread(file, size, 0).rfind(b"\n") + 1
    if whole < size:
        os.ftruncate(file, whole)


def read_book(path: Path) -> list[Entry]:
    """Everything that was asked, in order. Raises ValueError for a line that is none, but for a torn one at the end."""
    entries: dict[int, Entry] = {}
    for line in _lines(path):
        fields = json.loads(line)
        if "call" in fields:
            entries[fields["n"]] = Entry(**fields)
        else:
            entry = entries[fields["n"]]
            entry.status, entry.answer = fields["status"], fields["answer"]
            entry.answered_at, entry.tries = fields["at"], fields["tries"]
    return list(entries.values())


def _lines(path: Path) -> Iterator[bytes]:
    if path.exists():
        yield from path.read_bytes().split(b"\n")[:-1]
