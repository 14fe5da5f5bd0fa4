"""Telling a webhook: one signed POST, for which nobody waits long and which follows nobody elsewhere."""

from __future__ import annotations

import hashlib
import hmac
import socket
import ssl
from collections.abc import Mapping
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

import orjson

from actions.resources import Resources
from models.notifications import Notification
from runtime.in_time import InTime

ANSWER_S = 5.0

_in_time = InTime(ANSWER_S, at_once=2)


class NotDelivered(RuntimeError):
    """The other side did not take it; another try may help."""


def send(res: Resources, notification: Notification) -> None:
    """Posts it to WEBHOOK_URL; only an answer of 2xx means that it was taken. Raises NotDelivered.

    Whoever gets it twice, because we died before we noted it, knows it by its X-Drawbreak-Id.
    """
    url, secret = res.settings.channels.webhook_url, res.settings.channels.webhook_secret
    assert url is not None
    assert secret is not None
    body = body_of(notification)
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "drawbreak",
        "X-Drawbreak-Id": str(notification.id),
        "X-Drawbreak-Signature": signature(secret, round(res.clock.now().timestamp()), body),
    }
    status = _posted(url, body, headers)
    if not 200 <= status < 300:
        raise NotDelivered(f"the webhook answered {status}")


def body_of(notification: Notification) -> bytes:
    """The notification as JSON; the same at each try."""
    return orjson.dumps(
        {
            "id": notification.id,
            "kind": notification.kind,
            "at": notification.at.isoformat(),
            "title": notification.title,
            "text": notification.text,
            "data": notification.data,
        }
    )


def signature(secret: str, at: int, body: bytes) -> str:
    """What the X-Drawbreak-Signature header holds; `at` in seconds since 1970."""
    mac = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256)
    return f"t={at},v1={mac.hexdigest()}"


def _posted(url: str, body: bytes, headers: Mapping[str, str]) -> int:
    """The status of the answer; what else it says is not read."""
    parts = urlsplit(url)
    connection = _connection(parts.scheme, parts.hostname or "", parts.port)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")

    def ask() -> int:
        connection.request("POST", path, body, dict(headers))
        return connection.getresponse().status

    try:
        return _in_time(ask)
    except TimeoutError as error:
        raise NotDelivered(f"the webhook did not answer within {ANSWER_S:.0f} s") from error
    except (OSError, HTTPException) as error:
        raise NotDelivered(f"the webhook was not reached: {type(error).__name__}: {error}") from error
    finally:
        _cut(connection)


def _connection(scheme: str, host: str, port: int | None) -> HTTPConnection:
    if scheme == "https":
        return HTTPSConnection(host, port, timeout=ANSWER_S, context=ssl.create_default_context())
    return HTTPConnection(host, port, timeout=ANSWER_S)


def _cut(connection: HTTPConnection) -> None:
    """Ends it also under whoever still reads from it, in the thread that nobody waits for any more."""
    if isinstance(connection.sock, socket.socket):
        with suppress(OSError):
            connection.sock.shutdown(socket.SHUT_RDWR)
    connection.close()
