"""Claims that wait for approval: shown, and decided by another person."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func
from sqlalchemy.orm import Session

from actions.audit import record
from actions.claimable import lock_number
from actions.credit import push_after_commit
from actions.pages import cursor_after, place_of
from actions.prize_payments import pay
from actions.resources import Resources
from actions.subtree import acting, reachable
from models.base import BIGINT_MAX
from models.claims import Claim, Payout, claims_page, draws_of
from models.draws import Draw
from models.people import User
from rules.errors import NotFound, NotSettled, OnHold, SamePerson, WrongState


def approve(res: Resources, actor_id: int, claim_id: int) -> dict[str, Any]:
    """Pays a waiting claim to whoever made it; the claim. The same person's repeat gets the same answer.

    Raises NotFound (its claimer stands outside the actor's subtree), SamePerson, WrongState, OnHold, NotSettled.
    """
    with res.sessions.begin() as session:
        claim, draw, payout = _locked(session, actor_id, claim_id)
        if (claim.status, claim.decided_by) != ("paid", actor_id):
            _must_wait(claim)
            if payout.held_at is not None:
                raise OnHold
            if draw is not None and (draw.status, draw.result_version) != ("settled", claim.version):
                raise NotSettled
            claimer = session.get_one(User, claim.claimed_by)
            claim.entry_id = pay(session, draw, payout, claimer, claim.prize, claim.tax, actor_id)
            _decide(session, claim, actor_id, "paid", None)
        (body,) = _bodies(session, [claim])
    push_after_commit(res, claim.claimed_by)
    return body


def reject(res: Resources, actor_id: int, claim_id: int, reason: str) -> dict[str, Any]:
    """Ends a waiting claim unpaid; its ticket can be claimed again. A repeat gets the same answer.

    Raises NotFound, SamePerson, WrongState.
    """
    with res.sessions.begin() as session:
        claim, *_ = _locked(session, actor_id, claim_id)
        if (claim.status, claim.decided_by) != ("rejected", actor_id):
            _must_wait(claim)
            _decide(session, claim, actor_id, "rejected", reason)
        return _bodies(session, [claim])[0]


def one(res: Resources, actor_id: int, claim_id: int) -> dict[str, Any]:
    """A claim made by the actor or below him. Raises NotFound."""
    with res.sessions() as session:
        return _bodies(session, [_reached(session, acting(session, actor_id), claim_id)])[0]


def page(res: Resources, actor_id: int, status: str | None, limit: int, cursor: str | None) -> dict[str, Any]:
    """{"items", "next"} of the claims made in the actor's subtree, newest first. Raises Invalid (cursor)."""
    last = place_of(cursor)
    with res.sessions() as session:
        claims = claims_page(session, acting(session, actor_id), status, limit + 1, last)
        items = _bodies(session, claims[:limit])
    return {"items": items, "next": cursor_after(claims, limit, lambda claim: claim.id)}


def _locked(session: Session, actor_id: int, claim_id: int) -> tuple[Claim, Draw | None, Payout]:
    """The claim as it stands once its ticket is ours."""
    claim = _reached(session, acting(session, actor_id), claim_id)
    if claim.claimed_by == actor_id:
        raise SamePerson
    draw, payout = lock_number(session, claim.number)
    session.refresh(claim)
    return claim, draw, payout


def _reached(session: Session, actor: User, claim_id: int) -> Claim:
    claim = session.get(Claim, claim_id) if 0 < claim_id <= BIGINT_MAX else None
    if claim is None:
        raise NotFound
    reachable(session, actor, claim.claimed_by)
    return claim


def _must_wait(claim: Claim) -> None:
    if claim.status != "pending":
        raise WrongState(f"The claim is {claim.status}.")


def _decide(session: Session, claim: Claim, actor_id: int, status: str, reason: str | None) -> None:
    claim.status, claim.decided_by, claim.decided_at, claim.reason = status, actor_id, func.now(), reason
    session.flush()
    session.refresh(claim)
    after = {"status": status, "prize": claim.prize, "tax": claim.tax, "reason": reason}
    record(session, "claim.decide", f"claim:{claim.id}", {"status": "pending"}, after)


def _bodies(session: Session, claims: Sequence[Claim]) -> list[dict[str, Any]]:
    draws = draws_of(session, [claim.number for claim in claims])
    return [_body(claim, draws[claim.number]) for claim in claims]


def _body(claim: Claim, draw: str | None) -> dict[str, Any]:
    return {
        "id": claim.id,
        "number": claim.number,
        "draw_id": draw,
        "status": claim.status,
        "prize": claim.prize,
        "tax": claim.tax,
        "paid": claim.prize - claim.tax if claim.status == "paid" else 0,
        "payee": claim.payee,
        "claimed_by": claim.claimed_by,
        "claimed_at": claim.claimed_at.isoformat(),
        "decided_by": claim.decided_by,
        "decided_at": claim.decided_at and claim.decided_at.isoformat(),
        "reason": claim.reason,
    }
