"""Connections to the Redis-compatible server, and which server it is that answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from intake import keys
from runtime.breaker import Breaker, Rule

POOL_WAIT_S = 0.5


class ServerIdentity(NamedTuple):
    """Which life of which server answers. `generation` is None while the gate may not sell."""

    run_id: str
    replid: str
    generation: int | None


class ServerChanged(RedisConnectionError):
    """A new connection reached another server, or another life of it, than the last reconciled one."""


def make_client(
    url: str,
    *,
    timeout_s: float,
    connections: int,
    retries: int = 0,
    verify: Callable[[ServerIdentity], bool] | None = None,
) -> redis.Redis:
    """A client with a bounded pool; `verify` looks at the server's identity on every new connection.

    A retry repeats a write that may already have happened: `retries` is at most 1, and only for calls that carry an id.
    """
    pool = redis.BlockingConnectionPool.from_url(
        url,
        max_connections=connections,
        timeout=POOL_WAIT_S,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), retries, supported_errors=(RedisConnectionError,)),
        protocol=2,
        driver_info=None,
        redis_connect_func=_connector(verify) if verify else None,
    )
    client = redis.Redis(connection_pool=pool)
    # Entries of streams as they come: the library makes a dictionary of each, a fifth of the time that reading takes.
    client.set_response_callback("XRANGE", lambda answer, **_: answer)
    return client


def make_breaker(name: str, url: str, timeout_s: float, rule: Rule) -> Breaker:
    """A breaker around calls to the server at `url`; each of its probes has so many seconds."""
    prober = make_client(url, timeout_s=timeout_s, connections=1)
    return Breaker(name, rule, failed=_gave_no_answer, probe=prober.ping)


def _gave_no_answer(error: Exception) -> bool:
    """Another server than the one that was expected has answered all the same."""
    return isinstance(error, RedisConnectionError | RedisTimeoutError) and not isinstance(error, ServerChanged)


def _connector(verify: Callable[[ServerIdentity], bool]) -> Callable[[Any], None]:
    def connect(connection: Any) -> None:
        connection.on_connect()
        found = {}
        for section in ("server", "replication"):
            connection.send_command("INFO", section)
            found.update(_parse_info(connection.read_response()))
        connection.send_command("HGET", keys.GATE, "generation")
        if not verify(_identity(found, connection.read_response())):
            raise ServerChanged("not the server, or not the life of it, that was last reconciled")

    return connect


def identify(client: redis.Redis) -> ServerIdentity:
    """The identity of the server behind `client`, read now."""
    info: dict[str, Any] = {}
    for section in ("server", "replication"):
        info.update(client.info(section))
    return _identity(info, client.hget(keys.GATE, "generation"))


def _identity(info: dict[str, Any], generation: Any) -> ServerIdentity:
    return ServerIdentity(
        run_id=str(info["run_id"]),
        replid=str(info["master_replid"]),
        generation=None if generation is None else int(generation),
    )


def _parse_info(answer: Any) -> dict[str, str]:
    text = answer.decode() if isinstance(answer, bytes) else str(answer)
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
