"""The audit log: every change writes its row in its own transaction; a worker chains the rows, people read them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sqlalchemy import insert
from sqlalchemy.orm import Session

from actions.resources import Resources
from actions.subtree import acting
from models.audit import AuditFilter, AuditLink, AuditRow, audit_page
from rules.errors import Invalid
from rules.rights import Role
from runtime.origin import origin

_CURSOR = re.compile(r"\A[0-9]{1,18}\Z")
# They read everybody's deeds and the system's; an administrator those of his own subtree.
_READ_EVERYTHING = frozenset({Role.SUPERADMIN, Role.OPERATOR})


def record(
    session: Session,
    action: str,
    about: str,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    *,
    outcome: str = "done",
) -> None:
    """Writes who does what now (runtime.origin), in the caller's transaction.

    `action` is a name of rules.rights.ACTIONS or a few of its own ("login"); `about` is "user:17", "draw:3D-…",
    "ticket:<number>", "game:3D", "claim:5"; `before` and `after` hold what changed, as JSON, and never a password,
    code, token or key.
    """
    values = origin()._asdict() | {"action": action, "object": about, "before": before, "after": after}
    session.execute(insert(AuditRow).values(values | {"outcome": outcome}))


def page(res: Resources, actor_id: int, wanted: AuditFilter, limit: int, cursor: str | None) -> dict[str, Any]:
    """{"items", "next"} of the audit log, newest first. Raises TokenRevoked, Invalid (cursor)."""
    if cursor is not None and not _CURSOR.match(cursor):
        raise Invalid(errors=[{"path": "cursor", "message": "not a cursor of this list"}])
    with res.sessions() as session:
        actor = acting(session, actor_id)
        below = None if Role(actor.role) in _READ_EVERYTHING else actor.id
        rows = audit_page(session, wanted, below, limit + 1, None if cursor is None else int(cursor))
    return {
        "items": [_body(row, link) for row, link in rows[:limit]],
        "next": str(rows[limit - 1][0].id) if len(rows) > limit else None,
    }


def _body(row: AuditRow, link: AuditLink | None) -> dict[str, Any]:
    return {
        "id": row.id,
        "at": row.at.isoformat(),
        "actor_id": row.actor_id,
        "actor": row.actor,
        "role": row.role,
        "action": row.action,
        "object": row.object,
        "before": row.before,
        "after": row.after,
        "address": row.address,
        "request_id": row.request_id,
        "outcome": row.outcome,
        "link": {"seq": link.seq, "hash": link.hash.hex()} if link else None,
    }
