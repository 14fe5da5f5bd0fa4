"""Taking a ticket back: a void by its number, a cancel by its id for the customer who left before the answer."""

from __future__ import annotations

from typing import Any

from actions.receipts import receipt, ticket_of
from actions.resources import Resources
from actions.tickets import Found, find_by_id, find_by_number
from intake.gate_errors import DrawUnknown
from models.draws import draw_by_name
from rules.errors import AlreadyVoided, DrawNotOpen, Forbidden, IdCancelled, NotFound, VoidWindowOver

VOID_WINDOW_MS = 5 * 60 * 1000


def void(res: Resources, agent_id: int, number: str, reason: str) -> dict[str, Any]:
    """Voids the agent's own ticket; its receipt, now `voided`. Raises NotFound, AlreadyVoided, VoidWindowOver."""
    found = find_by_number(res, number, settled=False)
    if found is None or found.ticket.agent_id != agent_id:
        raise NotFound
    if found.held is None:
        raise AlreadyVoided if found.status == "voided" else VoidWindowOver
    draw = found.ticket.draw
    outcome = res.gate.void(draw, found.held, agent_id, VOID_WINDOW_MS, _one_line(reason))
    if outcome.ring:
        res.doorbell.ring("tickets.persist", draw)
    return receipt(res.settings.code_key, ticket_of(draw, found.held), "voided")


def cancel(res: Resources, agent_id: int, draw: str, ticket_id: str) -> dict[str, str]:
    """Kills an id, sold or not: {"status": "voided" or "never_sold"}. Raises NoSuchDraw, Forbidden, VoidWindowOver.

    A repeat gets the same answer, also after the cutoff.
    """
    try:
        found = find_by_id(res, draw, ticket_id, settled=False)
    except IdCancelled:
        return {"status": "never_sold"}
    if found is not None and found.ticket.agent_id != agent_id:
        raise Forbidden("This id is another agent's ticket.")
    if found is not None and found.held is None:
        return _archived(res, draw, found)
    try:
        outcome = res.gate.cancel(draw, found.held if found else None, agent_id, ticket_id, VOID_WINDOW_MS)
    except DrawUnknown:
        return _archived(res, draw, None)
    if outcome.ring:
        res.doorbell.ring("tickets.persist", draw)
    return {"status": outcome.outcome}


def _archived(res: Resources, draw: str, found: Found | None) -> dict[str, str]:
    if found is not None:
        if found.status == "voided":
            return {"status": "voided"}
        raise VoidWindowOver
    with res.sessions() as session:
        row = draw_by_name(session, draw)
    if row is not None and row.opened_at is None and row.status == "scheduled":
        raise DrawNotOpen
    return {"status": "never_sold"}


def _one_line(reason: str) -> str:
    """A reason as the journal's line can hold it."""
    return " ".join(reason.split())
