"""What has become of a prize, in the words of reports of winners."""

from __future__ import annotations

from datetime import datetime, timedelta

from rules.claims import due


def prize_status(prize: int, paid: int, expired: int, *, held: bool, pending: bool, over: bool) -> str:
    """paid, expired, held, claim_pending or unpaid, also where only a part of it is. `over`: its time has passed."""
    if not due(prize, paid, expired):
        return "expired" if expired else "paid"
    if held:
        return "held"
    if pending:
        return "claim_pending"
    return "expired" if over else "unpaid"


def days_left(until: datetime, now: datetime) -> int:
    """Whole days in which it can still be claimed."""
    return max(0, (until - now) // timedelta(days=1))
