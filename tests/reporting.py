"""A kind of report for tests, in the place of a real one, with everything in its rows that is hard."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import Any

import pytest
from sqlalchemy import text

from reports.document import Column, Document, Fact, Kind, Table
from reports.formats.rows import Made
from reports.kinds import About, ReportKind, Scope, Sources
from reports.registry import KINDS
from rules.rights import Role

AT = datetime(2026, 11, 22, 6, 0, 0, 123456, UTC)  # 14:00 in Manila
MADE = Made("ana.reyes", AT, AT)
ROOT = "9f" * 32

COLUMNS = (
    Column("serial", "Serial", Kind.COUNT),
    Column("name", "Name of the outlet"),
    Column("stake", "Stake", Kind.MONEY),
    Column("share", "Share", Kind.SHARE),
    Column("at", "Sold at", Kind.INSTANT),
    Column("day", "Day", Kind.DATE),
)

# As somebody would write them who wants a spreadsheet to do something, and some that are harmless.
INJECTIONS = (
    "=1+1",
    '=HYPERLINK("http://evil.example","click")',
    "+63 917 000 0000",
    "-1+2",
    "@SUM(A1:A9)",
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    "  =1+1",
    "＝1+1",
    "＠SUM(1)",
)
HARMLESS = ("Peñafrancia ₱", "a=b", "http://example.org", 'say "hello", world', "", "1234", "two\nlines")


def row(number: int, name: str | None = None) -> tuple[Any, ...]:
    return (
        number,
        f"outlet {number}" if name is None else name,
        number * 150 - 40_000,
        number % 10_000,
        AT,
        date(2026, 11, 22),
    )


def rows(count: int) -> Iterator[tuple[Any, ...]]:
    """So many, made one by one."""
    return (row(number) for number in range(1, count + 1))


def totals(count: int) -> dict[str, int]:
    """Of `rows`, as a database would give them."""
    return {"stake": 150 * count * (count + 1) // 2 - 40_000 * count}


def document(found: Iterable[tuple[Any, ...]], sums: dict[str, int], **more: Any) -> Document:
    """Facts of every kind, a table with these rows, and an empty one."""
    facts = (
        Fact("result", "Result", "046"),
        Fact("tickets", "Tickets", 1_234_567, Kind.COUNT),
        Fact("stake", "Sales", -123_456_789, Kind.MONEY),
        Fact("ratio", "Payout ratio", 4_512, Kind.SHARE),
        Fact("sealed_at", "Sealed at", AT, Kind.INSTANT),
        Fact("date", "Date", date(2026, 11, 22), Kind.DATE),
        Fact("merkle_root", "Merkle root", ROOT),
        Fact("correction", "Correction", None),
    )
    tables = (
        Table("tickets", "Tickets", COLUMNS, found, sums),
        Table("corrections", "Corrections", COLUMNS[1:3], [], {"stake": 0}),
    )
    values: dict[str, Any] = {"kind": "draw_sales", "title": "Draw sales", "about": "3D-20261122-1400", "facts": facts}
    return Document(**{**values, "tables": tables, **more})


def of_rows(count: int) -> Document:
    return document(rows(count), totals(count))


def named(*names: str) -> Document:
    """A row for each of these names."""
    found = [row(number, name) for number, name in enumerate(names, start=1)]
    return document(found, {"stake": sum(each[2] for each in found)})


Build = Callable[[Sources, Scope], Document]


def users(sources: Sources, scope: Scope) -> Document:
    """How many users the snapshot has, and whose report it is."""
    count = sources.session.execute(text("SELECT count(*) FROM users")).scalar_one()
    facts = (Fact("users", "Users", count, Kind.COUNT), Fact("top", "Top", scope.top.username))
    return document(rows(3), totals(3), facts=facts, about=scope.draw.name if scope.draw else "now")


EVERYBODY = frozenset(Role)


@contextmanager
def in_place_of(
    name: str, build: Build = users, *, about: About = About.EITHER, roles: frozenset[Role] = EVERYBODY
) -> Iterator[None]:
    """While it lasts, that kind is made so."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(KINDS, name, ReportKind(about, roles, build))  # type: ignore[arg-type]
        yield
