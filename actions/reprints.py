"""Printing a ticket again: counted, and twice at the most."""

from __future__ import annotations

from typing import Any

from sqlalchemy.dialects.postgresql import insert

from actions.audit import record
from actions.receipts import receipt
from actions.resources import Resources
from actions.subtree import acting
from actions.tickets import find_by_number
from models.claims import Reprint
from rules.errors import NoCopiesLeft, NotFound

COPIES_MAX = 2


def reprint(res: Resources, agent_id: int, number: str) -> dict[str, Any]:
    """The agent's own ticket as `receipt` has it, with the number of the `copy`, from 1.

    Raises TokenRevoked, NotFound (also for another agent's ticket), NoCopiesLeft, IntakeUnavailable.
    """
    found = find_by_number(res, number)
    if found is None or found.ticket.agent_id != agent_id:
        raise NotFound
    body = receipt(res.settings.code_key, found.ticket, found.status)
    with res.sessions.begin() as session:
        acting(session, agent_id)
        for copy in range(1, COPIES_MAX + 1):
            # Of two calls at once the second waits here for the first one's commit, and takes the next copy.
            values = {"number": body["number"], "copy": copy, "agent_id": agent_id}
            taken = insert(Reprint).values(values).on_conflict_do_nothing(index_elements=["number", "copy"])
            if session.execute(taken.returning(Reprint.copy)).first() is not None:
                record(session, "ticket.reprint", f"ticket:{body['number']}", None, {"copy": copy})
                return body | {"copy": copy}
    raise NoCopiesLeft
