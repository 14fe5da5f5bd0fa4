"""JSON, for programs: money in centavos, shares in basis points, instants with Manila's offset; one row a line."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

import orjson

from reports.document import Document, Kind, Table
from reports.formats.rows import Made, checked, in_manila


def write(document: Document, made: Made, file: BinaryIO, _: Path) -> None:
    """{"kind", "title", "about", "asked_by", "asked_at", "made_at", "facts": {name: value},
    "tables": {name: {"title", "columns", "rows": [{column: value}], "totals": {column: value}}}}"""
    head = {
        "kind": document.kind,
        "title": document.title,
        "about": document.about,
        "asked_by": made.asked_by,
        "asked_at": in_manila(made.asked_at),
        "made_at": in_manila(made.at),
        "facts": {fact.name: _value(fact.kind, fact.value) for fact in document.facts},
    }
    file.write(orjson.dumps(head)[:-1] + b',"tables":{')
    for place, table in enumerate(document.tables):
        file.write((b",\n" if place else b"\n") + orjson.dumps(table.name) + b":")
        _write_table(table, file)
    file.write(b"}}\n")


def _write_table(table: Table, file: BinaryIO) -> None:
    columns = [column._asdict() | {"kind": column.kind.value} for column in table.columns]
    file.write(orjson.dumps({"title": table.title, "columns": columns})[:-1] + b',"rows":[')
    named = [(column.name, column.kind) for column in table.columns]
    between = b"\n"
    for row in checked(table):
        cells = {name: _value(kind, value) for (name, kind), value in zip(named, row, strict=True)}
        file.write(between + orjson.dumps(cells))
        between = b",\n"
    file.write(b'],"totals":' + orjson.dumps(dict(table.totals)) + b"}")


def _value(kind: Kind, value: Any) -> Any:
    if value is None:
        return None
    if kind is Kind.INSTANT:
        return in_manila(value)
    return str(value) if kind is Kind.TEXT else value
