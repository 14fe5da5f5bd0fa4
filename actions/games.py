"""Each game's settings for draws to come: prices, limits, times. A new game of the rules gets its row at setup."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date as Date
from datetime import time as Time
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, sessionmaker

from actions.approvals import keep_request, request_that_waits
from actions.audit import record
from actions.resources import Resources
from models.draws import CancelledDate, Draw, Game
from models.people import User
from rules.draws import SCHEDULE_TIMES
from rules.errors import ContentsDiffer, Forbidden, Invalid, NotFound
from rules.games import DEFAULT_PRIZES, GAMES
from rules.limit_items import limits_from_items, number_items, play_items, prize_table_errors
from rules.limits import Limits
from rules.rights import Role

GAME = "game"

OK, ACCEPTED = 200, 202


def ensure_games(sessions: sessionmaker[Session]) -> None:
    """Adds the settings of games that the database does not know yet; what is there stays as it is."""
    times = [f"{time:%H:%M}" for time in SCHEDULE_TIMES]
    rows = [
        {"game": game, "prize_table": DEFAULT_PRIZES[game], "limits": Limits().to_dict(), "times": times}
        for game in GAMES
    ]
    with sessions.begin() as session:
        session.execute(insert(Game).values(rows).on_conflict_do_nothing())


def one(res: Resources, code: str) -> dict[str, Any]:
    """A game's settings as the API shows them. Raises NotFound."""
    with res.sessions() as session:
        game = session.get(Game, code) if code in GAMES else None
        if game is None:
            raise NotFound
        return _body(game, _cancelled(session, code))


