"""A draw's result, entered by one person and entered alike by another; and how far its settlement is."""

from __future__ import annotations

from datetime import date as Date
from datetime import time as Time
from typing import Any

from sqlalchemy import func, insert
from sqlalchemy.orm import Session

from actions.approvals import keep_request, waiting_request
from actions.resources import Resources
from models.draws import Draw, PendingApproval, advance, draw_by_name, lock_draw
from models.settlement import Result, SettlementStep, steps_of, totals_of_winners
from rules.errors import Invalid, NoSuchDraw, NotSealed, NumbersDiffer, OtherDraw, TooEarly, WrongState
from rules.games import GAMES, is_outcome

RESULT = "result"

# What settling a version of the result consists of, in order; tasks/settle.py does it.
STEPS = ("winners", "prizes", "report")

_UNSEALED = ("scheduled", "open", "closed")


def enter(res: Resources, actor_id: int, name: str, number: str, date: Date, time: Time) -> dict[str, Any]:
    """The first person's entry; shown to nobody until it is confirmed, and replaced only by himself.

    Raises NoSuchDraw, NotSealed, WrongState, OtherDraw, TooEarly, Invalid (number).
    """
    with res.sessions.begin() as session:
        draw = lock_draw(session, name)
        _check(res, draw, number, date, time)
        keep_request(session, draw.name, RESULT, actor_id, {"number": number})
    return {"status": "awaiting_confirmation", "draw_id": name}


def confirm(res: Resources, actor_id: int, name: str, number: str, date: Date, time: Time) -> dict[str, Any]:
    """The second person's entry: if it is the same, the result stands and settlement starts.

    The same call again gets the same answer. Raises what `enter` does, SamePerson, and NumbersDiffer: then
    both entries are dropped.
    """
    with res.sessions.begin() as session:
        draw = lock_draw(session, name)
        version = _confirmed_version(session, draw, actor_id, number, date, time)
        if version is None:
            _check(res, draw, number, date, time)
            entry = waiting_request(session, draw.name, RESULT, actor_id)
            if entry.content["number"] == number:
                version = _settle_on(session, draw, entry, actor_id)
            session.delete(entry)
    if version is None:
        raise NumbersDiffer
    res.doorbell.ring("draws.settle", name)
    return {"status": "confirmed", "draw_id": name, "version": version, "result": number}


def settlement(res: Resources, name: str) -> dict[str, Any]:
    """How far settling the current result is; `winners` counts tickets, `prizes` centavos.

    Raises NoSuchDraw, NotSealed, WrongState (no result yet).
    """
    with res.sessions() as session:
        draw = draw_by_name(session, name)
        if draw is None:
            raise NoSuchDraw
        if draw.result_version == 0:
            raise (
                NotSealed if draw.status in _UNSEALED else WrongState(f"The draw is {draw.status}, without a result.")
            )
        steps = steps_of(session, draw.id, draw.result_version)
        winners, prizes = totals_of_winners(session, draw.id, draw.result_version)
    return {
        "draw_id": name,
        "status": draw.status,
        "version": draw.result_version,
        "steps": [_step_body(step) for step in steps],
        "winners": winners,
        "prizes": prizes,
    }


def resume(res: Resources, name: str) -> dict[str, Any]:
    """Starts a settlement again that stands still. Raises what `settlement` does, and WrongState."""
    body = settlement(res, name)
    if body["status"] not in ("resulted", "settling"):
        raise WrongState(f"The draw is {body['status']}; there is nothing to resume.")
    res.doorbell.ring("draws.settle", name)
    return body


def _check(res: Resources, draw: Draw, number: str, date: Date, time: Time) -> None:
    """Whether this draw can get this result now."""
    if draw.status in _UNSEALED:
        raise NotSealed
    if draw.status != "sealed":
        raise WrongState(f"The draw is {draw.status}.")
    if (date, time) != (draw.date, draw.time):
        raise OtherDraw
    if res.clock.now() < draw.draws_at:
        raise TooEarly
    if not is_outcome(draw.game, number):
        raise Invalid(errors=[{"path": "number", "message": f"a number in {draw.game} is {GAMES[draw.game].shape}"}])


def _confirmed_version(session: Session, draw: Draw, actor_id: int, number: str, date: Date, time: Time) -> int | None:
    """The current version if this very call made it before: its answer was lost on the way."""
    result = session.get(Result, (draw.id, draw.result_version))
    if result is None or (draw.date, draw.time) != (date, time):
        return None
    return result.version if (result.confirmed_by, result.number) == (actor_id, number) else None


def _settle_on(session: Session, draw: Draw, entry: PendingApproval, actor_id: int) -> int:
    """Makes the entered number the draw's result, in its next version, with the steps of settling it."""
    version = draw.result_version + 1
    number = entry.content["number"]
    entered = {"entered_by": entry.asked_by, "entered_at": entry.asked_at}
    session.execute(
        insert(Result).values(draw_id=draw.id, version=version, number=number, confirmed_by=actor_id, **entered)
    )
    steps = [
        {"draw_id": draw.id, "version": version, "name": name, "ordinal": ordinal}
        for ordinal, name in enumerate(STEPS, 1)
    ]
    session.execute(insert(SettlementStep), steps)
    result = {"result": number, "result_version": version, "resulted_at": func.now()}
    if not advance(session, draw.id, ["sealed"], "resulted", **result):
        raise WrongState
    return version


def _step_body(step: SettlementStep) -> dict[str, Any]:
    return {
        "name": step.name,
        "status": step.status,
        "started_at": step.started_at and step.started_at.isoformat(),
        "finished_at": step.finished_at and step.finished_at.isoformat(),
    }
