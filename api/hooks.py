"""What every request and every answer gets: its id, where it comes from, headers, compression."""

from __future__ import annotations

import re
import secrets
from base64 import b64encode
from collections.abc import Iterable
from hashlib import sha256
from threading import Event
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import structlog
from flask import Flask, Response, request
from flask_compress import Compress
from flask_cors import CORS

from api.served import served
from rules.errors import NotFound
from runtime.origin import Origin, set_origin
from runtime.settings import Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

ID_HEADER = "X-Request-ID"
_SANE = re.compile(r"\A[A-Za-z0-9._-]{1,64}\Z")

# Two years; browsers talk to this host by HTTPS only. Sent only where they do already.
HSTS = "max-age=63072000; includeSubDomains"
# Answers are data: nothing in them may run, load anything or be shown in somebody's frame.
NOTHING = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
POLICY_HEADER = "Content-Security-Policy"
_HEADERS = [
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    # Else the HTTP server names itself.
    ("Server", "drawbreak"),
]
_OF_DATA = [*_HEADERS, (POLICY_HEADER, NOTHING)]
# Where a request's id and a page's own policy lie in its environment.
_ID, _POLICY = "drawbreak.request_id", "drawbreak.policy"
_INLINE_SCRIPT = re.compile(rb"<script>(.*?)</script>", re.DOTALL)

# What a page of another origin may send and read; it carries its token itself, so cookies are never meant.
CORS_SENDS = ["Authorization", "Content-Type", "Idempotency-Key", "If-None-Match", ID_HEADER, "X-Ticket-Code"]
CORS_READS = ["Content-Disposition", "Date", "Deprecation", "ETag", "Retry-After", "X-Checksum-SHA256", ID_HEADER]
CORS_MAX_AGE_S = 600

# What is smaller fits one packet anyway.
COMPRESS_BYTES_MIN = 1024
COMPRESS_TYPES = ["application/json", "text/html"]


def install(app: Flask, settings: Settings) -> None:
    """Registers the hooks; those after an answer run last to first."""
    app.wsgi_app = _with_headers(app.wsgi_app, served(app).leaving)  # type: ignore[assignment, method-assign]
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


def _with_headers(app: WSGIApplication, leaving: Event) -> WSGIApplication:
    """Adds what every answer carries as the ready list that it is; the framework would check it all each time."""

    def wrapped(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        asked = environ.get("HTTP_X_REQUEST_ID", "")
        environ[_ID] = request_id = asked if _SANE.match(asked) else secrets.token_hex(12)

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            policy = environ.get(_POLICY)
            headers += _OF_DATA if policy is None else [*_HEADERS, (POLICY_HEADER, policy)]
            headers.append((ID_HEADER, request_id))
            if environ["wsgi.url_scheme"] == "https":
                headers.append(("Strict-Transport-Security", HSTS))
            if leaving.is_set():
                headers.append(("Connection", "close"))
            return start_response(status, headers, exc_info)

        return app(environ, start)

    return wrapped


def note_asker(environ: WSGIEnvironment) -> None:
    """For what is logged from here on. Who asks is added once his token is verified."""
    request_id = environ[_ID]
    # A thread's next request writes over both.
    structlog.contextvars.bind_contextvars(request_id=request_id)
    set_origin(Origin(address=environ.get("REMOTE_ADDR"), request_id=request_id))


def _begin() -> None:
    environ = request.environ
    note_asker(environ)
    if environ.get("PATH_INFO", "").startswith("//"):
        raise NotFound  # routing takes it for a single slash; what stands before us may take it for a host


def _finish(response: Response) -> Response:
    headers = response.headers
    if "Location" in headers:
        # The framework sends on to whatever host the request named, in the header and as HTML.
        target = urlsplit(headers["Location"])
        response.location = urlunsplit(("", "", target.path, target.query, ""))
        response.set_data(b"")
    if "Cache-Control" not in headers:
        headers.add("Cache-Control", "no-store")
    if response.mimetype == "text/html":
        request.environ[_POLICY] = _policy(response)
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
    """That of a page."""
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
