"""What an ASGI server loads: `live.app:app`. The composition root of the process that tells events live."""

from __future__ import annotations

import os
import signal
from typing import Any

import msgspec
import socketio

from actions.resources import open_resources
from intake.doorbell import producer
from intake.live_queue import live_url
from live.granian_server import SERVER_PID
from live.teller import Teller
from runtime.clock import Clock
from runtime.key_ring import KeyRing
from runtime.logging import configure_logging
from runtime.process import collect_seldom, die_with_parent
from runtime.settings import Settings

CONNECTIONS = 4  # to each server; clients need none of their own
PING_EVERY_S, PING_ANSWER_S = 20, 10
MESSAGE_BYTES_MAX = 16 * 1024  # of a client, which has nothing to say but its token


def make_app(settings: Settings) -> Any:
    """The ASGI application; asks no server for anything before it starts."""
    url = live_url(settings.broker_url, settings.redis_url)
    publisher = producer(settings.broker_url)
    res = open_resources(settings, publisher, Clock(), connections=CONNECTIONS, witness=False)
    server = socketio.AsyncServer(
        async_mode="asgi",
        cors_allowed_origins=list(settings.cors_origins) or None,  # None: the same origin only
        ping_interval=PING_EVERY_S,
        ping_timeout=PING_ANSWER_S,
        max_http_buffer_size=MESSAGE_BYTES_MAX,
    )
    teller = Teller(res, KeyRing(settings.jwt_keys, settings.jwt_key_file), server, url)

    async def health(scope: Any, _: Any, send: Any) -> None:
        """GET /health/live: the process answers, and how many clients it has. Everything else is not here."""
        if scope["type"] != "http":
            return
        alive = scope["path"] == "/health/live"
        body = {"status": "live", "clients": teller.clients} if alive else {"code": "not_found"}
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200 if alive else 404, "headers": headers})
        await send({"type": "http.response.body", "body": msgspec.json.encode(body)})

    return socketio.ASGIApp(server, other_asgi_app=health, on_startup=teller.start)


# A process whose server was killed would run on, and nobody would find its clients.
_server = os.environ.get(SERVER_PID)
die_with_parent(signal.SIGKILL, parent_pid=int(_server) if _server else None)

_settings = Settings.from_env(os.environ)
configure_logging(_settings.log_level)
app = make_app(_settings)
collect_seldom()
