"""Keys and passwords kept in files that only their owner can read (mode 0600)."""

from __future__ import annotations

import os
import secrets
import string
from collections.abc import Callable
from pathlib import Path

KEY_BYTES = 32  # 256 bits, the block that HMAC-SHA256 keys are recommended to fill


def new_key() -> str:
    """A fresh random key as hex."""
    return secrets.token_hex(KEY_BYTES)


def new_password() -> str:
    """A fresh random password that needs no quoting anywhere: 24 letters and digits, 143 bits."""
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(24))


def ensure_secret(path: Path, make: Callable[[], str] = new_key) -> str:
    """The text kept at `path`; made, once and whole, if it is not there yet.

    Raises `PermissionError` if others can read the file.
    """
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = _draft(path, make())
        try:
            os.link(draft, path)  # unlike rename, this never replaces what another process just made
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return read_secret(path)


def replace_secret(path: Path, text: str) -> None:
    """Keeps another text at `path` from now on; readers see the old one or the new one, whole."""
    _draft(path, text).replace(path)


def _draft(path: Path, text: str) -> Path:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    fd = os.open(draft, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "w") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    return draft


def read_secret(path: Path) -> str:
    """The text kept at `path`. Raises `FileNotFoundError`, or `PermissionError` if others can read it."""
    if path.stat().st_mode & 0o077:
        raise PermissionError(f"{path} can be read by others; chmod 600 it")
    return path.read_text().strip()
