"""Tickets: selling, reading, voiding, cancelling, and verifying a receipt."""

from __future__ import annotations

import re
from typing import Any

import structlog
from flask import request

from actions import sell, ticket_list, tickets, verify, void
from actions.resources import Resources
from api import rates
from api.bodies import BATCH_BYTES_MAX, BODY_BYTES_MAX
from api.draws import real_name
from api.errors import status_of
from api.operation import Blueprint, Caller, Sale, operation
from api.problems import document
from api.sale import hex_of, read_batch, read_sale
from api.served import served
from api.ticket_schemas import (
    CODE_CHARACTERS_MAX,
    UUID,
    BatchAnswer,
    BatchBody,
    Cancelled,
    CodeQuery,
    OfDraw,
    Receipt,
    SaleBody,
    TicketBody,
    TicketList,
    TicketQuery,
    Verified,
    VoidReason,
)
from api.tokens import Actor
from intake.gate_errors import Unreconciled
from models.base import BIGINT_MAX
from models.tickets import TicketFilter
from rules import errors
from rules.errors import Problem
from rules.tickets import one_spelling

CODE_HEADER = "X-Ticket-Code"
# Of a number that somebody made up; the longest of ours has 20.
_LOGGED_CHARACTERS_MAX = 40

_log = structlog.get_logger()

blueprint = Blueprint("tickets", __name__, url_prefix="/v1", description="Tickets")

_SALE_PROBLEMS = [
    errors.IdCancelled,
    errors.IdConflict,
    errors.NoSuchDraw,
    errors.CutoffPassed,
    errors.DrawNotOpen,
    errors.AgentSuspended,
    errors.TokenRevoked,
    errors.SlowDown,
    errors.InsufficientCredit,
    errors.SoldOut,
    errors.IntakeUnavailable,
]


@operation(
    blueprint,
    "POST /tickets",
    allowed="ticket.sell",
    body=Sale(SaleBody, BODY_BYTES_MAX),
    answers={200: Receipt, 201: Receipt},
    problems=_SALE_PROBLEMS,
)
def sell_ticket(res: Resources, actor: Actor, raw: bytes) -> tuple[dict[str, Any], int]:
    """Sell a ticket; the same id again gives the same receipt, with 200."""
    draw, sale = read_sale(raw, actor.id, actor.session)
    receipt, replayed = sell.sell(res, draw, sale)
    return receipt, 200 if replayed else 201


@operation(
    blueprint,
    "POST /tickets/batch",
    allowed="ticket.sell",
    body=Sale(BatchBody, BATCH_BYTES_MAX),
    answers={200: BatchAnswer},
    problems=[errors.TokenRevoked, errors.SlowDown, errors.IntakeUnavailable],
)
def sell_tickets(res: Resources, actor: Actor, raw: bytes) -> dict[str, Any]:
    """Sell up to 500 tickets in order, each as if sent alone; what refuses all that could be read refuses the call."""
    asked = read_batch(raw, actor.id, actor.session)
    outcomes = iter(sell.sell_batch(res, [item for _, item in asked if not isinstance(item, Problem)]))
    return {
        "results": [
            _batch_item(sent_id, item if isinstance(item, Problem) else next(outcomes)) for sent_id, item in asked
        ]
    }


def _batch_item(sent_id: str | None, outcome: sell.Outcome) -> dict[str, Any]:
    if isinstance(outcome, Problem):
        if isinstance(outcome, Unreconciled):
            served().background.wake()
        return {"id": sent_id, "status": status_of(outcome), "error": document(outcome)}
    receipt, replayed = outcome
    return {"id": sent_id, "status": 200 if replayed else 201, "receipt": receipt}


@operation(
    blueprint,
    "GET /tickets/by-id/<ticket_id>",
    allowed="ticket.sell",
    query=OfDraw,
    answers={200: Receipt},
    problems=[errors.NotFound, errors.NoSuchDraw, errors.IntakeUnavailable],
    gate_only=True,
)
def ticket_by_id(res: Resources, actor: Actor, query: dict[str, str], ticket_id: str) -> dict[str, Any]:
    """Your own ticket by the id that your terminal made."""
    if not re.match(UUID, ticket_id):
        raise errors.NotFound
    return tickets.by_id(res, actor.id, real_name(query["draw_id"]), hex_of(ticket_id))


