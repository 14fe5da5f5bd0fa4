"""A wrong result put right: entered by two persons, settled anew as the next version.

Prizes that an earlier version paid stay with those who have them: they count towards what the ticket wins now, and
what goes beyond that was paid in error (tasks/settle.py books it, `paid_in_error` lists it).
"""

from __future__ import annotations

from datetime import date as Date
from datetime import time as Time
from typing import Any

from sqlalchemy import func
from sqlalchemy.orm import Session

from actions.approvals import keep_request, request_that_waits, waiting_request
from actions.audit import record
from actions.claims import drop_pending
from actions.pages import cursor_after, place_of
from actions.resources import Resources
from actions.results import check_draw, check_number, confirmed_version, settle_on
from actions.stored_tickets import claim_until
from models import settlement
from models.draws import Draw, draw_by_name, lock_draw
from rules.errors import Invalid, NoSuchDraw, NotSettled, NumbersDiffer, WrongState
from rules.tickets import ticket_number

CORRECTION = "correction"

CORRECTABLE = ("resulted", "settling", "settled")


def ask(res: Resources, actor_id: int, name: str, number: str, date: Date, time: Time, reason: str) -> dict[str, Any]:
    """The first person's entry of what was drawn in truth; until it is confirmed, nothing changes.

    Raises NoSuchDraw, NotSealed, WrongState, OtherDraw, Invalid (number).
    """
    with res.sessions.begin() as session:
        draw = lock_draw(session, name)
        _check(res, session, draw, number, date, time)
        keep_request(session, draw.name, CORRECTION, actor_id, {"number": number, "reason": reason})
        record(session, "correction", f"draw:{name}", after={"reason": reason})  # the number: see results.enter
    return {"status": "awaiting_confirmation", "draw_id": name, "reason": reason}


def confirm(
    res: Resources, actor_id: int, name: str, number: str, date: Date, time: Time, reason: str
) -> dict[str, Any]:
    """The second person's entry: if it is the same, the draw is settled again, with this result.

    From here on nothing is paid on the draw until it is settled; claims that wait for approval are dropped. The
    same call again gets the same answer. Raises what `ask` does, SamePerson, and NumbersDiffer: then both entries
    are dropped.
    """
    with res.sessions.begin() as session:
        draw = lock_draw(session, name)
        # The first version is no correction.
        made_before = max(2, draw.result_version)
        # Not if the same number was asked for since, to settle the draw anew.
        asked = request_that_waits(session, draw.name, CORRECTION)
        anew = asked is not None and asked.content["number"] == draw.result
        version = None if anew else confirmed_version(session, draw, made_before, actor_id, number, date, time)
        if version is None:
            _check(res, session, draw, number, date, time)
            entry = waiting_request(session, draw.name, CORRECTION, actor_id)
            entry.content = {**entry.content, "confirm_reason": reason}
            begun = {"settling_at": func.now(), "settled_at": None}
            version = settle_on(session, draw, entry, actor_id, number, CORRECTABLE, "settling", **begun)
            if version is not None:
                drop_pending(session, draw.id, "the draw's result was corrected")
    if version is None:
        raise NumbersDiffer
    res.doorbell.ring("draws.settle", name)
    res.doorbell.ring("events.send")
    return {"status": "confirmed", "draw_id": name, "version": version, "result": number}


def paid_in_error(res: Resources, name: str, limit: int, cursor: str | None) -> dict[str, Any]:
    """{"items", "next"}: tickets of a settled draw that were paid more than its current result gives them.

    Raises NoSuchDraw, NotSettled, Invalid (cursor).
    """
    with res.sessions() as session:
        draw = draw_by_name(session, name)
        if draw is None:
            raise NoSuchDraw
        if draw.status != "settled":
            raise NotSettled("The draw is not settled.")
        last = place_of(cursor)
        rows = settlement.paid_in_error(session, draw.id, draw.date, draw.result_version, limit + 1, last)
    items = [
        {
            "number": ticket_number(name, row.serial),
            "agent_id": row.agent_id,
            "paid": row.paid,
            "prize": row.prize,
            "excess": row.paid - row.prize,
        }
        for row in rows[:limit]
    ]
    return {"items": items, "next": cursor_after(rows, limit, lambda row: row.serial)}


def _check(res: Resources, session: Session, draw: Draw, number: str, date: Date, time: Time) -> None:
    """Whether this draw's result can be corrected to this number now."""
    check_draw(draw, CORRECTABLE, date, time)
    over = res.clock.now() >= claim_until(res, draw)
    if over or draw.expired_at is not None or settlement.anything_expired(session, draw.id):
        raise WrongState("The time to claim prizes of this draw is over.")
    check_number(draw, number)
    # The same number settles anew what tasks/check_pool.py has not found right.
    doubted = draw.status == "settled" and draw.checked_version != draw.result_version
    if number == draw.result and not doubted:
        raise Invalid(errors=[{"path": "number", "message": "this is the draw's result already"}])
