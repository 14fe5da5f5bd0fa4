"""The selling side as its parent sees it: a few processes of terminals, started, told to go, and watched."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from demo.calls import Unexpected
from demo.people import Terminal
from runtime.process import spawn_options

PROCESSES = 2  # the servers need the processors more than the terminals do
READY_WAIT_S = 60


class _Client:
    """One process of terminals. A thread reads what it says."""

    def __init__(self, job: dict[str, Any], log: Path) -> None:
        with log.open("ab") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "demo.clients"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
                **spawn_options(signal.SIGKILL),
            )  # fmt: skip
        self.said: dict[str, Any] = {"answered": [0] * len(job["draws"]), "ready": False}
        self.say(json.dumps(job))
        threading.Thread(target=self._listen, daemon=True).start()

    def say(self, line: str) -> None:
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # its exit code tells
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.update(json.loads(line))


class Sale:
    """All terminals. Call from the main thread: children end with the thread that started them."""

    def __init__(self, port: int, draws: Sequence[str], terminals: Sequence[Terminal], folder: Path, seed: int) -> None:
        folder.mkdir(parents=True)
        self._log = folder.parent / "clients.log"
        groups = [terminals[start::PROCESSES] for start in range(PROCESSES)]
        head = {"port": port, "draws": list(draws), "folder": str(folder), "seed": seed}
        jobs = [{**head, "terminals": [_described(t) for t in group]} for group in groups if group]
        self._clients = [_Client(job, self._log) for job in jobs]

    def go(self) -> None:
        """Waits until everybody is logged in, and opens the doors. Raises Unexpected."""
        deadline = time.monotonic() + READY_WAIT_S
        while not all(client.said["ready"] for client in self._clients):
            self.check()
            if time.monotonic() > deadline:
                raise Unexpected(f"the terminals did not log in within {READY_WAIT_S} s")
            time.sleep(0.05)
        for client in self._clients:
            client.say("go")

    @property
    def answered(self) -> list[int]:
        """Customers served so far, per draw."""
        return [sum(column) for column in zip(*(c.said["answered"] for c in self._clients), strict=True)]

    @property
    def finished(self) -> bool:
        return all(client.process.poll() == 0 for client in self._clients)

    def check(self) -> None:
        """Raises Unexpected when a process of terminals failed."""
        for client in self._clients:
            if client.process.poll() not in (None, 0):
                raise Unexpected(f"terminals failed: {client.said.get('failed', 'see ' + str(self._log))}")

    def stop(self) -> None:
        """Ends what is left of it."""
        for client in self._clients:
            if client.process.poll() is None:
                client.process.kill()
            client.process.wait()
            for pipe in (client.process.stdin, client.process.stdout):
                assert pipe is not None
                with suppress(OSError):
                    pipe.close()


def _described(terminal: Terminal) -> dict[str, Any]:
    counter = terminal.counter
    return {
        "username": counter.name,
        "password": terminal.password,
        "index": counter.index,
        "customers": counter.customers,
        "late": counter.late,
        "credit": counter.credit,
    }
