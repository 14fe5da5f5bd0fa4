"""Settings of the ways out of the house: a webhook, and mail."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from runtime.environment import Reader, words

_DRAW_KINDS = ("draw.opened", "draw.closed", "draw.sealed", "draw.result", "draw.settled", "draw.voided")
# As rules/notifications.py has them; a test holds the two alike.
KINDS = ("announcement", *_DRAW_KINDS, "winners", "low_credit", "number.sold_out", "dead_letter", "out_of_balance")
# Draw states, and what administrators are told.
WEBHOOK_KINDS = (*_DRAW_KINDS, "dead_letter", "out_of_balance")
# What somebody has to look after.
MAIL_KINDS = ("draw.voided", "dead_letter", "out_of_balance")

SECRET_CHARACTERS_MIN = 16

SMTP_PORT, SMTPS_PORT = 25, 465

_ADDRESS = re.compile(r"\A[^@\s<>,;:\"()\\]+@[^@\s<>,;:\"()\\]+\Z")


class MailServer(NamedTuple):
    """`tls`: from the first byte on; else STARTTLS where it is offered."""

    host: str
    port: int
    tls: bool
    user: str | None
    password: str | None


@dataclass(frozen=True, kw_only=True)
class Channels:
    """Where notifications go, and of which kinds; without an address nowhere."""

    webhook_url: str | None = field(default=None, repr=False)
    webhook_secret: str | None = field(default=None, repr=False)
    webhook_kinds: tuple[str, ...] = WEBHOOK_KINDS
    mail_server: MailServer | None = field(default=None, repr=False)
    mail_from: str | None = None
    mail_to: tuple[str, ...] = ()
    mail_kinds: tuple[str, ...] = MAIL_KINDS

    @classmethod
    def from_reader(cls, read: Reader) -> Channels:
        """Reads the variables; those of a channel are given together or not at all."""
        read.together("WEBHOOK_URL", "WEBHOOK_SECRET")
        read.together("SMTP_URL", "MAIL_FROM", "MAIL_TO")
        return cls(
            webhook_url=read.optional("WEBHOOK_URL", webhook_url),
            webhook_secret=read.optional("WEBHOOK_SECRET", _secret),
            webhook_kinds=read("WEBHOOK_KINDS", " ".join(WEBHOOK_KINDS), _kinds),
            mail_server=read.optional("SMTP_URL", mail_server),
            mail_from=read.optional("MAIL_FROM", _address),
            mail_to=read("MAIL_TO", "", words(_address)),
            mail_kinds=read("MAIL_KINDS", " ".join(MAIL_KINDS), _kinds),
        )


def is_loopback(host: str) -> bool:
    """Whether the host, as a URL names it, is this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def webhook_url(text: str) -> str:
    """https, or http on this machine. Raises ValueError."""
    parts = urlsplit(text)
    host = parts.hostname or ""
    _ = parts.port  # raises, too
    safe = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))
    plain = text.isascii() and text.isprintable() and " " not in text
    if not (host and safe and plain) or "@" in parts.netloc or parts.fragment:
        raise ValueError("must be a URL https://…, or http://… on this machine, without a user and without #")
    return text


def mail_server(text: str) -> MailServer:
    """smtp:// or smtps://, with user:password@ before the host if it wants them. Raises ValueError."""
    parts = urlsplit(text)
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname or parts.path.strip("/") or parts.query:
        raise ValueError("must be a URL smtp://user:password@host:port, or smtps://…")
    tls = parts.scheme == "smtps"
    user, password = (unquote(part) if part else None for part in (parts.username, parts.password))
    if (user is None) != (password is None):
        raise ValueError("must have both a user and a password, or neither")
    return MailServer(parts.hostname, parts.port or (SMTPS_PORT if tls else SMTP_PORT), tls, user, password)


def _address(text: str) -> str:
    if not (_ADDRESS.match(text) and text.isascii() and text.isprintable()):
        raise ValueError(f"must be addresses like office@example.org, not {text!r}")
    return text


def _secret(text: str) -> str:
    if len(text) < SECRET_CHARACTERS_MIN:
        raise ValueError(f"must have at least {SECRET_CHARACTERS_MIN} characters")
    return text


def _kind(text: str) -> str:
    if text not in KINDS:
        raise ValueError(f"must be kinds of notifications, not {text!r}; they are {', '.join(KINDS)}")
    return text


_kinds: Callable[[str], tuple[str, ...]] = words(_kind)
