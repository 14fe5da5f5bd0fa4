"""What every request and every answer gets: its id, and headers."""

from __future__ import annotations

import re
import secrets
from urllib.parse import urlsplit, urlunsplit

import structlog
from flask import Flask, Response, g, request

from rules.errors import NotFound

ID_HEADER = "X-Request-ID"
_SANE = re.compile(r"\A[A-Za-z0-9._-]{1,64}\Z")


def install(app: Flask) -> None:
    """Registers the hooks."""
    app.before_request(_begin)
    app.after_request(_finish)


def _begin() -> None:
    asked = request.headers.get(ID_HEADER, "")
    g.request_id = asked if _SANE.match(asked) else secrets.token_hex(12)
    # Every log line of this request carries it; a thread's next request writes over it.
    structlog.contextvars.bind_contextvars(request_id=g.request_id)
    if request.environ.get("PATH_INFO", "").startswith("//"):
        raise NotFound  # routing takes it for a single slash; what stands before us may take it for a host


def _finish(response: Response) -> Response:
    response.headers[ID_HEADER] = g.request_id
    if response.location:
        # The framework sends on to whatever host the request named, in the header and as HTML.
        target = urlsplit(response.location)
        response.location = urlunsplit(("", "", target.path, target.query, ""))
        response.set_data(b"")
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
