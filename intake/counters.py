"""Where requests are counted for their limits: the broker's server, which the gate can spare the work."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from intake.client import make_client

# A broker that hangs may hold a request up this long, once; then every process counts for itself for a while.
TIMEOUT_S = 0.3

IN_THIS_PROCESS = "memory://"


def counters(broker_url: str, connections: int) -> tuple[str, dict[str, Any]]:
    """(storage URI, storage options) for the library that counts; in memory where the broker is no plain Redis."""
    url = _client_url(broker_url)
    if url is None:
        return IN_THIS_PROCESS, {}
    client = make_client(url, timeout_s=TIMEOUT_S, connections=connections)
    return "redis://", {"connection_pool": client.connection_pool}


def _client_url(broker_url: str) -> str | None:
    """The broker's URL as its client reads it; kombu writes sockets and certificates in its own way."""
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
