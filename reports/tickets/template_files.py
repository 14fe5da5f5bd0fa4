"""Templates in files: those shipped with the project, and an operator's own, which win over them.

A file is read anew once it has changed. Templates run in a sandbox, and what they are given comes out escaped.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import BaseLoader, Environment, StrictUndefined, TemplateNotFound
from jinja2.sandbox import ImmutableSandboxedEnvironment

from reports.tickets.rows import BadTemplate

SHIPPED = Path(__file__).parent / "templates"
DEFAULT = "default"
# In front of a file's name: the one that is shipped, so that an operator's may extend the one that it stands for.
SHIPPED_PREFIX = "shipped/"
# Text for txt, png and escpos; a page for html.
TEXT, PAGE = "txt", "html"

NAME = re.compile(r"\A[a-z0-9][a-z0-9_-]{0,31}\Z")
_FILE = re.compile(r"\A[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}\Z")
# A page with a logo in it; a ticket is a few kilobytes.
CHARACTERS_MAX = 1_000_000
RANGE_MAX = 100

_Stamp = tuple[Path, int, int, int]


class _Sandbox(ImmutableSandboxedEnvironment):
    """Nothing that a slip of the pen makes endless or huge. Whoever writes loops in loops on purpose still can."""

    intercepted_binops = frozenset({"*", "**"})

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.globals["range"] = _short_range

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Raises BadTemplate for a power, and for anything but numbers times numbers."""
        if operator == "**" or not (isinstance(left, int | float) and isinstance(right, int | float)):
            raise BadTemplate(f"{operator} is for numbers, and not for powers")
        return super().call_binop(context, operator, left, right)


def _short_range(*ends: int) -> range:
    found = range(*ends)
    if len(found) > RANGE_MAX:
        raise BadTemplate(f"a range of more than {RANGE_MAX}")
    return found


class TemplateFiles:
    """The templates as they are right now. `own`: the operator's folder."""

    def __init__(self, own: Path | None) -> None:
        self._loader = _Loader([folder for folder in (own, SHIPPED) if folder is not None])
        self._environment: Environment = _Sandbox(
            loader=self._loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )

    def known(self, name: str) -> bool:
        """Whether there is a template of that name, of either kind."""
        return bool(NAME.match(name)) and any(self._loader.stamp(f"{name}.{kind}.j2") for kind in (TEXT, PAGE))

    def rendered(self, name: str, kind: str, values: Mapping[str, Any]) -> str:
        """What the template makes of the values. Raises whatever a template can get wrong: catch Exception."""
        parts, size = [], 0
        for part in self._environment.get_template(f"{name}.{kind}.j2").generate(values):
            parts.append(part)
            size += len(part)
            if size > CHARACTERS_MAX:
                raise BadTemplate(f"more than {CHARACTERS_MAX} characters")
        return "".join(parts)


class _Loader(BaseLoader):
    """Looks through the folders in order, each time: a file put into an earlier one takes effect at once."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = folders

    def get_source(self, environment: Environment, template: str) -> tuple[str, str, Callable[[], bool]]:
        stamp = self.stamp(template)
        if stamp is None:
            raise TemplateNotFound(template)
        path = stamp[0]
        return path.read_text(encoding="utf-8"), str(path), lambda: self.stamp(template) == stamp

    def stamp(self, template: str) -> _Stamp | None:
        """What tells one state of the file from another, taken before it is read; None: there is none."""
        file = template.removeprefix(SHIPPED_PREFIX)
        if not _FILE.match(file):
            return None
        for folder in self._folders[-1:] if file != template else self._folders:
            path = folder / file
            try:
                found = path.stat()
            except OSError:
                continue
            return path, found.st_mtime_ns, found.st_size, found.st_ino
        return None
