"""The client's address behind proxies: only what a trusted proxy says is believed."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


def behind_proxies(app: WSGIApplication, trusted: Sequence[str]) -> WSGIApplication:
    """The application, told REMOTE_ADDR and the scheme by X-Forwarded-For and -Proto of these addresses or networks.

    Of the list in X-Forwarded-For only the end is ours: each trusted proxy added the address that it saw, and what
    stands before the first one that is not trusted was written by the client.
    """
    if not trusted:
        return app
    is_trusted = one_of(trusted)

    def wrapped(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        peer = environ.get("REMOTE_ADDR") or ""
        if is_trusted(peer):
            environ["REMOTE_ADDR"] = _client(peer, environ.get("HTTP_X_FORWARDED_FOR", ""), is_trusted)
            scheme = environ.get("HTTP_X_FORWARDED_PROTO", "").rpartition(",")[2].strip().lower()
            if scheme in ("http", "https"):
                environ["wsgi.url_scheme"] = scheme
        return app(environ, start_response)

    return wrapped


def one_of(addresses: Sequence[str]) -> Callable[[str], bool]:
    """Whether a text is one of these addresses, or in one of these networks."""
    networks = [ipaddress.ip_network(one) for one in addresses]

    def among(text: str) -> bool:
        found = _address(text)
        return found is not None and any(found in network for network in networks)

    return among


def _client(peer: str, forwarded: str, is_trusted: Callable[[str], bool]) -> str:
    """The nearest address that is no trusted proxy; the last good one where the list is cut short or unreadable."""
    nearest = peer
    for text in reversed(forwarded.split(",")):
        found = _address(text.strip())
        if found is None:
            return nearest
        nearest = str(found)
        if not is_trusted(nearest):
            return nearest
    return nearest


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    return (found.ipv4_mapped or found) if found.version == 6 else found
