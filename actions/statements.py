"""What happened on a wallet, and what a branch has to hand in for a day."""

from __future__ import annotations

from datetime import date as Date
from datetime import datetime, time, timedelta
from typing import Any

from actions.pages import cursor_after, place_of
from actions.resources import Resources
from actions.subtree import acting, reachable
from models.statements import Span, WalletEntry, branch_sums, wallet_page
from rules.draws import MANILA
from rules.statements import to_remit


def ledger_page(res: Resources, actor_id: int, user_id: int, limit: int, cursor: str | None) -> dict[str, Any]:
    """{"items", "next"}: the entries of the user's own wallet, newest first. Raises NotFound, Invalid (cursor)."""
    last = place_of(cursor)
    with res.sessions() as session:
        user = reachable(session, acting(session, actor_id), user_id)
        rows = wallet_page(session, user.id, limit + 1, last)
    return {
        "items": [_item(row) for row in rows[:limit]],
        "next": cursor_after(rows, limit, lambda row: row.entry.id),
    }


def summary(res: Resources, actor_id: int, user_id: int, date: Date | None) -> dict[str, Any]:
    """A day of the user and everyone below him, by the date in Manila of each entry; `date` None: today.

    The figures are those of rules.statements.to_remit. Raises NotFound.
    """
    date = date or res.clock.now().astimezone(MANILA).date()
    since = datetime.combine(date, time(), MANILA)
    with res.sessions() as session:
        user = reachable(session, acting(session, actor_id), user_id)
        sums = branch_sums(session, user.id, Span(since, since + timedelta(days=1)))
    return {"user_id": user.id, "date": date.isoformat(), **to_remit(sums)}


def _item(row: WalletEntry) -> dict[str, Any]:
    entry = row.entry
    return {
        "entry_id": entry.id,
        "at": entry.made_at.isoformat(),
        "kind": entry.kind,
        "amount": row.amount,
        "draw_id": row.draw,
        "ticket": entry.ticket,
        "note": entry.note,
        "made_by": entry.made_by,
    }
