"""The audit log: every change writes its row in its own transaction; a worker chains the rows, people read them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import insert
from sqlalchemy.orm import Session

from actions.pages import cursor_after, place_of
from actions.resources import Resources
from actions.subtree import acting
from models.audit import AuditFilter, AuditLink, AuditRow, audit_page
from rules.rights import Role
from runtime.origin import origin

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
    at: datetime | None = None,
) -> None:
    """Writes who does what (runtime.origin), now or at that instant, in the caller's transaction.

    `action` is a name of rules.rights.ACTIONS or a few of its own ("login"); `about` is "user:17", "draw:3D-…",
    "ticket:<number>", "game:3D", "claim:5"; `before` and `after` hold what changed, as JSON, and never a password,
    code, token or key.
    """
    values = origin()._asdict() | {"action": action, "object": about, "before": before, "after": after}
    when = {} if at is None else {"at": at}
    session.execute(insert(AuditRow).values(values | {"outcome": outcome} | when))


def page(res: Resources, actor_id: int, wanted: AuditFilter, limit: int, cursor: str | None) -> dict[str, Any]:
    """{"items", "next"} of the audit log, newest first. Raises TokenRevoked, Invalid (cursor)."""
    last = place_of(cursor)
    with res.sessions() as session:
        actor = acting(session, actor_id)
        below = None if Role(actor.role) in _READ_EVERYTHING else actor.id
        rows = audit_page(session, wanted, below, limit + 1, last)
    return {
        "items": [_body(row, link) for row, link in rows[:limit]],
        "next": cursor_after(rows, limit, lambda row: row[0].id),
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
