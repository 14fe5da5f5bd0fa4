"""Draws as administrators make, move and close them, and as everyone reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date as Date
from datetime import datetime
from datetime import time as Time
from typing import Any

from sqlalchemy import case, null, select, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from actions import closing
from actions.audit import record
from actions.opening import open_in_database, open_in_gate
from actions.pages import not_a_cursor
from actions.resources import Resources
from models.draws import CancelledDate, Draw, Game, Intent, draw_by_name, lock_draw
from rules.draws import default_times, draw_name
from rules.errors import CutoffPassed, DrawExists, IntakeUnavailable, Invalid, NoSuchDraw
from rules.limit_items import number_items, play_items
from rules.limits import Limits, NumberLeft, sold_out


def create(
    res: Resources,
    actor_id: int | None,
    *,
    game: str,
    date: Date,
    time: Time,
    opens_at: datetime | None = None,
    cutoff_at: datetime | None = None,
    draws_at: datetime | None = None,
    limits: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Makes a draw, and opens it if its time has come. Raises DrawExists, Invalid."""
    name = draw_name(game, date, time)
    defaults = default_times(date, time)
    times = [asked or default for asked, default in zip((opens_at, cutoff_at, draws_at), defaults, strict=True)]
    if not times[0] < times[1] <= times[2]:
        raise Invalid(errors=[{"path": "cutoff_at", "message": "opens_at < cutoff_at <= draws_at must hold"}])
    if limits is not None:
        Limits.from_dict(limits, game)
    values = {"name": name, "game": game, "date": date, "time": time, "asked_limits": limits or null()}
    values |= dict(zip(("opens_at", "cutoff_at", "draws_at"), times, strict=True))
    with res.sessions.begin() as session:
        draw_id = session.scalar(insert(Draw).values(values).on_conflict_do_nothing().returning(Draw.id))
        if draw_id is not None:
            shown = dict(zip(("opens_at", "cutoff_at", "draws_at"), map(datetime.isoformat, times), strict=True))
            record(session, "draw.create", f"draw:{name}", after={**shown, "limits": dict(limits or {})})
    if draw_id is None:
        raise DrawExists
    if open_in_database(res, draw_id):
        try:
            open_in_gate(res, draw_id)
        except IntakeUnavailable:
            res.doorbell.ring("draws.open")
    return one(res, name)


def cancel_date(res: Resources, game: str, date: Date, reason: str) -> None:
    """Keeps the schedule from making draws of the game on that date. Draws made already are voided instead."""
    with res.sessions.begin() as session:
        session.get_one(Game, game, with_for_update=True)  # the schedule reads it under a lock, too
        session.merge(CancelledDate(game=game, date=date, reason=reason))
        record(session, "game.change", f"game:{game}", after={"cancelled": {date.isoformat(): reason}})


def close(res: Resources, actor_id: int, name: str) -> dict[str, Any]:
    """Closes an open draw for good, before its cutoff. Raises NoSuchDraw, WrongState, IntakeUnavailable."""
    closing.ask_to_close(res, actor_id, name)
    closing.complete_intents(res, name)
    return one(res, name)


def move_cutoff(
    res: Resources, actor_id: int, name: str, cutoff_at: datetime, draws_at: datetime, reason: str
) -> dict[str, Any]:
    """Moves a cutoff that has not come. Raises NoSuchDraw, CutoffPassed, WrongState, Invalid, IntakeUnavailable."""
    _complete(res, name, closing.ask_to_move_cutoff(res, actor_id, name, cutoff_at, draws_at, reason))
    return one(res, name)


def set_limits(res: Resources, actor_id: int, name: str, limits: Mapping[str, Any]) -> dict[str, Any]:
    """Changes the limits of a draw that is not closed; `limits` as rules.limits has them, what they leave out stays.

    But for "by_number", which is what is given: a number that it leaves out has no limit of its own any more. A draw
    that is not open yet keeps those of its game that are not overruled. Raises NoSuchDraw, CutoffPassed, WrongState,
    Invalid, IntakeUnavailable: it may or may not have been taken; the same call tells.
    """
    _complete(res, name, closing.ask_to_set_limits(res, actor_id, name, limits))
    return one(res, name)


def _complete(res: Resources, name: str, intent_id: str | None) -> None:
    """Has the gate answer an intent now; None: there is nothing to ask. Raises CutoffPassed, IntakeUnavailable."""
    if intent_id is None:
        return
    closing.complete_intents(res, name)
    with res.sessions() as session:
        status = session.scalar(select(Intent.status).where(Intent.id == intent_id))
    if status == "refused":
        raise CutoffPassed
    if status != "posted":
        raise IntakeUnavailable(retry_after=1)


