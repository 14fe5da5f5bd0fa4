"""The audit log of a period, or of what was done to a draw: every row, in the order of the deeds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from models.audit import AuditFilter, audit_count, audit_rows
from models.people import sees_everyone
from reports.about import about, scope_facts
from reports.document import Column, Document, Fact, Kind, Table
from reports.kinds import Scope, Sources

# Neither addresses nor request ids: whoever looks for these reads the log itself.
_COLUMNS = (
    Column("id", "Row", Kind.ID),
    Column("at", "At", Kind.INSTANT),
    Column("actor_id", "Actor", Kind.ID),
    Column("actor", "Username"),
    Column("role", "Role"),
    Column("action", "Action"),
    Column("object", "About"),
    Column("outcome", "Outcome"),
    Column("before", "Before"),
    Column("after", "After"),
    Column("link", "Link", Kind.ID),
    Column("hash", "Hash"),
)


def build(sources: Sources, scope: Scope) -> Document:
    """Deeds of those whom `top` sees; the system's own, and those of unknown persons, for whoever sees everyone."""
    session = sources.session
    draw = f"draw:{scope.draw.name}" if scope.draw is not None else None
    wanted = AuditFilter(object=draw, since=scope.since, before=scope.before)
    below = None if sees_everyone(scope.top) else scope.top.id
    count = Fact("rows", "Rows", audit_count(session, wanted, below), Kind.COUNT)
    table = Table("deeds", "Deeds", _COLUMNS, _rows(sources, wanted, below))
    return Document("audit", "Audit extract", about(scope), (*scope_facts(session, scope), count), (table,))


def _rows(sources: Sources, wanted: AuditFilter, below: int | None) -> Iterator[tuple[Any, ...]]:
    for row, link in audit_rows(sources.session, wanted, below):
        who = row.actor_id, row.actor, row.role
        chained = (link.seq, link.hash.hex()) if link is not None else (None, None)
        yield (row.id, row.at, *who, row.action, row.object, row.outcome, _text(row.before), _text(row.after), *chained)


def _text(value: Any) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False, sort_keys=True)
