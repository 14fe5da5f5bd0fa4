"""The audit log: every change writes its row in its own transaction; a worker chains the rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import insert
from sqlalchemy.orm import Session

from models.audit import AuditRow
from runtime.origin import origin


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
