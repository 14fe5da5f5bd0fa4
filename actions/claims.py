"""Claims of prizes: paid at once, or kept until another person approves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from sqlalchemy import func
from sqlalchemy.orm import Session

from actions.audit import record
from actions.claimable import (
    Claimable,
    code_is_right,
    find_claimable,
    lock_subject,
    must_be_at_counter,
    over_at,
    whole_prize,
)
from actions.credit import push_after_commit
from actions.prize_payments import pay
from actions.resources import Resources
from actions.subtree import acting
from models.claims import Claim, Payout, last_paid_claim, pending_claim, pending_claims_of
from models.draws import Draw
from models.people import User
from rules.claims import due, withholding
from rules.errors import AlreadyClaimed, ClaimExpired, Invalid, NotAWinner, NotFound, OnHold, WrongCode

PAID, ACCEPTED = 200, 202


class _Asked(NamedTuple):
    """A claim that nothing speaks against: `amount` of the whole `prize` is due, and `tax` is withheld of it."""

    draw: Draw | None
    payout: Payout
    prize: int
    amount: int
    tax: int


def claim(
    res: Resources, actor_id: int, number: str, code: str, payee: Mapping[str, str] | None
) -> tuple[int, dict[str, Any]]:
    """Pays the ticket's prize at the actor's counter, or asks for approval of a high one; money in centavos.

    (200, {claim_id, prize, tax, paid}) or (202, {status, claim_id, prize, tax}). `prize` is what is due now: after a
    correction, the rest. The claimer of a claim that waits gets his 202 again. Raises, in this order: TokenRevoked,
    NotFound, WrongCode, OnHold, NotSettled, NotAWinner, ClaimExpired, AlreadyClaimed, Invalid (payee).
    """
    subject = find_claimable(res, number)
    if subject is None:
        raise NotFound
    with res.sessions.begin() as session:
        actor = acting(session, actor_id)
        must_be_at_counter(session, actor, subject.agent_id)
        if not code_is_right(res, subject, code):
            raise WrongCode
        draw, payout = lock_subject(session, subject)
        prize = _claimable_prize(res, session, subject, draw, payout)
        waiting = pending_claim(session, payout.number)
        if waiting is not None:
            if waiting.claimed_by != actor.id:
                raise AlreadyClaimed(by_you=False, claim_status="pending")
            return ACCEPTED, _approval_needed(waiting)
        asked = _asked(res, draw, payout, prize)
        if not asked.amount:
            raise _already_paid(session, payout.number, actor.id)
        if prize > res.settings.claim_approval_above:
            return ACCEPTED, _approval_needed(_keep(session, actor, asked, payee))
        body = _pay_now(session, actor, asked, payee)
    push_after_commit(res, actor_id)
    return PAID, body


def drop_pending(session: Session, draw_id: int, reason: str) -> int:
    """Ends the draw's claims that wait for approval, because its result is corrected; how many there were.

    The draw's row must be locked FOR UPDATE: then nobody decides them at the same time.
    """
    claims = pending_claims_of(session, draw_id)
    for claim in claims:
        claim.status, claim.decided_at, claim.reason = "dropped", func.now(), reason
        after = {"status": "dropped", "reason": reason}
        record(session, "claim.drop", f"claim:{claim.id}", {"status": "pending"}, after)
    session.flush()
    return len(claims)


def _claimable_prize(res: Resources, session: Session, subject: Claimable, draw: Draw | None, payout: Payout) -> int:
    """The ticket's whole prize, if its time and state allow a claim."""
    if payout.held_at is not None:
        raise OnHold
    prize = whole_prize(session, subject, draw)
    if not prize and not payout.paid:
        raise NotAWinner
    if payout.expired or res.clock.now() >= over_at(res, subject, draw):
        raise ClaimExpired
    return prize


def _asked(res: Resources, draw: Draw | None, payout: Payout, prize: int) -> _Asked:
    amount = due(prize, payout.paid)
    tax = withholding(prize, amount, payout.tax, res.settings.tax_above, res.settings.tax_bp)
    return _Asked(draw, payout, prize, amount, tax)


def _already_paid(session: Session, number: str, actor_id: int) -> AlreadyClaimed:
    """To the one who paid it, what he paid: his first answer may have been lost on the way.

    Also where somebody else has paid the rest since, after a correction.
    """
    paid = last_paid_claim(session, number, actor_id)
    if paid is None:
        return AlreadyClaimed(by_you=False, claim_status="paid")
    money: dict[str, Any] = {"prize": paid.prize, "tax": paid.tax, "paid": paid.prize - paid.tax}
    # By its id a counter knows whether it has handed this out: after a correction one ticket can be paid twice there.
    return AlreadyClaimed(by_you=True, claim_status="paid", claim_id=paid.id, **money)


def _keep(session: Session, actor: User, asked: _Asked, payee: Mapping[str, str] | None) -> Claim:
    """Keeps the claim until another person decides. Raises Invalid: it has to say who gets the money."""
    if payee is None:
        raise Invalid(errors=[{"path": "payee", "message": "needed for a prize that has to be approved"}])
    kept = _claim_of(actor, asked, payee)
    kept.status = "pending"
    session.add(kept)
    session.flush()
    _record(session, kept)
    return kept


def _pay_now(session: Session, actor: User, asked: _Asked, payee: Mapping[str, str] | None) -> dict[str, Any]:
    paid = _claim_of(actor, asked, payee)
    paid.entry_id = pay(session, asked.draw, asked.payout, actor, asked.amount, asked.tax, actor.id)
    paid.status, paid.decided_at = "paid", func.now()
    session.add(paid)
    session.flush()
    _record(session, paid)
    return {"claim_id": paid.id, "prize": paid.prize, "tax": paid.tax, "paid": paid.prize - paid.tax}


def _claim_of(actor: User, asked: _Asked, payee: Mapping[str, str] | None) -> Claim:
    return Claim(
        number=asked.payout.number,
        version=asked.draw.result_version if asked.draw is not None else None,
        prize=asked.amount,
        tax=asked.tax,
        claimed_by=actor.id,
        payee=dict(payee) if payee is not None else None,
    )


def _record(session: Session, claim: Claim) -> None:
    after = {"claim_id": claim.id, "status": claim.status, "prize": claim.prize, "tax": claim.tax}
    record(session, "claim.make", f"ticket:{claim.number}", None, after)


def _approval_needed(claim: Claim) -> dict[str, Any]:
    return {"status": "approval_needed", "claim_id": claim.id, "prize": claim.prize, "tax": claim.tax}
