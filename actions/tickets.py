"""Reading tickets where they are: in the gate while it holds their draw, else in the database."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, NamedTuple

from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from actions.annulled import Annulled, annulled_in, ticket_of_record
from actions.receipts import receipt, ticket_of
from actions.resources import Resources
from actions.stored_tickets import as_tickets, statuses, voided_serials
from actions.subtree import acting
from intake.gate import Held
from intake.gate_errors import DrawUnknown, Unreconciled
from models.draws import Draw, draw_by_name
from models.draws import Position as PositionRow
from models.people import subtree_user
from models.tickets import Ticket as StoredTicket
from models.tickets import ticket_by_id, ticket_by_serial, voids_of_id
from rules.draws import LIVE, SELLING
from rules.errors import IdCancelled, IntakeUnavailable, NoSuchDraw, NotFound
from rules.tickets import Ticket, parse_number


class Found(NamedTuple):
    """A ticket with its status; `held` while the gate has it, `cancelled` if its id is dead."""

    ticket: Ticket
    status: str
    held: Held | None
    cancelled: bool = False


def find_by_id(res: Resources, draw: str, ticket_id: str, *, settled: bool = True) -> Found | None:
    """The ticket with that id (32 hex digits). Raises NoSuchDraw, IdCancelled (never sold), IntakeUnavailable.

    `settled`: the status says what became of the draw, too, if the database tells that in time. Without it nothing is
    asked there about a ticket that the gate holds.
    """
    try:
        held = res.gate.find_id(draw, ticket_id)
    except DrawUnknown:
        return _stored_by_id(res, draw, ticket_id)
    return None if held is None else _from_gate(res, draw, held, settled=settled)


def find_by_number(res: Resources, number: str, *, settled: bool = True, certain: bool = False) -> Found | None:
    """The ticket with that number, typed by a person; None if there is none. `settled` as for `find_by_id`.

    `certain`: if the database does not tell what became of the draw, that is raised.

    Raises IntakeUnavailable.
    """
    parsed = parse_number(number)
    if parsed is None:
        return None
    draw, serial = parsed
    try:
        held = res.gate.find_serial(draw, serial)
    except DrawUnknown:
        return _stored_by_serial(res, draw, serial)
    return None if held is None else _from_gate(res, draw, held, settled=settled, certain=certain)


def by_id(res: Resources, agent_id: int, draw: str, ticket_id: str) -> dict[str, Any]:
    """The agent's own receipt. Raises NotFound, also for another agent's ticket and for an id cancelled unsold."""
    try:
        found = find_by_id(res, draw, ticket_id)
    except IdCancelled:
        found = None
    if found is None or found.ticket.agent_id != agent_id:
        raise NotFound
    return receipt(res.settings.code_key, found.ticket, found.status)


def by_number(res: Resources, actor_id: int, number: str) -> dict[str, Any]:
    """A ticket of the actor's subtree. The code stays with the holder: only the selling agent's answer has it."""
    found = find_by_number(res, number)
    if found is None:
        raise NotFound
    with res.sessions() as session:
        actor = acting(session, actor_id)
        if subtree_user(session, actor, found.ticket.agent_id) is None:
            raise NotFound
    return shown(res, actor_id, found.ticket, found.status)


def shown(res: Resources, actor_id: int, ticket: Ticket, status: str) -> dict[str, Any]:
    """A ticket as its reader may see it: `code` and `qr` prove who holds it, so only the selling agent gets them."""
    body = receipt(res.settings.code_key, ticket, status)
    if ticket.agent_id != actor_id:
        del body["code"], body["qr"]
    return body


def _from_gate(res: Resources, draw: str, held: Held, *, settled: bool, certain: bool = False) -> Found:
    """The gate knows sold and voided; what became of the draw since stands in the database, if that can be asked."""
    status = "voided" if held.state else "accepted"
    if settled:
        # Without the database nothing has been settled since we could last look.
        with suppress(*(() if certain else (OperationalError, InterfaceError, PoolTimeout))):
            status = _status_since(res, draw, held) or status
    return Found(ticket_of(draw, held), status, held, held.state == "c")


def _status_since(res: Resources, draw: str, held: Held) -> str | None:
    """The status of a ticket whose draw sells no more; None: it does."""
    with res.sessions() as session:
        row = draw_by_name(session, draw)
        if row is None or row.status in SELLING:
            return None
        annulled = annulled_in(session, row.id)
        if held.serial in annulled.tickets:
            return annulled.status(held.serial)
        return statuses(res, session, row, [held.serial], {held.serial} if held.state else set())[held.serial]


def _stored_by_id(res: Resources, draw: str, ticket_id: str) -> Found | None:
    with res.sessions() as session:
        row = _archived_draw(res, session, draw)
        stored = ticket_by_id(session, row.id, row.date, ticket_id)
        if stored is not None:
            dead = any(void.kind == "cancel" for void in voids_of_id(session, row.id, ticket_id))
            return _found(res, session, row, stored)._replace(cancelled=dead)
        if voids_of_id(session, row.id, ticket_id):
            raise IdCancelled
        annulled = annulled_in(session, row.id)
        for serial, record in annulled.tickets.items():
            if record.id == ticket_id:
                return _annulled(annulled, row, serial)
    return None


def _stored_by_serial(res: Resources, draw: str, serial: int) -> Found | None:
    with res.sessions() as session:
        try:
            row = _archived_draw(res, session, draw)
        except NoSuchDraw:
            return None
        stored = ticket_by_serial(session, row.id, row.date, serial)
        if stored is None:
            annulled = annulled_in(session, row.id)
            return _annulled(annulled, row, serial) if serial in annulled.tickets else None
        return _found(res, session, row, stored)


def _archived_draw(res: Resources, session: Session, name: str) -> Draw:
    """The draw, if the database knows all of its tickets.

    A live draw that the gate lacks is about to open there; one that has sold already was lost there, and only a rebuild
    brings it back.
    """
    row = draw_by_name(session, name)
    if row is None:
        raise NoSuchDraw
    if row.status in LIVE and row.opened_at is not None:
        position = session.get(PositionRow, row.id)
        if position is not None and (position.serial, position.sub) > (0, 0):
            res.rebuild.fence()
            raise Unreconciled("the gate lacks a draw that has sold")
        raise IntakeUnavailable(retry_after=1)
    return row


def _found(res: Resources, session: Session, row: Draw, stored: StoredTicket) -> Found:
    (ticket,) = as_tickets(session, {row.id: row}, [stored])
    voided = voided_serials(session, row.id, [stored.serial])
    return Found(ticket, statuses(res, session, row, [stored.serial], voided)[stored.serial], None)


def _annulled(annulled: Annulled, row: Draw, serial: int) -> Found:
    record = annulled.tickets[serial]
    ticket = ticket_of_record(row.name, serial, record)
    return Found(ticket, annulled.status(serial), None, record.id in annulled.cancelled)
