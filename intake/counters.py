"""Where requests are counted for their limits: the broker's server, which the gate can spare the work."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from intake.client import make_breaker, make_client
from runtime.breaker import Rule

# A broker that hangs may hold a request up this long, once; then every process counts for itself for a while.
TIMEOUT_S = 0.3

IN_THIS_PROCESS = "memory://"


class Counters(NamedTuple):
    """Storage URI and options for the library that counts; `asking` goes around each question to the storage."""

    uri: str
    options: dict[str, Any]
    asking: Callable[[], AbstractContextManager[None]]


def counters(broker_url: str, connections: int, rule: Rule) -> Counters:
    """Counters at the broker; in this process's memory where the broker is no plain Redis."""
    url = client_url(broker_url)
    if url is None:
        return Counters(IN_THIS_PROCESS, {}, nullcontext)
    client = make_client(url, timeout_s=TIMEOUT_S, connections=connections)
    breaker = make_breaker("counters", url, TIMEOUT_S, rule)
    return Counters("redis://", {"connection_pool": client.connection_pool}, breaker.calling)


def client_url(broker_url: str) -> str | None:
    """The broker's URL as its client reads it: kombu writes sockets and certificates in its own way. None: it is no
    plain Redis."""
    parts = urlsplit(broker_url)
    query = dict(parse_qsl(parts.query))
    if parts.scheme == "redis+socket":
        db = query.pop("virtual_host", "0").strip("/")
        return f"unix://{parts.path}?{urlencode({**query, 'db': db})}"
    if parts.scheme not in ("redis", "rediss"):
        return None
    if "ssl_cert_reqs" in query:
        query["ssl_cert_reqs"] = query["ssl_cert_reqs"].lower().removeprefix("cert_")
    return urlunsplit(parts._replace(query=urlencode(query)))
