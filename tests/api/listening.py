"""Processes that tell events live, and clients that keep all that they hear."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import socketio
import websocket

from runtime.process import free_port, spawn_options
from runtime.settings import Settings

ROOT = Path(__file__).parents[2]
DEADLINE_S = 30.0


class Process:
    """`drawbreak serve live` on a port of its own."""

    def __init__(self, settings: Settings, **environ: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        given = {
            "DATABASE_URL": settings.database_url,
            "REDIS_URL": settings.redis_url,
            "VAR": str(settings.var_dir),
            "LIVE_PORT": str(self.port),
        }
        self.log = settings.var_dir / f"live-{self.port}.log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "live.granian_server"],
                env=os.environ | given | environ,
                cwd=ROOT,
                stdout=log,
                stderr=log,
                **spawn_options(signal.SIGTERM),
            )

    def wait(self) -> None:
        """Until it answers."""
        wait(self._answers)

    def _answers(self) -> bool:
        assert self._process.poll() is None, self.log.read_text()
        with suppress(OSError):
            return bool(urllib.request.urlopen(f"{self.url}/health/live", timeout=2).status == 200)
        return False

    @property
    def clients(self) -> int:
        """How many it has."""
        with urllib.request.urlopen(f"{self.url}/health/live", timeout=DEADLINE_S) as answer:
            return int(json.load(answer)["clients"])

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(DEADLINE_S)


def wait(holds: Callable[[], object], why: str = "it did not come") -> None:
    """Until it holds."""
    deadline = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < deadline, why
        time.sleep(0.02)


class Ear:
    """One Socket.IO client. `heard`: (event, body) in the order in which they came."""

    def __init__(self, url: str, token: str | None, since: int | None = None, transport: str = "websocket") -> None:
        self.heard: list[tuple[str, dict[str, Any]]] = []
        self._client = socketio.Client(reconnection=False)
        self._client.on("*", lambda event, body: self.heard.append((event, body)))
        auth = {"token": token} | ({} if since is None else {"since": since})
        self._client.connect(url, auth=auth, transports=[transport], wait_timeout=int(DEADLINE_S))
        wait(lambda: self.of("caught_up"))

    def of(self, *names: str) -> list[dict[str, Any]]:
        """The bodies of these events."""
        return [body for event, body in list(self.heard) if event in names]

    @property
    def connected(self) -> bool:
        return bool(self._client.connected)

    def close(self) -> None:
        self._client.disconnect()


class DeafEar:
    """Connects, and never reads again."""

    def __init__(self, process: Process, token: str | None) -> None:
        self._socket = websocket.create_connection(
            f"ws://127.0.0.1:{process.port}/socket.io/?EIO=4&transport=websocket",
            sockopt=[(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)],
            timeout=DEADLINE_S,
        )
        assert self._socket.recv().startswith("0")
        self._socket.send("40" + json.dumps({"token": token}))
        assert self._socket.recv().startswith("40")

    def close(self) -> None:
        self._socket.shutdown()


def refusal(url: str, auth: Any) -> str:
    """What a connection is refused with."""
    told: list[Any] = []
    client = socketio.Client(reconnection=False)
    client.on("connect_error", told.append)
    with suppress(socketio.exceptions.ConnectionError):
        client.connect(url, auth=auth, transports=["websocket"], wait_timeout=int(DEADLINE_S))
    client.disconnect()
    assert told, "it was let in"
    return str(told[0].get("message") if isinstance(told[0], dict) else told[0])
