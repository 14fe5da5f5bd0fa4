"""What every request and every answer gets: its id, where it comes from, headers, compression."""

from __future__ import annotations

import re
import secrets
from base64 import b64encode
from hashlib import sha256
from urllib.parse import urlsplit, urlunsplit

import structlog
from flask import Flask, Response, g, request
from flask_compress import Compress
from flask_cors import CORS

from rules.errors import NotFound
from runtime.origin import Origin, set_origin
from runtime.settings import Settings

ID_HEADER = "X-Request-ID"
_SANE = re.compile(r"\A[A-Za-z0-9._-]{1,64}\Z")

# Two years; browsers talk to this host by HTTPS only. Sent only where they do already.
HSTS = "max-age=63072000; includeSubDomains"
# Answers are data: nothing in them may run, load anything or be shown in somebody's frame.
NOTHING = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    # Else the HTTP server names itself.
    "Server": "drawbreak",
}
_INLINE_SCRIPT = re.compile(rb"<script>(.*?)</script>", re.DOTALL)

# What a page of another origin may send and read; it carries its token itself, so cookies are never meant.
CORS_SENDS = ["Authorization", "Content-Type", "Idempotency-Key", "If-None-Match", ID_HEADER, "X-Ticket-Code"]
CORS_READS = ["Date", "Deprecation", "ETag", "Retry-After", ID_HEADER]
CORS_MAX_AGE_S = 600

# What is smaller fits one packet anyway.
COMPRESS_BYTES_MIN = 1024
COMPRESS_TYPES = ["application/json", "text/html"]


def install(app: Flask, settings: Settings) -> None:
    """Registers the hooks; those after an answer run last to first."""
    app.before_request(_begin)
    if settings.cors_origins:
        CORS(
            app,
            origins=list(settings.cors_origins),
            allow_headers=CORS_SENDS,
            expose_headers=CORS_READS,
            max_age=CORS_MAX_AGE_S,
            supports_credentials=False,
            send_wildcard=False,
        )
        app.after_request(_vary_by_origin)
    app.config.update(
        COMPRESS_REGISTER=False,
        COMPRESS_MIN_SIZE=COMPRESS_BYTES_MIN,
        COMPRESS_MIMETYPES=COMPRESS_TYPES,
        COMPRESS_ALGORITHM=["br", "gzip"],
        COMPRESS_STREAMS=False,
    )
    compress = Compress(app)

    def shrink(response: Response) -> Response:
        return compress.after_request(response) if _may_shrink(response) else response

    app.after_request(shrink)
    app.after_request(_finish)


def _begin() -> None:
    asked = request.headers.get(ID_HEADER, "")
    g.request_id = asked if _SANE.match(asked) else secrets.token_hex(12)
    # A thread's next request writes over both; who asks is added once his token is verified.
    structlog.contextvars.bind_contextvars(request_id=g.request_id)
    set_origin(Origin(address=request.remote_addr, request_id=g.request_id))
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
    response.headers.update(_HEADERS)
    response.headers["Content-Security-Policy"] = _policy(response)
    if request.is_secure:
        response.headers["Strict-Transport-Security"] = HSTS
    return response


def _vary_by_origin(response: Response) -> Response:
    """The library leaves it out where only one page is listed."""
    response.vary.add("Origin")
    return response


def _may_shrink(response: Response) -> bool:
    """Only what is read, and never beside a secret: the size of a compressed answer tells about what is in it."""
    return (
        request.method == "GET"
        and request.blueprint != "auth"
        and not response.direct_passthrough
        and not response.is_streamed
    )


def _policy(response: Response) -> str:
    if response.mimetype != "text/html":
        return NOTHING
    # The documentation's pages: their own files, their own inline scripts by hash, their styles.
    scripts = [f"'sha256-{_hash(script)}'" for script in _INLINE_SCRIPT.findall(_page(response))]
    return "; ".join(
        [
            NOTHING,
            " ".join(["script-src 'self'", *scripts]),
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data:",
            "font-src 'self'",
            "connect-src 'self'",
        ]
    )


def _page(response: Response) -> bytes:
    return b"" if response.direct_passthrough or response.is_streamed else response.get_data()


def _hash(script: bytes) -> str:
    return b64encode(sha256(script).digest()).decode()
