"""The gate's scripts: each is its shebang, the common head, and its own text. Called by hash only.

EVALSHA alone, and loading only after a reconcile: a server that lost its memory lost its scripts, too, and answers
NOSCRIPT. That is how a restart is noticed; EVAL, FUNCTIONs and clients that reload by themselves would hide it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

NAMES = (
    *("sell", "void", "find"),
    *("open", "cutoff", "limits", "close"),
    *("loosen", "tighten", "standing", "ended", "may_act"),
    *("mark", "fence", "switch"),
)
_FOLDER = Path(__file__).parent / "lua"


@dataclass(frozen=True)
class Script:
    """One script's text and the hash that the server knows it by."""

    name: str
    text: str

    @cached_property
    def sha(self) -> str:
        return hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


def read_scripts() -> dict[str, Script]:
    """All scripts by name."""
    head = (_FOLDER / "head.lua").read_text()
    found = {}
    for name in NAMES:
        shebang, _, body = (_FOLDER / f"{name}.lua").read_text().partition("\n")
        if not shebang.startswith("#!lua"):
            raise ValueError(f"{name}.lua must begin with #!lua: without it the server checks memory too late")
        found[name] = Script(name, f"{shebang}\n{head}\n{body}")
    return found
