"""Where the files of reports lie: outside the database, readable by us alone, whole or not there at all.

A file is written as a draft, brought to the disk, and given its name; the row that tells of it comes after that. What a
process that died leaves behind has a name that no row knows, and is swept.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

READ_BYTES = 256 * 1024

_DRAFT, _DRAFTS = ".draft", ".drafts"
# Only what we named ourselves is ever deleted, whatever else lies there.
_OURS = re.compile(r"\A([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\.[0-9a-f]{16})(?:\.drafts?)?\Z")


class Damaged(Exception):
    """The file is not there, or not what was written."""


class Written(NamedTuple):
    """What is known of a file once it is there."""

    size_bytes: int
    sha256: bytes


def new_name(report_id: uuid.UUID) -> str:
    """The name of a try's file, which no other try has."""
    return f"{report_id}.{secrets.token_hex(8)}"


class ReportFolder:
    """The folder at `path`, made when the first report is written."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, name: str, fill: Callable[[BinaryIO, Path], None]) -> Written:
        """Has `fill` write the file of that name; it may use the folder that it is given for drafts of its own.

        Raises OSError, and whatever `fill` does; then nothing is left behind.
        """
        self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft, drafts = self._path / f"{name}{_DRAFT}", self._path / f"{name}{_DRAFTS}"
        try:
            drafts.mkdir(mode=0o700)
            with open(draft, "xb", opener=_for_us_alone) as file:
                fill(file, drafts)
                file.flush()
                os.fsync(file.fileno())
            with draft.open("rb") as file:
                written = Written(os.fstat(file.fileno()).st_size, _digest(file))
            draft.replace(self._path / name)
            _sync(self._path)
        finally:
            draft.unlink(missing_ok=True)
            shutil.rmtree(drafts, ignore_errors=True)
        return written

    def open(self, name: str, written: Written) -> BinaryIO:
        """The file, at its beginning, after it was read once and found to be what was written.

        Raises Damaged; OSError where that cannot be said: a folder that is not there (mounted), too many open files.
        """
        try:
            file = (self._path / name).open("rb")
        except FileNotFoundError as error:
            if not self._path.is_dir():
                raise
            raise Damaged(str(error)) from error
        try:
            if os.fstat(file.fileno()).st_size != written.size_bytes or _digest(file) != written.sha256:
                raise Damaged("it has been changed")
            file.seek(0)
        except BaseException:
            file.close()
            raise
        return file

    def remove(self, name: str) -> None:
        """Deletes a file, if it is there."""
        (self._path / name).unlink(missing_ok=True)

    def older_than(self, instant: float) -> Iterator[tuple[str, Path]]:
        """(the file's name, the path) of all files and drafts of ours last written before that; seconds since 1970."""
        if not self._path.is_dir():
            return
        with os.scandir(self._path) as entries:
            for entry in entries:
                found = _OURS.match(entry.name)
                if found and _last_written(entry) < instant:
                    yield found[1], Path(entry.path)


def delete(path: Path) -> None:
    """Deletes a file or a folder of drafts, if it is there."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _for_us_alone(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _digest(file: BinaryIO) -> bytes:
    digest = hashlib.sha256()
    while part := file.read(READ_BYTES):
        digest.update(part)
    return digest.digest()


def _last_written(entry: os.DirEntry[str]) -> float:
    try:
        return entry.stat(follow_symlinks=False).st_mtime
    except FileNotFoundError:
        return float("inf")


def _sync(folder: Path) -> None:
    """Brings the folder's names to the disk."""
    with _opened(folder) as descriptor:
        os.fsync(descriptor)


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
