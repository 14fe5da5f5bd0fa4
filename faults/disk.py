"""A small disk of PostgreSQL's own that can be filled: a tmpfs in a user and mount namespace of this run's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

INSIDE = "FAULTS_INSIDE_NAMESPACE"
# A run of half an hour needs a third of it.
DISK_MB = 1024
ENTER = ("unshare", "--user", "--map-root-user", "--mount")
BALLOON = "balloon"


def enter_namespace() -> str:
    """Starts this program again inside a namespace; comes back only inside (""), or with the reason why it cannot."""
    if os.environ.pop(INSIDE, ""):
        return ""
    if missing := missing_namespace():
        return missing
    os.environ[INSIDE] = "1"
    os.execvp(ENTER[0], [*ENTER, "--", sys.executable, "-m", "faults"])


def missing_namespace() -> str:
    """Why there can be no namespace here; "" if there can."""
    try:
        tried = subprocess.run([*ENTER, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, text=True)
    except OSError as error:
        return f"{ENTER[0]}: {error.strerror}"
    said = tried.stderr.strip() or f"exit code {tried.returncode}"
    return f"no user namespace with a mount of its own here: {said}" if tried.returncode else ""


class Disk:
    """The disk below a directory; without a namespace there is none, and it cannot be filled."""

    def __init__(self, home: Path, missing: str) -> None:
        self.missing = missing
        self._home, self._mounted = home, False

    def mount(self) -> None:
        """Before anything is in it."""
        self._home.mkdir(mode=0o700, parents=True)
        if not self.missing:
            options = f"size={DISK_MB}m,mode=0700"
            subprocess.run(["mount", "-t", "tmpfs", "-o", options, "drawbreak-faults", str(self._home)], check=True)
            self._mounted = True

    def fill(self) -> int:
        """Takes what is free; bytes."""
        status = os.statvfs(self._home)
        free, size = status.f_bavail * status.f_frsize, 0
        file = os.open(self._home / BALLOON, os.O_CREAT | os.O_WRONLY, 0o600)
        for piece in (free, 1 << 20, status.f_frsize):  # the server writes meanwhile, so the last is taken bit by bit
            with suppress(OSError):
                while piece:
                    os.posix_fallocate(file, size, piece)
                    size += piece
        os.close(file)
        return size

    def empty(self) -> None:
        """Gives it back."""
        (self._home / BALLOON).unlink(missing_ok=True)

    def keep(self) -> None:
        """Brings its content to where it outlives the namespace. The server must be stopped."""
        if not self._mounted:
            return
        copy = self._home.with_name(self._home.name + ".kept")
        shutil.copytree(self._home, copy, symlinks=True, ignore=shutil.ignore_patterns(BALLOON, "s"))
        subprocess.run(["umount", str(self._home)], check=True)
        self._home.rmdir()
        copy.rename(self._home)
