"""The keys that sign tokens: each has its id (`kid`), the first one signs, every live one verifies."""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import structlog

from runtime.secret_files import KEY_BYTES, new_key, read_secret

# The one that signs, and the one before it: tokens that it signed live on until they are refreshed or expire.
LIVE_MAX = 2
# How long a key that was taken out of the file may go on verifying here.
LOOK_EVERY_S = 1.0

_KID = re.compile(r"\A[A-Za-z0-9_-]{1,32}\Z")

_log = structlog.get_logger()


class SigningKey(NamedTuple):
    """One key and the id by which tokens name it."""

    kid: str
    key: bytes


def parse_ring(text: str) -> tuple[SigningKey, ...]:
    """The ring that a text says: "kid:hex" separated by lines, spaces or commas, or one bare hex key.

    Raises ValueError.
    """
    words = text.replace(",", " ").split()
    if not 1 <= len(words) <= LIVE_MAX:
        raise ValueError(f"must hold 1 to {LIVE_MAX} keys")
    ring = tuple(_signing_key(word) for word in words)
    if len({key.kid for key in ring}) < len(ring):
        raise ValueError("must name each key differently")
    return ring


def ring_text(ring: Sequence[SigningKey]) -> str:
    """The ring as its file holds it, one key a line."""
    return "\n".join(f"{kid}:{key.hex()}" for kid, key in ring)


def rotated(ring: Sequence[SigningKey], *, drop_old: bool = False) -> tuple[SigningKey, ...]:
    """The ring with a new key in front; the older ones drop out behind it, or at once."""
    fresh = _signing_key(new_key())
    return (fresh,) if drop_old else (fresh, *ring)[:LIVE_MAX]


def _signing_key(word: str) -> SigningKey:
    kid, colon, digits = word.rpartition(":")
    try:
        key = bytes.fromhex(digits)
    except ValueError:
        key = b""
    if len(key) < KEY_BYTES:
        raise ValueError(f"must hold at least {KEY_BYTES} random bytes as hex for each key")
    if not colon:
        kid = hashlib.sha256(key).hexdigest()[:8]
    if not _KID.match(kid):
        raise ValueError("must name each key by up to 32 letters, digits, - or _")
    return SigningKey(kid, key)


class KeyRing:
    """A process's live ring. Follows its file, if it has one: a rotation needs no restart. Safe among threads."""

    def __init__(self, ring: Sequence[SigningKey], path: Path | None = None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._stamp: tuple[int, ...] | None = None
        self._looked_at = 0.0
        self.version = 0  # raised whenever the keys change
        self._set(ring)

    def signing(self) -> SigningKey:
        """The key that signs what is made now."""
        self._look()
        return self._ring[0]

    def key(self, kid: object) -> bytes | None:
        """The live key of that id, which may come from anywhere; None: there is none."""
        if not isinstance(kid, str):
            return None
        self.look_now_and_then()
        found = self._keys.get(kid)
        if found is None:
            self._look()
            found = self._keys.get(kid)
        return found

    def look_now_and_then(self) -> None:
        """Follows the file if the last look is some time ago."""
        if time.monotonic() - self._looked_at >= LOOK_EVERY_S:
            self._look()

    def _look(self) -> None:
        if self._path is None:
            return
        with self._lock:
            self._looked_at = time.monotonic()
            try:
                found = self._path.stat()
                stamp = (found.st_mtime_ns, found.st_ino, found.st_size)
                if stamp == self._stamp:
                    return
                ring = parse_ring(read_secret(self._path))
            except (OSError, ValueError) as error:
                # What was read before goes on: a file in bad order must not log everybody out.
                _log.error("key_ring_unreadable", path=str(self._path), error=str(error))
                return
            self._stamp = stamp
            self._set(ring)

    def _set(self, ring: Sequence[SigningKey]) -> None:
        keys = dict(ring)
        if self.version and keys == self._keys:
            return
        self._ring = tuple(ring)
        self._keys: dict[str, bytes] = keys
        self.version += 1
