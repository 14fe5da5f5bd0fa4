"""Printing a ticket: as often as anybody asks, since copies are counted where they are made (actions/reprints.py)."""

from __future__ import annotations

from actions.receipts import receipt
from actions.resources import Resources
from actions.subtree import acting
from actions.tickets import find_by_number
from models.claims import copies_made
from reports.tickets.printer import Form
from reports.tickets.slip import Seller, Slip
from rules.errors import NotFound


def printed(res: Resources, agent_id: int, number: str, form: Form, paper_mm: int | None) -> tuple[str, bytes]:
    """(the ticket's number, the agent's own ticket as it goes to the printer); `paper_mm` None: the agent's.

    It says which copy it is, as it was last counted, and whether the ticket is not good any more: nothing is printed
    while either cannot be known. Raises TokenRevoked, NotFound (also for another agent's ticket), IntakeUnavailable.
    """
    found = find_by_number(res, number, certain=True)
    if found is None or found.ticket.agent_id != agent_id:
        raise NotFound
    body = receipt(res.settings.code_key, found.ticket, found.status)
    with res.sessions() as session:
        agent = acting(session, agent_id)
        slip = Slip(
            ticket=found.ticket,
            code=body["code"],
            status=found.status,
            copy=copies_made(session, body["number"]),
            seller=Seller(agent.id, agent.username, agent.full_name or "", agent.address or ""),
        )
        paper, template = paper_mm or agent.ticket_paper, agent.ticket_template
    return slip.number, res.printer.printed(slip, form, paper, template)
