"""Reading the environment: small parsers, and a reader that collects every problem before it complains."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar, cast
from urllib.parse import urlsplit

SWITCHES = {
    "1": True,
    "yes": True,
    "true": True,
    "on": True,
    "0": False,
    "no": False,
    "false": False,
    "off": False,
}

# Stands in for what could not be read; `check` raises before anybody sees it.
NOT_SEEN = None

T = TypeVar("T")


class SettingsError(ValueError):
    """What the environment says cannot be used; names every variable at fault."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("unusable settings:\n" + "\n".join(f"  {problem}" for problem in problems))
        self.problems = problems


class Reader:
    """Takes variables by name. A parser says what is wrong with a text by raising `ValueError`."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._problems: list[str] = []

    def check(self) -> None:
        """Raise `SettingsError` if anything read so far was missing or bad."""
        if self._problems:
            raise SettingsError(self._problems)

    def required(self, name: str, parse: Callable[[str], T]) -> T:
        text = self._environ.get(name)
        return self._parse(name, parse, text) if text else self._wrong(name, "is not set", parse)

    def optional(self, name: str, parse: Callable[[str], T]) -> T | None:
        text = self._environ.get(name)
        return self._parse(name, parse, text) if text else None

    def __call__(self, name: str, default: str, parse: Callable[[str], T]) -> T:
        return self._parse(name, parse, self._environ.get(name) or default)

    def together(self, *names: str) -> None:
        """Variables that mean something only together: all of them are set, or none."""
        missing = [name for name in names if not self._environ.get(name)]
        if 0 < len(missing) < len(names):
            given = next(name for name in names if name not in missing)
            self._problems += [f"{name} is not set, and {given} needs it" for name in missing]

    def from_file(self, name: str, read: Callable[[], str], parse: Callable[[str], T]) -> T:
        """The variable, or else what `read` finds in a file."""
        try:
            text = self._environ.get(name) or read()
        except OSError as error:
            return self._wrong(name, f"is not set, and its file cannot be read: {error}", parse)
        return self._parse(name, parse, text)

    def _parse(self, name: str, parse: Callable[[str], T], text: str) -> T:
        try:
            return parse(text)
        except ValueError as error:
            return self._wrong(name, str(error), parse)

    def _wrong(self, name: str, problem: str, _parse: Callable[[str], T]) -> T:
        self._problems.append(f"{name} {problem}")
        return cast(T, NOT_SEEN)


def directory(text: str) -> Path:
    return Path(text).expanduser().resolve()


def folder(text: str) -> Path:
    """One that is there."""
    found = directory(text)
    if not found.is_dir():
        raise ValueError(f"must be a folder that is there, not {text!r}")
    return found


def whole(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
            raise ValueError(f"must be a whole number from {least} to {most}")
        return int(text)

    return parse


port_number = whole(1, 65_535)


def share_of_one(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise ValueError("must be above 0 and at most 1")
    return share


def switch(text: str) -> bool:
    if text.lower() not in SWITCHES:
        raise ValueError("must be 1 or 0")
    return SWITCHES[text.lower()]


def words(parse: Callable[[str], str]) -> Callable[[str], tuple[str, ...]]:
    """Parser of texts separated by commas or spaces."""
    return lambda text: tuple(parse(word) for word in text.replace(",", " ").split())


def network(text: str) -> str:
    """An IP address or network."""
    ipaddress.ip_network(text)
    return text


def origin(text: str) -> str:
    """A web page's origin: scheme, host, maybe port, and nothing else."""
    parts = urlsplit(text)
    if parts.scheme not in ("https", "http") or not parts.netloc or f"{parts.scheme}://{parts.netloc}" != text:
        raise ValueError(f"must be origins like https://office.example.org, not {text!r}")
    return text
