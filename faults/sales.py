"""The selling side as its parent sees it: terminals, and the line between them and the API; each a process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

from demo.people import Terminal
from runtime.process import free_port, spawn_options

STOP_S = 60


class _Process:
    """A child that takes lines of JSON, and says lines."""

    def __init__(self, log: Path, *words: str) -> None:
        with log.open("ab") as errors:
            self.child = subprocess.Popen(
                [sys.executable, "-m", *words],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
                **spawn_options(signal.SIGKILL),
            )  # fmt: skip
        assert self.child.stdin is not None
        assert self.child.stdout is not None
        self.into, self.out = self.child.stdin, self.child.stdout

    def say(self, what: Mapping[str, Any]) -> None:
        with suppress(OSError, ValueError):  # it is gone; its exit code tells
            self.into.write(json.dumps(what) + "\n")
            self.into.flush()

    def end(self) -> None:
        with suppress(OSError):
            self.into.close()

    def close(self) -> None:
        """After its end."""
        self.end()
        self.out.close()


class _Counter:
    """One terminal and its lives. A thread reads how many orders it has done."""

    def __init__(self, job: dict[str, Any], log: Path) -> None:
        self.job, self._log = job, log
        self.start()

    def start(self) -> None:
        """A new life, on the same book. From the main thread: children end with the thread that started them."""
        self.process = _Process(self._log, "faults.terminal")
        self.given = self.done = 0
        self.process.say(self.job)
        threading.Thread(target=self._listen, args=(self.process,), daemon=True).start()

    def pay(self, order: Mapping[str, str]) -> None:
        self.given += 1
        self.process.say(order)

    def _listen(self, process: _Process) -> None:
        for line in process.out:
            if process is self.process:
                self.done = json.loads(line)["done"]


class Sales:
    """All terminals, and the proxy before the API."""

    def __init__(self, api_port: int, seed: int, folder: Path) -> None:
        self.port = free_port()
        self.folder = folder
        self.fates: dict[str, int] = {}  # how the requests fared, once it is over
        self._seed = seed
        self._log = folder / "processes.log"
        self._counters: list[_Counter] = []
        self._proxy = _Process(self._log, "faults.proxy", str(self.port), str(api_port), f"{seed}/proxy")
        assert self._proxy.out.readline().strip() == "ready", f"the proxy did not start, see {self._log}"

    def open(self, terminals: Sequence[Terminal]) -> None:
        """Starts the terminals; they sell at once what is open."""
        for terminal in terminals:
            name = terminal.counter.name
            job = {"port": self.port, "username": name, "password": terminal.password, "seed": self._seed}
            self._counters.append(_Counter({**job, "book": str(self.book(name))}, self._log))

    def book(self, name: str) -> Path:
        """A terminal's file."""
        return self.folder / f"{name}.jsonl"

    def weather(self, shares: Mapping[str, float]) -> None:
        """What share of the requests meets which fate from now on."""
        self._proxy.say(shares)

    def pay(self, number: str, code: str) -> None:
        """Somebody asks for his prize, at two terminals at once."""
        for counter in Random(f"{self._seed}/{number}").sample(self._counters, 2):
            counter.pay({"pay": number, "code": code})

    def reboot(self, at: float) -> str:
        """Kills a terminal and starts it again; its name."""
        counter = Random(f"{self._seed}/{at}").choice(self._counters)
        counter.process.child.kill()
        counter.process.child.wait()
        counter.process.close()
        counter.start()
        return str(counter.job["username"])

    def calm(self) -> None:
        """Nothing is sold from here on; prizes are."""
        for counter in self._counters:
            counter.process.say({"calm": True})

    @property
    def orders_left(self) -> int:
        return sum(counter.given - counter.done for counter in self._counters)

    def close(self) -> list[str]:
        """Lets the terminals end what they have begun, then the line; those that could not."""
        for counter in self._counters:
            counter.process.say({"stop": True})
        deadline = time.monotonic() + STOP_S
        while any(c.process.child.poll() is None for c in self._counters) and time.monotonic() < deadline:
            time.sleep(0.1)
        late = [c.job["username"] for c in self._counters if c.process.child.poll() != 0]
        self._proxy.end()
        self.fates = json.loads(self._proxy.out.readline() or "{}")
        return [f"{name} did not end in order, see {self._log}" for name in late]

    def kill(self) -> None:
        """Ends what is left of it."""
        for process in (*(counter.process for counter in self._counters), self._proxy):
            process.child.kill()
            process.child.wait()
            process.close()