@operation(
    blueprint,
    "POST /tickets/by-id/<ticket_id>/cancel",
    allowed="ticket.cancel",
    body=OfDraw,
    answers={200: Cancelled},
    problems=[errors.NoSuchDraw, errors.DrawNotOpen, errors.VoidWindowOver, errors.IntakeUnavailable],
    gate_only=True,
)
def cancel_ticket(res: Resources, actor: Actor, body: dict[str, str], ticket_id: str) -> dict[str, Any]:
    """Kill an id, whether it was sold or not; for a customer who left before the answer came."""
    if not re.match(UUID, ticket_id):
        raise errors.Invalid(errors=[{"path": "id", "message": "not a uuid"}])
    return void.cancel(res, actor.id, real_name(body["draw_id"]), hex_of(ticket_id))


@operation(
    blueprint,
    "GET /tickets/<number>",
    allowed="ticket.read",
    answers={200: TicketBody},
    problems=[errors.NotFound, errors.TokenRevoked, errors.IntakeUnavailable],
)
def get_ticket(res: Resources, actor: Actor, number: str) -> dict[str, Any]:
    """A ticket of your subtree by its number; to the agent who sold it the whole receipt."""
    return tickets.by_number(res, actor.id, number)


@operation(
    blueprint,
    "GET /tickets",
    allowed="ticket.read",
    query=TicketQuery,
    answers={200: TicketList},
    problems=[errors.NotFound, errors.NoSuchDraw, errors.TokenRevoked],
)
def list_tickets(res: Resources, actor: Actor, query: dict[str, Any]) -> dict[str, Any]:
    """The tickets of your subtree, newest first, as far as they have reached the database."""
    agent_id, stake = query["agent_id"], query["stake"]
    if agent_id is not None and not 0 < agent_id <= BIGINT_MAX:
        raise errors.NotFound
    if stake is not None and not 0 < stake <= BIGINT_MAX:
        return {"items": [], "next": None}
    wanted = TicketFilter(
        agent_id=agent_id,
        played=query["played"],
        stake=stake,
        accepted_from=query["from"],
        accepted_before=query["to"],
    )
    return ticket_list.page(
        res,
        actor.id,
        draw=query["draw_id"] and real_name(query["draw_id"]),
        status=query["status"],
        limit=query["limit"],
        cursor=query["cursor"],
        wanted=wanted,
    )


@operation(
    blueprint,
    "POST /tickets/<number>/void",
    allowed="ticket.void",
    body=VoidReason,
    answers={200: Receipt},
    problems=[
        errors.NotFound,
        errors.AlreadyVoided,
        errors.VoidWindowOver,
        errors.DrawNotOpen,
        errors.IntakeUnavailable,
    ],
    gate_only=True,
)
def void_ticket(res: Resources, actor: Actor, body: dict[str, str], number: str) -> dict[str, Any]:
    """Take your own ticket back while its draw is open and its five minutes run."""
    return void.void(res, actor.id, number, body["reason"])


@operation(
    blueprint,
    "GET /verify/<number>",
    allowed=Caller.ANYONE,
    query=CodeQuery,
    answers={200: Verified},
    problems=[errors.DatabaseUnavailable, errors.IntakeUnavailable],
    parameters=[
        {
            "in": "header",
            "name": CODE_HEADER,
            "description": "the code, where it should stay out of addresses and logs",
            "schema": {"type": "string", "minLength": 1, "maxLength": CODE_CHARACTERS_MAX},
        }
    ],
)
def verify_ticket(res: Resources, _: None, query: dict[str, str | None], number: str) -> dict[str, Any]:
    """What became of a ticket, for whoever holds its code: as `code`, or in the header X-Ticket-Code.

    Wrong codes are counted.
    """
    code = query["code"] or request.headers.get(CODE_HEADER, "")
    if not 0 < len(code) <= CODE_CHARACTERS_MAX:
        raise errors.Invalid(errors=[{"path": "code", "message": f"the code, or the header {CODE_HEADER}"}])
    spelled, address = one_spelling(number), request.remote_addr or ""
    with rates.verifying(spelled, address) as wrong:
        found = verify.verify(res, number, code)
        if not found["valid"]:
            _log.warning("wrong_code", number=spelled[:_LOGGED_CHARACTERS_MAX], address=address)
            wrong()
    return found
