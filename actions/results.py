"""A draw's result, entered by one person and entered alike by another; and how far its settlement is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date as Date
from datetime import time as Time
from typing import Any

from sqlalchemy import func, insert
from sqlalchemy.orm import Session

from actions.approvals import keep_request, waiting_request
from actions.audit import record
from actions.resources import Resources
from models.draws import Draw, PendingApproval, advance, draw_by_name, lock_draw
from models.settlement import Result, SettlementStep, steps_of, totals_of_winners
from rules.draws import UNSEALED
from rules.errors import Invalid, NoSuchDraw, NotSealed, NumbersDiffer, OtherDraw, TooEarly, WrongState
from rules.games import GAMES, is_outcome

RESULT = "result"

# What settling a version of the result consists of, in order; tasks/settle.py does it.
STEPS = ("winners", "prizes", "commissions", "report")


def enter(res: Resources, actor_id: int, name: str, number: str, date: Date, time: Time) -> dict[str, Any]:
    """The first person's entry; shown to nobody until it is confirmed, and replaced only by himself.

    Raises NoSuchDraw, NotSealed, WrongState, OtherDraw, TooEarly, Invalid (number).
    """
    with res.sessions.begin() as session:
        draw = lock_draw(session, name)
        _check(res, draw, number, date, time)
        keep_request(session, draw.name, RESULT, actor_id, {"number": number})
        # Without the number: whoever enters it second should know it from the draw, not from the audit log.
        record(session, "result.enter", f"draw:{name}")
    return {"status": "awaiting_confirmation", "draw_id": name}


def confirm(res: Resources, actor_id: int, name: str, number: str, date: Date, time: Time) -> dict[str, Any]:
    """The second person's entry: if it is the same, the result stands and settlement starts.

    The same call again gets the same answer. Raises what `enter` does, SamePerson, and NumbersDiffer: then
    both entries are dropped.
    """
    with res.sessions.begin() as session:
        draw = lock_draw(session, name)
        version = confirmed_version(session, draw, 1, actor_id, number, date, time)
        if version is None:
            _check(res, draw, number, date, time)
            entry = waiting_request(session, draw.name, RESULT, actor_id)
            version = settle_on(session, draw, entry, actor_id, number, ["sealed"], "resulted")
    if version is None:
        raise NumbersDiffer
    res.doorbell.ring("draws.settle", name)
    res.doorbell.ring("events.send")
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
                NotSealed if draw.status in UNSEALED else WrongState(f"The draw is {draw.status}, without a result.")
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
    with res.sessions.begin() as session:
        record(session, "settlement.resume", f"draw:{name}")
    res.doorbell.ring("draws.settle", name)
    return body


def _check(res: Resources, draw: Draw, number: str, date: Date, time: Time) -> None:
    """Whether this draw can get this result now."""
    check_draw(draw, ("sealed",), date, time)
    if res.clock.now() < draw.draws_at:
        raise TooEarly
    check_number(draw, number)


def check_draw(draw: Draw, expected: Sequence[str], date: Date, time: Time) -> None:
    """Raises NotSealed, WrongState unless the draw is in one of the states, OtherDraw unless it is the one meant."""
    if draw.status in UNSEALED:
        raise NotSealed
    if draw.status not in expected:
        raise WrongState(f"The draw is {draw.status}.")
    if (date, time) != (draw.date, draw.time):
        raise OtherDraw


def check_number(draw: Draw, number: str) -> None:
    """Raises Invalid unless the draw's game can draw the number."""
    if not is_outcome(draw.game, number):
        raise Invalid(errors=[{"path": "number", "message": f"a number in {draw.game} is {GAMES[draw.game].shape}"}])


def confirmed_version(
    session: Session, draw: Draw, version: int, actor_id: int, number: str, date: Date, time: Time
) -> int | None:
    """`version`, if it is the current one and this very call made it before: its answer was lost on the way."""
    result = session.get(Result, (draw.id, version)) if draw.result_version == version else None
    if result is None or (draw.date, draw.time) != (date, time):
        return None
    return result.version if (result.confirmed_by, result.number) == (actor_id, number) else None


def settle_on(
    session: Session,
    draw: Draw,
    entry: PendingApproval,
    actor_id: int,
    number: str,
    was: Sequence[str],
    becomes: str,
    **values: Any,
) -> int | None:
    """Makes a number that two persons entered alike the draw's result, in its next version, with its steps.

    Gives the version; None: the entries differ, and both are dropped. `values`: more columns of the draw.
    """
    session.delete(entry)
    about, action = f"draw:{draw.name}", "correction" if entry.kind == "correction" else "result.enter"
    if entry.content["number"] != number:
        record(session, action, about, outcome=NumbersDiffer.code)
        return None
    version = draw.result_version + 1
    reasons = {"reason": entry.content.get("reason"), "confirm_reason": entry.content.get("confirm_reason")}
    made = {"entered_by": entry.asked_by, "entered_at": entry.asked_at, "confirmed_by": actor_id, **reasons}
    session.execute(insert(Result).values(draw_id=draw.id, version=version, number=number, **made))
    steps = [
        {"draw_id": draw.id, "version": version, "name": name, "ordinal": ordinal}
        for ordinal, name in enumerate(STEPS, 1)
    ]
    session.execute(insert(SettlementStep), steps)
    before = {"status": draw.status, "result": draw.result, "version": draw.result_version}
    result = {"result": number, "result_version": version, "resulted_at": func.now()}
    if not advance(session, draw.id, was, becomes, **result, **values):
        raise WrongState
    after = {"status": becomes, "result": number, "version": version}
    record(session, action, about, before, after | {k: v for k, v in reasons.items() if v is not None})
    return version


def _step_body(step: SettlementStep) -> dict[str, Any]:
    return {
        "name": step.name,
        "status": step.status,
        "started_at": step.started_at and step.started_at.isoformat(),
        "finished_at": step.finished_at and step.finished_at.isoformat(),
    }
