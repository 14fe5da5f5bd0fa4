"""Opening a draw: in PostgreSQL first, with its prices and limits frozen, then in the gate."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from actions.resources import Resources
from intake.bets import limits_by_field
from models.draws import Draw, DrawLimits, Game, Position, advance, close_was_asked, waiting_intents
from rules.limits import Limits


def open_in_database(res: Resources, draw_id: int) -> bool:
    """scheduled → open, with the month's partitions and the position row in the same transaction. False: not due."""
    with res.sessions.begin() as session:
        draw = session.get_one(Draw, draw_id, with_for_update=True)
        if draw.opens_at > res.clock.now() or draw.status != "scheduled":
            return False
        game = session.get_one(Game, draw.game)
        session.execute(select(func.ensure_partitions(draw.date)))
        session.execute(insert(Position).values(draw_id=draw_id))
        limits = Limits.frozen(game.limits, game.limits_by_number, draw.asked_limits).to_dict()
        session.execute(insert(DrawLimits).values(draw_id=draw_id, version=1, limits=limits))
        frozen = {"prize_table": game.prize_table, "limits": limits, "limits_version": 1}
        return advance(session, draw_id, ["scheduled"], "open", opened_at=func.now(), **frozen)


def open_in_gate(res: Resources, draw_id: int) -> bool:
    """Lets the gate sell an open draw that it does not hold yet; safe to repeat. False: nothing was to be done.

    Holds the position's lock, so that no rebuild runs meanwhile, and opens only what has never had a record. What
    somebody has meant to close opens latched, so that its close marker can be written.
    """
    with res.sessions.begin() as session:
        query = select(Position).where(Position.draw_id == draw_id).with_for_update(skip_locked=True)
        position = session.scalar(query)
        draw = session.get_one(Draw, draw_id)
        if position is None or draw.status != "open" or (position.serial, position.sub) != (0, 0):
            return False
        return res.gate.open(draw.name, gate_fields(session, draw), number_limits(draw))


def gate_fields(session: Session, draw: Draw) -> dict[str, Any]:
    """What the gate is told of an open draw (lua/head.lua), but for its counters."""
    assert draw.prize_table is not None  # a CHECK ties it to opened_at
    limits = _limits(draw)
    return {
        "id": draw.id,
        "opens_ms": to_ms(draw.opens_at),
        # An earlier cutoff that was asked for may have been answered already.
        "cutoff_ms": min([to_ms(draw.cutoff_at), *_asked_cutoffs(session, draw.id)]),
        "latch": "" if draw.status == "open" and not close_was_asked(session, draw.id) else "closed",
        "stopped": "1" if draw.stopped else "0",
        "limit_straight": limits.stake_straight,
        "limit_rambolito": limits.stake_rambolito,
        "limit_payout": limits.payout,
        **{f"pay_{name}": pay for name, pay in draw.prize_table.items()},
    }


def number_limits(draw: Draw) -> dict[str, int]:
    """The limits that numbers of an open draw have of their own, by exposure field."""
    return limits_by_field(_limits(draw).by_number)


def _limits(draw: Draw) -> Limits:
    assert draw.limits is not None  # a CHECK ties them to opened_at
    return Limits.from_dict(draw.limits)


def _asked_cutoffs(session: Session, draw_id: int) -> list[int]:
    intents = [intent for intent in waiting_intents(session, draw_id) if intent.kind == "cutoff"]
    return [to_ms(datetime.fromisoformat(intent.payload["cutoff_at"])) for intent in intents]


def to_ms(instant: datetime) -> int:
    """Milliseconds since 1970."""
    return round(instant.timestamp() * 1000)
