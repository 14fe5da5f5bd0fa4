"""Claims of prizes, their approval; holds and reprints."""

from __future__ import annotations

from typing import Any

from actions import claim_decisions, claims, holds, reprints
from actions.resources import Resources
from api import rates
from api.claims_schemas import (
    ApprovalNeeded,
    ClaimAsked,
    ClaimBody,
    ClaimList,
    ClaimQuery,
    Copy,
    HoldBody,
    Paid,
)
from api.draw_schemas import Reason
from api.operation import Blueprint, Caller, operation
from api.tokens import Actor
from rules import errors
from rules.tickets import one_spelling

blueprint = Blueprint(
    "claims", __name__, url_prefix="/v1", description="Claims of prizes, their approval; holds and reprints"
)

_OF_A_TICKET = [errors.NotFound, errors.TokenRevoked, errors.IntakeUnavailable]
_OF_A_DECISION = [errors.NotFound, errors.TokenRevoked, errors.SamePerson, errors.WrongState]


@operation(
    blueprint,
    "POST /tickets/<number>/claim",
    allowed="claim.make",
    body=ClaimAsked,
    answers={200: Paid, 202: ApprovalNeeded},
    problems=[
        *_OF_A_TICKET,
        errors.WrongCode,
        errors.OnHold,
        errors.NotSettled,
        errors.NotAWinner,
        errors.ClaimExpired,
        errors.AlreadyClaimed,
    ],
)
def claim_prize(res: Resources, actor: Actor, body: dict[str, Any], number: str) -> tuple[dict[str, Any], int]:
    """Claim the prize of a ticket at your counter, for whoever holds it and its code. Wrong codes are counted."""
    with rates.claiming(one_spelling(number), actor.id) as wrong:
        try:
            status, answer = claims.claim(res, actor.id, number, body["code"], body["payee"])
        except errors.WrongCode:
            wrong()
            raise
    return answer, status


@operation(
    blueprint,
    "GET /claims",
    allowed="claim.read",
    query=ClaimQuery,
    answers={200: ClaimList},
    problems=[errors.TokenRevoked],
)
def list_claims(res: Resources, actor: Actor, query: dict[str, Any]) -> dict[str, Any]:
    """The claims made in your subtree, newest first."""
    return claim_decisions.page(res, actor.id, **query)


@operation(
    blueprint,
    "GET /claims/<int:claim_id>",
    allowed=Caller.USER,
    answers={200: ClaimBody},
    problems=[errors.NotFound, errors.TokenRevoked],
)
def get_claim(res: Resources, actor: Actor, claim_id: int) -> dict[str, Any]:
    """A claim that you made, or that was made in your subtree."""
    return claim_decisions.one(res, actor.id, claim_id)


@operation(
    blueprint,
    "POST /claims/<int:claim_id>/approve",
    allowed="claim.decide",
    fresh=True,
    answers={200: ClaimBody},
    problems=[*_OF_A_DECISION, errors.OnHold, errors.NotSettled],
)
def approve_claim(res: Resources, actor: Actor, claim_id: int) -> dict[str, Any]:
    """Approve a claim that somebody else made: it is paid to his wallet."""
    return claim_decisions.approve(res, actor.id, claim_id)


@operation(
    blueprint,
    "POST /claims/<int:claim_id>/reject",
    allowed="claim.decide",
    body=Reason,
    answers={200: ClaimBody},
    problems=_OF_A_DECISION,
)
def reject_claim(res: Resources, actor: Actor, body: dict[str, str], claim_id: int) -> dict[str, Any]:
    """Reject a claim that somebody else made; its ticket can be claimed again."""
    return claim_decisions.reject(res, actor.id, claim_id, body["reason"])


@operation(
    blueprint,
    "POST /tickets/<number>/hold",
    allowed="ticket.hold",
    body=Reason,
    answers={200: HoldBody},
    problems=_OF_A_TICKET,
)
def hold_ticket(res: Resources, actor: Actor, body: dict[str, str], number: str) -> dict[str, Any]:
    """Hold a disputed ticket: nothing is paid on it until it is released."""
    return holds.hold(res, actor.id, number, body["reason"])


@operation(
    blueprint,
    "POST /tickets/<number>/release",
    allowed="ticket.hold",
    body=Reason,
    answers={200: HoldBody},
    problems=_OF_A_TICKET,
)
def release_ticket(res: Resources, actor: Actor, body: dict[str, str], number: str) -> dict[str, Any]:
    """Release a held ticket."""
    return holds.release(res, actor.id, number, body["reason"])


@operation(
    blueprint,
    "POST /tickets/<number>/reprint",
    allowed="ticket.reprint",
    answers={200: Copy},
    problems=[*_OF_A_TICKET, errors.NoCopiesLeft],
)
def reprint_ticket(res: Resources, actor: Actor, number: str) -> dict[str, Any]:
    """Print your own ticket again, marked as a copy: counted, and twice at the most."""
    return reprints.reprint(res, actor.id, number)
