"""One command to a Redis-compatible server: to ask whether it is there. Work goes through a real client."""

from __future__ import annotations

import socket
import ssl
from urllib.parse import unquote, urlsplit

PORT = 6379


def ask(url: str, *words: str, timeout_seconds: float = 5) -> str:
    """Log in if `url` says how, send one command, return its answer's first line (`+OK`, `-ERR …`, `:1`).

    `url` is a redis://, rediss:// or unix:// URL. Raises `OSError`.
    """
    parts = urlsplit(url)
    with _connect(url, timeout_seconds) as connection, connection.makefile("rb") as answers:
        if parts.password:
            login = [unquote(part) for part in (parts.username, parts.password) if part]
            connection.sendall(_encode("AUTH", *login))
            answers.readline()  # a refusal shows in the next answer
        connection.sendall(_encode(*words))
        return answers.readline().decode().rstrip()


def pongs(url: str) -> bool:
    """Whether the server answers PING; while it reads its files it says LOADING."""
    try:
        return ask(url, "PING", timeout_seconds=1) == "+PONG"
    except OSError:
        return False


def _connect(url: str, timeout_seconds: float) -> socket.socket:
    parts = urlsplit(url)
    if parts.scheme == "unix":
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(timeout_seconds)
        try:
            connection.connect(parts.path)
        except OSError:
            connection.close()
            raise
        return connection
    host = parts.hostname or "127.0.0.1"
    connection = socket.create_connection((host, parts.port or PORT), timeout_seconds)
    if parts.scheme == "rediss":
        return ssl.create_default_context().wrap_socket(connection, server_hostname=host)
    return connection


def _encode(*words: str) -> bytes:
    encoded = [word.encode() for word in words]
    return b"".join([b"*%d\r\n" % len(encoded), *(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded)])