def change(res: Resources, actor_id: int, code: str, wanted: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
    """A superadmin asks, another administrator asks for the same: then it holds for draws that are not open yet.

    (202, …) for the first one's call, (200, the game) for the second's, and for what holds already. `wanted` may hold
    prize_table, limits, payout_limit, limits_by_number, schedule (times) and cancelled_dates ([{date, reason}]): what
    it leaves out stays. Draws of the schedule that are made but not open on a date newly cancelled become void.
    Raises NotFound, Invalid, Forbidden (no superadmin asks first), ContentsDiffer: then both requests are dropped.
    """
    if code not in GAMES:
        raise NotFound
    content = _content(code, wanted)
    with res.sessions.begin() as session:
        game = session.get(Game, code, with_for_update=True, populate_existing=True)
        if game is None:
            raise NotFound
        cancelled = _cancelled(session, code)
        waiting = request_that_waits(session, code, GAME)
        agreed = waiting is not None and waiting.asked_by != actor_id and waiting.content == content
        if waiting is None and _holds(game, cancelled, content):
            return OK, _body(game, cancelled)
        if waiting is None or waiting.asked_by == actor_id:
            if session.get_one(User, actor_id).role != Role.SUPERADMIN:
                raise Forbidden("A superadmin asks for this first, then another administrator.")
            keep_request(session, code, GAME, actor_id, content)
            record(session, "game.change", f"game:{code}", after={"asked": content})
            return ACCEPTED, {"status": "awaiting_confirmation", "game": code}
        session.delete(waiting)
        if agreed:
            before = _body(game, cancelled)
            voided = _apply(session, game, cancelled, content)
            body = _body(game, _cancelled(session, code))
            record(session, "game.change", f"game:{code}", before, {**body, "voided": voided})
        else:
            record(session, "game.change", f"game:{code}", outcome=ContentsDiffer.code)
    if not agreed:
        raise ContentsDiffer
    for name in voided:
        res.doorbell.ring("draws.void", name)
    return OK, body


def _content(code: str, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """What is wanted as JSON of one form, so that two persons' calls can be compared. Raises Invalid."""
    found: dict[str, Any] = {}
    if (prizes := wanted.get("prize_table")) is not None:
        if errors := prize_table_errors(code, prizes):
            raise Invalid(errors=errors)
        found["prize_table"] = dict(prizes)
    limits = limits_from_items(code, wanted.get("limits") or [], wanted.get("payout_limit"))
    by_number = limits.pop("by_number", None)
    if (items := wanted.get("limits_by_number")) is not None:
        if by_number:
            raise Invalid(errors=[{"path": "limits", "message": "numbers stand in limits_by_number"}])
        if any(item.get("number") is None for item in items):
            raise Invalid(errors=[{"path": "limits_by_number", "message": "each with its number"}])
        by_number = limits_from_items(code, items, path="limits_by_number").get("by_number", {})
    if limits:
        found["limits"] = limits
    if by_number is not None:
        found["limits_by_number"] = by_number
    if (times := wanted.get("schedule")) is not None:
        found["times"] = sorted({f"{time:%H:%M}" for time in times})
    if (dates := wanted.get("cancelled_dates")) is not None:
        found["cancelled"] = {item["date"].isoformat(): item["reason"] for item in dates}
        if len(found["cancelled"]) < len(dates):
            raise Invalid(errors=[{"path": "cancelled_dates", "message": "each date once"}])
    if not found:
        raise Invalid(errors=[{"path": "", "message": "nothing is asked for"}])
    return found


def _settings(game: Game, content: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of the game once the content holds."""
    return {
        "prize_table": content.get("prize_table", game.prize_table),
        "limits": {**game.limits, **content.get("limits", {})},
        "limits_by_number": content.get("limits_by_number", game.limits_by_number),
        "times": content.get("times", game.times),
    }


def _holds(game: Game, cancelled: Mapping[str, str], content: Mapping[str, Any]) -> bool:
    same = all(getattr(game, name) == value for name, value in _settings(game, content).items())
    return same and content.get("cancelled", cancelled) == cancelled


def _apply(session: Session, game: Game, cancelled: Mapping[str, str], content: Mapping[str, Any]) -> list[str]:
    """Writes the settings; gives the names of the draws that become void with a cancelled date."""
    wanted: Mapping[str, str] = content.get("cancelled", cancelled)
    of_game = CancelledDate.game == game.game
    session.execute(delete(CancelledDate).where(of_game, CancelledDate.date.not_in(map(Date.fromisoformat, wanted))))
    for date, reason in wanted.items():
        session.merge(CancelledDate(game=game.game, date=Date.fromisoformat(date), reason=reason))
    voided = _void(session, game, [Date.fromisoformat(date) for date in wanted if date not in cancelled])
    for name, value in _settings(game, content).items():
        setattr(game, name, value)
    game.changed_at = func.now()
    session.flush()
    session.refresh(game)
    return voided


def _void(session: Session, game: Game, dates: list[Date]) -> list[str]:
    """The schedule's draws on these dates that have not opened: nobody staked anything on them."""
    times = [Time.fromisoformat(time) for time in game.times]
    query = select(Draw.id).where(Draw.game == game.game, Draw.date.in_(dates), Draw.time.in_(times))
    locked = session.scalars(query.where(Draw.status == "scheduled").order_by(Draw.id).with_for_update()).all()
    begun = update(Draw).where(Draw.id.in_(locked), Draw.status == "scheduled")
    names = session.scalars(begun.values(status="voiding", voiding_at=func.now()).returning(Draw.name))
    return sorted(names)


def _cancelled(session: Session, code: str) -> dict[str, str]:
    rows = session.scalars(select(CancelledDate).where(CancelledDate.game == code).order_by(CancelledDate.date))
    return {row.date.isoformat(): row.reason for row in rows}


def _body(game: Game, cancelled: Mapping[str, str]) -> dict[str, Any]:
    limits = Limits.frozen(game.limits)
    return {
        "game": game.game,
        "prize_table": game.prize_table,
        "limits": play_items(limits),
        "payout_limit": limits.payout,
        "limits_by_number": number_items(game.limits_by_number),
        "schedule": game.times,
        "cancelled_dates": [{"date": date, "reason": reason} for date, reason in cancelled.items()],
        "changed_at": game.changed_at.isoformat(),
    }
