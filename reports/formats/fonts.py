"""Where the font's files lie: it has the peso sign, and digits of one width."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path

# Looked for and not imported: its own code asks for a part of setuptools that is no more.
_PACKAGE = "font_source_sans_pro"


@cache
def font_file(name: str) -> Path:
    """The file of that name in the font's package. Raises FileNotFoundError."""
    spec = find_spec(_PACKAGE)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for path in Path(folder).rglob(name):
            return path
    raise FileNotFoundError(f"{name} of {_PACKAGE}")
