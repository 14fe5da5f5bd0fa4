"""A bad line between the terminals and the API: `python -m faults.proxy PORT UPSTREAM SEED`.

Fair until it is told otherwise on its standard input: `{"cut before": 0.5}` says what share of the requests fares how
(none: `{}`), and the end of the input ends it. It then prints how often it did what, as JSON.

cut before   the connection breaks before the request has passed, or in the middle of it
cut after    the request has passed, and its answer is lost
delay        the request waits before it passes
double       the request passes twice at once, over two connections; either one's answer is given
echo         the request passes once more, seconds after it was answered
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from random import Random

HEAD_BYTES_MAX = 65_536
DELAY_S = (0.2, 3.0)
ECHO_S = (0.5, 12.0)
ANSWER_S = 60  # no longer than this for an answer that nobody waits for

BROKEN = (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.TimeoutError)


class Proxy:
    """Passes whole messages on, or not."""

    def __init__(self, upstream: int, rng: Random) -> None:
        self.shares: dict[str, float] = {}
        self.done: Counter[str] = Counter()
        self._upstream = upstream
        self._rng = rng
        self._later: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client's connection, until either side ends it."""
        try:
            while request := await _message(reader):
                answer = await self._passed(request)
                if not answer:
                    return
                writer.write(answer)
                await writer.drain()
        except BROKEN:
            pass
        finally:
            writer.transport.abort()

    async def _passed(self, request: bytes) -> bytes:
        """The answer to give; b"" to break the connection instead."""
        fate = self._fate()
        self.done[fate] += 1
        if fate == "cut before":
            if self._rng.random() < 0.5:
                await self._send_half(request)
            return b""
        if fate == "delay":
            await asyncio.sleep(self._rng.uniform(*DELAY_S))
        if fate == "double":
            answers = await asyncio.gather(self._asked(request), self._asked(request))
            return self._rng.choice(answers) or answers[0] or answers[1]
        answer = await self._asked(request)
        if fate == "echo":
            later = asyncio.create_task(self._again(request, self._rng.uniform(*ECHO_S)))
            self._later.add(later)  # or nothing holds it
            later.add_done_callback(self._later.discard)
        return b"" if fate == "cut after" else answer

    def _fate(self) -> str:
        point = self._rng.random()
        for fate, share in self.shares.items():
            point -= share
            if point < 0:
                return fate
        return "passed"

    async def _asked(self, request: bytes) -> bytes:
        """The API's answer over a connection of its own; b"" if there is none."""
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._upstream, limit=HEAD_BYTES_MAX)
        except OSError:
            return b""
        try:
            writer.write(request)
            await writer.drain()
            return await asyncio.wait_for(_message(reader), ANSWER_S)
        except BROKEN:
            return b""
        finally:
            writer.transport.abort()

    async def _send_half(self, request: bytes) -> None:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self._upstream)
        except OSError:
            return
        writer.write(request[: self._rng.randrange(len(request))])
        await writer.drain()
        writer.close()

    async def _again(self, request: bytes, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._asked(request)


async def _message(reader: asyncio.StreamReader) -> bytes:
    """One whole HTTP message, request or answer; b"" at the end of the connection."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return b""
    length = 0
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return head + await reader.readexactly(length)


async def _run(port: int, upstream: int, seed: str) -> None:
    proxy = Proxy(upstream, Random(seed))
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", port, limit=HEAD_BYTES_MAX)
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    print("ready", flush=True)
    while line := await orders.readline():
        proxy.shares = json.loads(line)
    server.close()
    print(json.dumps(proxy.done), flush=True)


if __name__ == "__main__":
    asyncio.run(_run(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
