"""Annulling a ticket that the database will not take: two persons decide it, and its stake comes back once.

Nothing of it was ever booked: only the gate took the stake, and a waiting letter holds it through every rebuild. So
what comes back is an outbox row without a posting, in the transaction that ends the letter. From then on a rebuild
leaves the ticket out of the agent's credit, and takes the row's number for applied.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy.orm import Session

from actions.annulled import understood
from actions.approvals import confirmed_request, keep_request, mark_confirmed, request_that_waits, took_part
from actions.audit import record
from actions.credit import push_after_commit
from actions.dead_letters import (
    ANNUL,
    CHANGE,
    about,
    end,
    found,
    lock_position,
    must_wait,
    ring_for_draw,
    shown,
)
from actions.resources import Resources
from intake.records import Position, TicketRecord, VoidRecord
from models.dead_letters import RECORD, DeadLetter, waiting_records
from models.draws import Draw, PendingApproval
from models.draws import Position as PositionRow
from models.people import lock_wallets, loosen
from models.tickets import Closing
from rules.errors import ContentsDiffer, WrongState

OK, ACCEPTED = 200, 202

# A draw of which something was annulled does not sell any more: nobody can void what is no ticket now.
ANNULLABLE = ("closed", "voiding")


class _Going(NamedTuple):
    """What goes with one letter: itself, the voids of its ticket, and what the gate still holds of the stake."""

    letters: list[DeadLetter]
    agent_id: int | None  # None: nobody can read whose it was
    returned: int  # centavos


def annul(res: Resources, actor_id: int, letter_id: int, reason: str) -> tuple[int, dict[str, Any]]:
    """The first person asks (202), another one sends the same (200, the letter): the ticket counts for nothing, and
    its stake goes back to the agent's credit, less what a void of it has given back already.

    Bytes that are no record at all are annulled, too; whose stake they were nobody can say. Either person's call,
    repeated, gets its answer again. Raises NotFound, WrongState (no ticket's record, not waiting, or its draw not
    drained to its close marker), ContentsDiffer: then both requests are dropped.
    """
    with res.sessions.begin() as session:
        letter = found(session, letter_id)
        if letter.kind != RECORD:
            raise WrongState("Only a ticket is annulled; discard this one.")
        position = lock_position(session, letter)
        if letter.status == "annulled" and took_part(confirmed_request(session, about(letter_id), ANNUL), actor_id):
            return OK, shown(session, letter)
        must_wait(letter)
        draw = session.get_one(Draw, letter.draw_id)
        _must_be_drained(session, draw, position)
        going = _going(session, letter)
        asked = request_that_waits(session, about(letter_id), ANNUL)
        if asked is None or asked.asked_by == actor_id:
            return ACCEPTED, _ask(session, letter_id, actor_id, reason)
        agreed = asked.content["reason"] == reason
        if agreed:
            _annul(session, going, asked, actor_id, reason)
            body = shown(session, letter)
        else:
            session.delete(asked)
            record(session, CHANGE, about(letter_id), outcome=ContentsDiffer.code)
    if not agreed:
        raise ContentsDiffer
    if going.returned and going.agent_id is not None:
        push_after_commit(res, going.agent_id)
    ring_for_draw(res, draw.name)
    return OK, body


def _must_be_drained(session: Session, draw: Draw, position: PositionRow) -> None:
    """Behind the close marker nothing comes that could be about the ticket. Raises WrongState."""
    closing = session.get(Closing, draw.id)
    if draw.status not in ANNULLABLE:
        raise WrongState(f"The draw is {draw.status}; a ticket is annulled once its draw is closed.")
    if closing is None or (position.serial, position.sub) != (closing.serial, closing.sub):
        raise WrongState("The draw is not drained to its close marker yet; ask again.")


def _going(session: Session, letter: DeadLetter) -> _Going:
    """Raises WrongState: this record is no ticket's."""
    place, raw = letter.record()
    mine = understood(Position(*place), raw)
    if isinstance(mine, VoidRecord):
        raise WrongState("A void is replayed, or goes with the letter of its ticket.")
    if mine is not None and not isinstance(mine, TicketRecord):
        raise WrongState("Only a ticket is annulled; mend the reason and replay this one.")
    letters, given_back = [letter], 0
    for other in waiting_records(session, letter.draw_id or 0) if place[1] == 0 else ():
        theirs, its_raw = other.record()
        void = understood(Position(*theirs), its_raw)
        if isinstance(void, VoidRecord) and void.ticket_serial == place[0]:
            letters.append(other)
            given_back += void.stake
    if mine is None:
        return _Going(letters, None, 0)
    return _Going(letters, mine.agent_id, max(0, mine.stake - given_back))


def _ask(session: Session, letter_id: int, actor_id: int, reason: str) -> dict[str, Any]:
    keep_request(session, about(letter_id), ANNUL, actor_id, {"reason": reason})
    record(session, CHANGE, about(letter_id), after={"asked": "annulled", "reason": reason})
    return {"status": "awaiting_confirmation", "id": letter_id, "reason": reason}


def _annul(session: Session, going: _Going, asked: PendingApproval, actor_id: int, reason: str) -> None:
    mark_confirmed(asked, actor_id)
    first, *voids = going.letters
    money = {"agent_id": going.agent_id, "returned": going.returned}
    end(session, first, "annulled", actor_id, reason, asked_by=asked.asked_by, **money)
    for void in voids:
        end(session, void, "annulled", actor_id, reason, goes_with=about(first.id))
    if going.returned and going.agent_id is not None:
        lock_wallets(session, [going.agent_id])
        loosen(session, {going.agent_id: going.returned}, "annulled")
