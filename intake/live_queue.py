"""The queue that carries events to the processes that tell them: a channel of a Redis-compatible server.

It promises nothing: who listens numbers what he hears, and reads in the database what he missed (live/teller.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import redis
import redis.asyncio
import structlog

from intake.client import make_client
from intake.counters import client_url
from intake.gate_errors import translated

CHANNEL = "drawbreak:live"
ANSWER_S = 2.0
AGAIN_S = 0.5  # after the connection was lost

_log = structlog.get_logger()


def live_url(broker_url: str, redis_url: str) -> str:
    """Where events go: the broker's server, or the gate's where the broker is no plain Redis."""
    return client_url(broker_url) or redis_url


class LiveQueue:
    """The sending side, for workers."""

    def __init__(self, url: str) -> None:
        self._client: redis.Redis = make_client(url, timeout_s=ANSWER_S, connections=1)

    def publish(self, messages: Sequence[bytes]) -> None:
        """Sends them in order, to whoever listens. Raises IntakeUnavailable: some may have been sent."""
        with translated():
            pipe = self._client.pipeline(transaction=False)
            for message in messages:
                pipe.publish(CHANNEL, message)
            pipe.execute()

    def close_connections(self) -> None:
        """Gives the connection back."""
        self._client.close()
        self._client.connection_pool.disconnect()


async def heard(url: str) -> AsyncIterator[bytes | None]:
    """Messages as they come, without end; None whenever the listening begins anew: what was sent before may be lost."""
    while True:
        try:
            client = redis.asyncio.Redis.from_url(url, socket_connect_timeout=ANSWER_S, health_check_interval=5)
            async with client, client.pubsub(ignore_subscribe_messages=True) as channel:
                await channel.subscribe(CHANNEL)
                yield None
                async for message in channel.listen():
                    yield message["data"]
        except (redis.RedisError, OSError) as error:
            _log.warning("live_queue_lost", error=str(error))
        await asyncio.sleep(AGAIN_S)
