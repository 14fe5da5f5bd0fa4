"""Clients of live events as a process of its own: one thread, a websocket each, every event counted and thrown away.

Only as much of the protocols as that needs: Socket.IO 5 over Engine.IO 4 over RFC 6455, text frames.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import Counter

UPGRADE = (
    "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
TEXT, CLOSE = 0x81, 0x88
AT_ONCE = 50  # that connect


async def listen(port: int, token: str, heard: Counter[str], let_in: asyncio.Semaphore, ready: asyncio.Event) -> None:
    """One client, until it is cancelled. Raises ConnectionError when it is sent away."""
    async with let_in:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(UPGRADE.encode())
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 101 " not in head.splitlines()[0]:
            raise ConnectionError(head.splitlines()[0].decode())
        while (text := await _read(reader))[:2] != "40":
            if text[:1] == "0":
                _send(writer, "40" + json.dumps({"token": token}))
            elif text[:2] == "44":
                raise ConnectionError(text)
    ready.set()
    while True:
        text = await _read(reader)
        if text == "2":
            _send(writer, "3")
        elif text[:2] == "42":
            heard[text[4 : text.index('"', 4)]] += 1


async def _read(reader: asyncio.StreamReader) -> str:
    first, length = await reader.readexactly(2)
    if length > 125:
        length = int.from_bytes(await reader.readexactly(2 if length == 126 else 8))
    text = (await reader.readexactly(length)).decode()
    if first == CLOSE:
        raise ConnectionError("sent away")
    return text


def _send(writer: asyncio.StreamWriter, text: str) -> None:
    data, mask = text.encode(), os.urandom(4)
    size = bytes([0x80 | len(data)]) if len(data) < 126 else bytes([0x80 | 126]) + len(data).to_bytes(2)
    masked = bytes(byte ^ mask[place % 4] for place, byte in enumerate(data))
    writer.write(bytes([TEXT]) + size + mask + masked)


async def main() -> None:
    """Reads {port, tokens}; says "ready" once all are connected, and at the end of its input what they heard."""
    job = json.loads(sys.stdin.readline())
    heard: Counter[str] = Counter()
    let_in = asyncio.Semaphore(AT_ONCE)
    ready = [asyncio.Event() for _ in job["tokens"]]
    clients = [
        asyncio.create_task(listen(job["port"], token, heard, let_in, event))
        for token, event in zip(job["tokens"], ready, strict=True)
    ]
    await asyncio.wait_for(asyncio.gather(*(event.wait() for event in ready)), 120)
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    lost = sum(client.done() for client in clients)
    print(json.dumps({"heard": dict(heard), "lost": lost}), flush=True)
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main())