def resume(res: Resources, name: str) -> str | None:
    """Lets a draw go on that a difference had stopped; gives the difference. Raises NoSuchDraw.

    The gate's own flag goes with the generation: the next reconcile makes the draw anew from the mended database. That
    is done also where nothing is stopped any more: an earlier call may have died before it.
    """
    with res.sessions.begin() as session:
        draw = lock_draw(session, name)
        reason, draw.stopped = draw.stopped, None
        if reason is not None:
            record(session, "draw.resume", f"draw:{name}", {"stopped": reason}, {"stopped": None})
    res.rebuild.fence()
    return reason


def one(res: Resources, name: str) -> dict[str, Any]:
    """One draw as the API shows it, without `now`. Raises NoSuchDraw."""
    with res.sessions() as session:
        draw = draw_by_name(session, name)
        if draw is None:
            raise NoSuchDraw
        return _bodies(res, session, [draw])[0]


def page(
    res: Resources, status: str | None, date: Date | None, game: str | None, limit: int, cursor: str | None
) -> dict[str, Any]:
    """{"items", "next"}: open draws first, then the newest. Raises Invalid (cursor)."""
    past = Draw.cutoff_at <= res.clock.now()
    shown = case((past & (Draw.status == "open"), "closed"), else_=Draw.status)
    rank = case((shown == "open", 1), else_=0)
    place = tuple_(rank, Draw.cutoff_at, Draw.id)
    query = select(Draw, rank).order_by(rank.desc(), Draw.cutoff_at.desc(), Draw.id.desc()).limit(limit + 1)
    for column, wanted in ((shown, status), (Draw.date, date), (Draw.game, game)):
        if wanted is not None:
            query = query.where(column == wanted)
    if cursor is not None:
        query = query.where(place < tuple_(*_parsed(cursor)))
    with res.sessions() as session:
        rows = session.execute(query).all()
        items = _bodies(res, session, [draw for draw, _ in rows[:limit]])
    more = len(rows) > limit
    last, last_rank = rows[limit - 1] if more else (None, 0)
    return {
        "items": items,
        "next": f"{last_rank}_{last.cutoff_at.timestamp():.6f}_{last.id}" if last else None,
    }


def _parsed(cursor: str) -> tuple[int, datetime, int]:
    try:
        rank, at, draw_id = cursor.split("_")
        place = (int(rank), int(draw_id))
        if not (0 <= place[0] <= 1 and 0 <= place[1] < 2**31):
            raise ValueError("no such place")
        return place[0], datetime.fromtimestamp(float(at)).astimezone(), place[1]
    except (ValueError, OverflowError, OSError) as error:
        raise not_a_cursor() from error


def _bodies(res: Resources, session: Session, draws: Sequence[Draw]) -> list[dict[str, Any]]:
    games = {game.game: game for game in session.scalars(select(Game))}
    return [_body(res, draw, games[draw.game]) for draw in draws]


def _sold_out(res: Resources, draw: Draw, prizes: Mapping[str, int], limits: Limits) -> list[NumberLeft]:
    """Of a draw that sells. Every terminal asks for it every few seconds, and it may take milliseconds: it is
    shared for a moment."""

    def look() -> list[NumberLeft]:
        try:
            (exposure,) = res.gate.exposures([draw.name])
        except IntakeUnavailable:
            exposure = {}  # without the gate nothing can be sold, and so nothing needs to be told sold out
        return sold_out(draw.game, prizes, limits, exposure)

    return res.fresh.get(("sold_out", draw.name, draw.limits_version), look)


def _body(res: Resources, draw: Draw, game: Game) -> dict[str, Any]:
    if draw.limits is not None:
        limits = Limits.from_dict(draw.limits)
    else:
        limits = Limits.frozen(game.limits, game.limits_by_number, draw.asked_limits)
    prizes = draw.prize_table or game.prize_table
    status = draw.status
    if status == "open" and draw.cutoff_at <= res.clock.now():
        status = "closed"
    body = {
        "id": draw.name,
        "game": draw.game,
        "date": draw.date.isoformat(),
        "time": f"{draw.time:%H:%M}",
        "opens_at": draw.opens_at.isoformat(),
        "cutoff_at": draw.cutoff_at.isoformat(),
        "draws_at": draw.draws_at.isoformat(),
        "status": status,
        "prize_table": prizes,
        "limits": [*play_items(limits), *number_items(limits.by_number)],
        "payout_limit": limits.payout,
        "sold_out": _sold_out(res, draw, prizes, limits)
        if draw.status == "open"
        else sold_out(draw.game, prizes, limits, {}),
    }
    if draw.result is not None:
        body["result"] = draw.result
    return body
