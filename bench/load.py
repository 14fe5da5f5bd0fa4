"""The load generator: one thread, many connections, one request at a time on each, every latency kept.

It costs the machine about as little as a generator in Python can: requests are bytes made in advance but for the
ticket's id, answers are read as far as their status and length. The same one drives the service, its floor and the
baselines, so that their ratios hold.
"""

from __future__ import annotations

import itertools
import json
import select
import socket
import sys
import time
from array import array
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

RECEIVE_BYTES = 256 * 1024
MARK = b"@"  # stands in a body where an id belongs
ID_CHARACTERS = 36
SILENCE_S = 20.0  # a connection that hears nothing for so long has lost its answer
LATE_S = 10.0  # an open-loop run that ends with requests unanswered waits so long for them


@dataclass
class Run:
    """What one run saw: answers by status, seconds of each answer in order of arrival, and the run's length."""

    statuses: Counter[int] = field(default_factory=Counter)
    latencies: array[float] = field(default_factory=lambda: array("d"))
    seconds: float = 0.0

    @property
    def good(self) -> int:
        """Answers of 2xx."""
        return sum(count for status, count in self.statuses.items() if 200 <= status < 300)

    def percentiles(self) -> dict[str, float]:
        """Milliseconds at p50, p99 and p99.9."""
        ordered = sorted(self.latencies)
        if not ordered:
            return {}
        at = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}
        return {name: ordered[min(len(ordered) - 1, int(len(ordered) * q))] * 1000 for name, q in at.items()}

    def summary(self) -> dict[str, Any]:
        """For a table or a file."""
        return {
            "per_s": self.good / self.seconds if self.seconds else 0.0,
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            "ms": self.percentiles(),
            "seconds": self.seconds,
        }


class _Connection:
    """One kept connection, with one request on its way at most."""

    def __init__(self, port: int, requests: Iterator[bytes]) -> None:
        self.requests = requests
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=SILENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.began = 0.0
        self._buffer = b""

    def send(self, began: float) -> None:
        self.began = began
        self.socket.sendall(next(self.requests))

    def receive(self) -> int | None:
        """The status once the answer is whole; None: not yet. Raises ConnectionError."""
        part = self.socket.recv(RECEIVE_BYTES)
        if not part:
            raise ConnectionError("the server closed the connection")
        self._buffer = self._buffer + part if self._buffer else part
        head = self._buffer.find(b"\r\n\r\n")
        if head < 0 or len(self._buffer) < head + 4 + _length(self._buffer[:head]):
            return None
        status = int(self._buffer[9:12])
        self._buffer = b""
        return status


def _length(head: bytes) -> int:
    start = head.lower().find(b"content-length:")
    return int(head[start + 15 :].split(b"\r\n", 1)[0]) if start >= 0 else 0


def closed(port: int, requests: Sequence[Iterator[bytes]], seconds: float) -> Run:
    """As fast as answers come: each connection sends its next request once it has the answer."""
    with _Poll(port, requests) as poll:
        run, began = Run(), time.perf_counter()
        ends = began + seconds
        for connection in poll.connections:
            connection.send(time.perf_counter())
        open_ = len(poll.connections)
        while open_:
            for connection, status in poll.answers():
                now = time.perf_counter()
                _count(run, connection, status, now)
                if now < ends:
                    connection.send(now)
                else:
                    open_ -= 1
        run.seconds = time.perf_counter() - began
    return run


def paced(
    port: int, requests: Sequence[Iterator[bytes]], per_s: Callable[[float], float] | float, seconds: float
) -> Run:
    """At a rate of its own, whatever the answers do: a latency runs from the moment when the request was due.

    `per_s`: the rate, or the rate by seconds since the start.
    """
    rate = per_s if callable(per_s) else lambda _: per_s
    with _Poll(port, requests) as poll:
        run, began = Run(), time.perf_counter()
        free, due, next_due = deque(poll.connections), deque[float](), began
        ends, busy = began + seconds, 0
        while True:
            now = time.perf_counter()
            while next_due <= now and next_due < ends:
                due.append(next_due)
                next_due += 1 / max(rate(next_due - began), 1e-9)
            while due and free:
                free.popleft().send(due.popleft())
                busy += 1
            if next_due >= ends and not due and not busy:
                break
            if now > ends + LATE_S:
                run.statuses[0] += busy + len(due)  # never answered
                break
            wait = min(next_due, ends) - time.perf_counter() if not due else 0.05
            for connection, status in poll.answers(max(0.0, min(wait, 0.05))):
                _count(run, connection, status, time.perf_counter())
                free.append(connection)
                busy -= 1
        run.seconds = min(time.perf_counter(), ends) - began
    return run


def _count(run: Run, connection: _Connection, status: int, now: float) -> None:
    run.statuses[status] += 1
    run.latencies.append(now - connection.began)


class _Poll:
    """The connections of one run."""

    def __init__(self, port: int, requests: Sequence[Iterator[bytes]]) -> None:
        self.connections = [_Connection(port, mine) for mine in requests]
        self._poll = select.poll()
        self._by_fd = {connection.socket.fileno(): connection for connection in self.connections}
        for fd in self._by_fd:
            self._poll.register(fd, select.POLLIN)

    def __enter__(self) -> _Poll:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self.connections:
            connection.socket.close()

    def answers(self, wait_s: float = SILENCE_S) -> Iterator[tuple[_Connection, int]]:
        """Whole answers that have come by now. Raises ConnectionError, TimeoutError."""
        ready = self._poll.poll(wait_s * 1000)
        if not ready and wait_s >= SILENCE_S:
            raise TimeoutError(f"no answer in {SILENCE_S} s")
        for fd, _ in ready:
            connection = self._by_fd[fd]
            status = connection.receive()
            if status is not None:
                yield connection, status


# ── what is sent ────────────────────────────────────────────────────────────────────────────────────────────


def request(path: str, token: str, body: bytes) -> bytes:
    """One POST, whole, but for its ids."""
    length = len(body) + body.count(MARK) * (ID_CHARACTERS - len(MARK))
    login = f"Authorization: Bearer {token}\r\n" if token else ""
    head = f"POST {path} HTTP/1.1\r\nHost: bench\r\n{login}Content-Type: application/json\r\n"
    return f"{head}Content-Length: {length}\r\n\r\n".encode() + body


def numbered(templates: Sequence[bytes], mark: bytes, prefix: int) -> Iterator[bytes]:
    """The requests in turn, each `mark` in them replaced by an id of its own; `prefix` keeps generators apart."""
    split = [template.split(mark) for template in templates]
    for count in itertools.count():
        first, *rest = split[count % len(split)]
        for number, part in enumerate(rest):
            first += b"%08x-0000-4000-8%03x-%012x" % (prefix, number, count) + part
        yield first


# ── as a process of its own ─────────────────────────────────────────────────────────────────────────────────


def main() -> int:
    """Reads a job as JSON, says how it went as JSON.

    The job: port, path, seconds, per_s (0: as fast as it goes), prefix, and a token with its list of bodies for
    each connection.
    """
    job = json.loads(sys.stdin.readline())
    requests = [
        numbered([request(job["path"], token, body.encode()) for body in bodies], MARK, job["prefix"] + number)
        for number, (token, bodies) in enumerate(job["connections"])
    ]
    if job["per_s"]:
        run = paced(job["port"], requests, job["per_s"], job["seconds"])
    else:
        run = closed(job["port"], requests, job["seconds"])
    print(json.dumps(run.summary()), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
