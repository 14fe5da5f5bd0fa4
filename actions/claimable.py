"""What somebody may ask money for: a ticket sold here, or a winner of an older system; and who may pay on it.

Locks, here and wherever payouts change: the draw's row FOR SHARE, then the payout's FOR UPDATE, then wallets.
Corrections and expiry take the draw's row FOR UPDATE, so that they and claims exclude each other.
"""

from __future__ import annotations

import re
from datetime import datetime
from itertools import chain
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from actions.annulled import annulled_tickets
from actions.resources import Resources
from actions.stored_tickets import as_tickets, claim_until
from actions.subtree import reachable
from actions.tickets import find_by_number
from models.claims import OldWinner, Payout, lock_payout
from models.draws import Draw, draw_by_name
from models.people import User, chains_of
from models.settlement import prizes_of
from models.tickets import ticket_by_serial
from rules.errors import NotAWinner, NotFound, NotSettled
from rules.rights import Role
from rules.tickets import Ticket, code_matches, old_code_matches, parse_number, ticket_number

# All of their tickets are in the database: nothing of a claim depends on the gate then.
_IN_DATABASE = ("sealed", "resulted", "settling", "settled", "void")
_NEVER_SETTLE = ("voiding", "void")
_OLD_NUMBER = re.compile(r"\A[A-Z0-9-]{1,20}\Z")  # as the database holds them
_AT_THE_COUNTER = frozenset({Role.AGENT, Role.COORDINATOR})


class Claimable(NamedTuple):
    """A ticket by its number in the canonical form; exactly one of `ticket` and `old` is there."""

    number: str
    agent_id: int  # who sold it
    ticket: Ticket | None
    old: OldWinner | None
    annulled: bool = False


def find_claimable(res: Resources, number: str) -> Claimable | None:
    """What a person typed the number of; None if there is no such thing. Raises IntakeUnavailable (unsealed draws)."""
    if (sold := _sold(res, number)) is not None:
        ticket, annulled = sold
        return Claimable(ticket_number(ticket.draw, ticket.serial), ticket.agent_id, ticket, None, annulled)
    old = old_winner(res, number)
    return None if old is None else Claimable(old.number, old.agent_id, None, old)


def old_winner(res: Resources, number: str) -> OldWinner | None:
    """The older system's winner of that number, typed in any case. None of those is a number of ours."""
    text = number.upper() if number.isascii() else ""
    if not _OLD_NUMBER.match(text) or parse_number(text) is not None:
        return None
    with res.sessions() as session:
        return session.get(OldWinner, text)


def code_is_right(res: Resources, subject: Claimable, typed: str) -> bool:
    """Whether the typed code is the ticket's, in a time that tells nothing about the right one."""
    key = res.settings.code_key
    if subject.ticket is not None:
        return code_matches(key, subject.ticket, typed)
    assert subject.old is not None
    return old_code_matches(key, subject.number, subject.old.code_digest, typed)


def must_be_at_counter(session: Session, actor: User, agent_id: int) -> None:
    """Agents and coordinators pay on tickets sold below the same administrator, those above on all of their subtree.

    Raises NotFound elsewhere, as for no ticket at all.
    """
    if Role(actor.role) not in _AT_THE_COUNTER:
        reachable(session, actor, agent_id)
    elif _house(session, actor) not in _houses_ever(session, agent_id):
        raise NotFound


def lock_subject(session: Session, subject: Claimable) -> tuple[Draw | None, Payout]:
    """The draw, locked FOR SHARE (None for an older system's ticket), and the ticket's payout, locked FOR UPDATE."""
    if subject.ticket is None:
        return None, lock_payout(session, subject.number, None, None)
    query = select(Draw).where(Draw.name == subject.ticket.draw).with_for_update(read=True)
    draw = session.scalars(query.execution_options(populate_existing=True)).one()
    return draw, lock_payout(session, subject.number, draw.id, subject.ticket.serial)


def lock_number(session: Session, number: str) -> tuple[Draw | None, Payout]:
    """The same two for a ticket that has a payout already."""
    draw_id = session.get_one(Payout, number).draw_id
    draw = None
    if draw_id is not None:
        draw = session.get_one(Draw, draw_id, with_for_update={"read": True}, populate_existing=True)
    return draw, session.get_one(Payout, number, with_for_update=True, populate_existing=True)


def whole_prize(session: Session, subject: Claimable, draw: Draw | None) -> int:
    """The ticket's prize under the current version of the result, in centavos; 0 if it wins nothing.

    Raises NotSettled, also while a correction settles, and NotAWinner where nothing will ever be settled, and for a
    ticket that was annulled.
    """
    if subject.annulled:
        raise NotAWinner
    if draw is None:
        assert subject.old is not None
        return subject.old.prize
    assert subject.ticket is not None
    if draw.status in _NEVER_SETTLE:
        raise NotAWinner
    if draw.status != "settled":
        raise NotSettled
    serial = subject.ticket.serial
    return prizes_of(session, draw.id, draw.result_version, [serial]).get(serial, 0)


def over_at(res: Resources, subject: Claimable, draw: Draw | None) -> datetime:
    """The instant from which nothing can be claimed on the ticket."""
    if draw is not None:
        return claim_until(res, draw)
    assert subject.old is not None
    return subject.old.claim_until


def _sold(res: Resources, number: str) -> tuple[Ticket, bool] | None:
    """The ticket with that number, and whether it was annulled."""
    parsed = parse_number(number)
    if parsed is None:
        return None
    name, serial = parsed
    with res.sessions() as session:
        draw = draw_by_name(session, name)
        if draw is None:
            return None
        for _, ticket, _ in annulled_tickets(session, draw.id):
            if ticket.serial == serial:
                return ticket, True
        if draw.status in _IN_DATABASE:
            stored = ticket_by_serial(session, draw.id, draw.date, serial)
            return None if stored is None else (as_tickets(session, {draw.id: draw}, [stored])[0], False)
    found = find_by_number(res, number, settled=False)
    return None if found is None else (found.ticket, False)


def _houses_ever(session: Session, agent_id: int) -> set[int]:
    """Where the seller stands and stood: a customer goes back to the counter next to which he bought."""
    agent = session.get_one(User, agent_id)
    chains = chains_of(session, agent_id)
    admins = session.scalars(select(User.id).where(User.id.in_(set(chain(*chains))), User.role == Role.ADMIN))
    return {_house(session, agent), *admins}


def _house(session: Session, user: User) -> int:
    """The administrator above the user, of whom there is at most one; where there is none, the top of his tree."""
    query = select(User.id).where(User.id.in_(user.ancestors), User.role == Role.ADMIN)
    admin = session.scalar(query)
    return admin or (user.ancestors or [user.id])[0]
