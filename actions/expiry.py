"""Prizes that nobody claimed in time: out of what the house owes, ticket by ticket."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from actions.audit import record
from actions.resources import Resources
from actions.stored_tickets import claim_until
from models.claims import (
    Payout,
    draws_to_expire,
    expired_old_winners,
    lock_payouts,
    pending_numbers,
)
from models.draws import Draw, lock_draw
from models.ledger import post
from models.settlement import prizes_of
from rules.claims import due
from rules.tickets import ticket_number

OLD_WINNERS_MAX = 1_000  # in one transaction


def draws_over(res: Resources) -> Sequence[str]:
    """Names of the settled draws whose prizes cannot be claimed any more and are not all dealt with."""
    with res.sessions() as session:
        return draws_to_expire(session, _now(res, session) - timedelta(days=res.settings.claim_days))


def expire_draw(res: Resources, name: str) -> int:
    """Books what is still due on the draw's tickets as unclaimed, once its time is over; how many centavos.

    What is held or waits for approval is left to a later run; the draw is done with when nothing is. Safe to repeat
    and to run twice at once. Raises NoSuchDraw.
    """
    with res.sessions.begin() as session:
        draw = lock_draw(session, name)
        if draw.status != "settled" or draw.expired_at is not None or _now(res, session) < claim_until(res, draw):
            return 0
        prizes = prizes_of(session, draw.id, draw.result_version)
        places = [(ticket_number(draw.name, serial), draw.id, serial) for serial in sorted(prizes)]
        payouts = lock_payouts(session, places)
        by_number = {number: prizes[serial] for number, _, serial in places}
        expired, left = _expire(session, payouts, by_number)
        if expired:
            _book(session, expired, f"draw:{name}", draw)
        if not left:
            draw.expired_at = func.now()
    return expired


def expire_old_winners(res: Resources) -> int:
    """The same for up to OLD_WINNERS_MAX winners of an older system; how many centavos."""
    with res.sessions.begin() as session:
        found = expired_old_winners(session, _now(res, session), OLD_WINNERS_MAX)
        payouts = lock_payouts(session, [(winner.number, None, None) for winner in found])
        expired, _ = _expire(session, payouts, {winner.number: winner.prize for winner in found})
        if expired:
            _book(session, expired, "old_winners", None)
    return expired


def _now(res: Resources, session: Session) -> datetime:
    """The slower of this machine's clock and the database's: one may run ahead, and what expires is gone for good."""
    return min(res.clock.now(), session.execute(select(func.now())).scalar_one())


def _expire(session: Session, payouts: Sequence[Payout], prizes: Mapping[str, int]) -> tuple[int, int]:
    """Writes to each payout what is due on it; (centavos, tickets that had to be left)."""
    pending = pending_numbers(session, list(prizes))
    expired = left = 0
    for payout in payouts:
        rest = due(prizes[payout.number], payout.paid, payout.expired)
        if not rest:
            continue
        if payout.held_at is not None or payout.number in pending:
            left += 1
            continue
        payout.expired += rest
        expired += rest
    return expired, left


def _book(session: Session, expired: int, about: str, draw: Draw | None) -> None:
    house = {"prizes_owed": -expired, "unclaimed": expired}
    draw_id, version = (draw.id, draw.result_version) if draw is not None else (None, None)
    entry_id = post(session, "expiry", {}, house, draw_id=draw_id, version=version)
    record(session, "claims.expire", about, None, {"expired": expired, "entry_id": entry_id})
