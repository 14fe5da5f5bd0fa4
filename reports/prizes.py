"""What has become of a prize, in the words of reports of winners."""

from __future__ import annotations

from datetime import datetime, timedelta

from models.draws import Draw
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


def claim_until(draw: Draw, claim_days: int) -> datetime:
    """The instant from which the draw's prizes cannot be claimed any more."""
    return draw.draws_at + timedelta(days=claim_days)


def days_left(until: datetime, now: datetime) -> int:
    """Whole days in which it can still be claimed."""
    return max(0, (until - now) // timedelta(days=1))
