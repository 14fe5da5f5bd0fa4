"""What every report is before it has a format: facts, and tables whose rows come one by one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple


class Kind(Enum):
    """What a value is, so that each format can write it as such."""

    TEXT = "text"  # str
    ID = "id"  # int, a name and no amount
    COUNT = "count"  # int
    MONEY = "money"  # int, centavos
    SHARE = "share"  # int, basis points
    INSTANT = "instant"  # datetime with offset
    DATE = "date"  # datetime.date


class Column(NamedTuple):
    """`name` in JSON and CSV, `title` for people."""

    name: str
    title: str
    kind: Kind = Kind.TEXT


class Fact(NamedTuple):
    """A single figure of the report; `value` None: there is none."""

    name: str
    title: str
    value: Any
    kind: Kind = Kind.TEXT


@dataclass(frozen=True)
class Table:
    """`rows` are read once, in order, and never held together; each has a value (or None) for each column.

    `totals`: by column name, of the counts and the money; made by the database or while the rows are kept, never by
    whoever writes the format: a check of the rows against them is the writer's (it raises ValueError on a difference).
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: Iterable[tuple[Any, ...]]
    totals: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Document:
    """A report without a format. `kind` as in the request; `about`: of what it is ("3D-20261122-1400", a period)."""

    kind: str
    title: str
    about: str
    facts: tuple[Fact, ...]
    tables: tuple[Table, ...]
