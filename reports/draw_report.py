"""The report of a settled draw: made from the booked sums, checked against the tickets themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date as Date
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from models.draws import Draw, Position
from models.ledger import draw_commissions
from models.settlement import Result, Seal, Winner, standing_of
from models.tickets import AgentSum, exposure_of
from rules.errors import Contradiction
from rules.games import match_key

EXPOSURE_TOP = 20  # numbers with the highest live stake that the report names

_COUNTS = ("tickets", "stake", "voids", "voided_stake")


class OutOfBalance(Contradiction):
    """The booked sums are not those of the tickets."""


def build(session: Session, draw: Draw) -> dict[str, Any]:
    """The report's JSON; money in centavos. Raises OutOfBalance."""
    sums = session.scalars(select(AgentSum).where(AgentSum.draw_id == draw.id).order_by(AgentSum.agent_id)).all()
    agents = {row.agent_id: {name: getattr(row, name) for name in _COUNTS} for row in sums}
    totals = {name: sum(agent[name] for agent in agents.values()) for name in _COUNTS}
    exposure = {bet: stake for bet, stake in exposure_of(session, draw.id).items() if stake}
    _check(session, draw, agents, totals, exposure)
    winners = session.scalars(
        select(Winner).where(Winner.draw_id == draw.id, Winner.version == draw.result_version)
    ).all()
    live = totals["stake"] - totals["voided_stake"]
    commissions = draw_commissions(session, draw.id)
    standing = standing_of(session, draw.id, draw.result_version)
    prizes = sum(winner.prize for winner in winners)
    return {
        "draw_id": draw.name,
        "game": draw.game,
        "date": draw.date.isoformat(),
        "time": f"{draw.time:%H:%M}",
        "result": draw.result,
        "version": draw.result_version,
        "sales": {"tickets": totals["tickets"], "stake": totals["stake"]},
        "voids": {"tickets": totals["voids"], "stake": totals["voided_stake"]},
        "live_stake": live,
        "winners": {
            "tickets": len({winner.serial for winner in winners}),
            "lines": len(winners),
            "prizes": prizes,
            # When this version was settled: what earlier versions paid is set against these prizes.
            "due": standing.due,
            "paid_in_error": standing.in_error,
        },
        "correction": _correction(session, draw),
        "commissions": {
            "agents": sum(amount for user, amount in commissions.items() if user in agents),
            "coordinators": sum(amount for user, amount in commissions.items() if user not in agents),
        },
        # Whole basis points, rounded down; null where nothing was staked.
        "payout_ratio_bp": prizes * 10_000 // live if live else None,
        "plays": _plays(draw, exposure, winners),
        "numbers": _numbers(winners),
        "agents": _agents(agents, winners, commissions),
        "exposure_top": _top(exposure),
        "seal": _seal(session, draw),
    }


def _plays(draw: Draw, exposure: Mapping[tuple[str, str], int], winners: Sequence[Winner]) -> list[dict[str, Any]]:
    plays = sorted({play for play, _ in exposure}, reverse=True)
    return [
        {
            "play": play,
            "live_stake": sum(stake for (other, _), stake in exposure.items() if other == play),
            "prizes": sum(winner.prize for winner in winners if winner.play == play),
        }
        for play in plays
    ]


def _numbers(winners: Sequence[Winner]) -> list[dict[str, Any]]:
    """What won, by play and number as it was bet."""
    found: dict[tuple[str, str], list[int]] = {}
    for winner in winners:
        sums = found.setdefault((winner.play, winner.number), [0, 0, 0])
        sums[:] = [sums[0] + 1, sums[1] + winner.stake, sums[2] + winner.prize]
    return [
        {"play": play, "number": number, "lines": lines, "stake": stake, "prizes": prizes}
        for (play, number), (lines, stake, prizes) in sorted(found.items())
    ]


def _correction(session: Session, draw: Draw) -> dict[str, Any] | None:
    """Of a corrected result: what stood before it, and both persons' reasons."""
    if draw.result_version == 1:
        return None
    result = session.get_one(Result, (draw.id, draw.result_version))
    wrong = session.get_one(Result, (draw.id, draw.result_version - 1)).number
    return {"instead_of": wrong, "reason": result.reason, "confirm_reason": result.confirm_reason}


def _agents(
    agents: Mapping[int, Mapping[str, int]], winners: Sequence[Winner], commissions: Mapping[int, int]
) -> list[dict[str, Any]]:
    prizes: dict[int, int] = {}
    for winner in winners:
        prizes[winner.agent_id] = prizes.get(winner.agent_id, 0) + winner.prize
    return [
        {"agent_id": agent, **sums, "prizes": prizes.get(agent, 0), "commission": commissions.get(agent, 0)}
        for agent, sums in agents.items()
    ]


def _top(exposure: Mapping[tuple[str, str], int]) -> list[dict[str, Any]]:
    ranked = sorted(exposure.items(), key=lambda item: (-item[1], item[0]))[:EXPOSURE_TOP]
    return [{"play": play, "number": key, "stake": stake} for (play, key), stake in ranked]


def _seal(session: Session, draw: Draw) -> dict[str, Any]:
    seal = session.get_one(Seal, draw.id)
    return {
        "merkle_root": seal.merkle_root.hex(),
        "tree_size": seal.tree_size,
        "sealed_at": seal.sealed_at.isoformat(),
        "late": seal.late,
        "restored": seal.restored,
        "gaps": seal.gaps,
        "annulled": seal.annulled,
    }


# ── the check ─────────────────────────────────────────────────────────────────────────────────────────────


def _check(
    session: Session,
    draw: Draw,
    agents: Mapping[int, Mapping[str, int]],
    totals: Mapping[str, int],
    exposure: Mapping[tuple[str, str], int],
) -> None:
    position = session.get_one(Position, draw.id)
    if totals != {name: getattr(position, name) for name in _COUNTS}:
        raise OutOfBalance("the agents' sums are not the draw's")
    from_tickets = _agents_from_tickets(session, draw.id, draw.date)
    if from_tickets != agents:
        wrong = sorted(a for a in from_tickets.keys() | agents.keys() if from_tickets.get(a) != agents.get(a))
        raise OutOfBalance(f"the sums of agents {wrong[:10]} are not those of their tickets")
    from_lines = _exposure_from_lines(session, draw)
    if from_lines != exposure:
        wrong_bets = sorted(b for b in from_lines.keys() | exposure.keys() if from_lines.get(b) != exposure.get(b))
        raise OutOfBalance(f"the stakes on {wrong_bets[:10]} are not those of the lines")


def _agents_from_tickets(session: Session, draw_id: int, day: Date) -> dict[int, dict[str, int]]:
    rows = session.execute(
        text(
            """
            SELECT t.agent_id, count(*), CAST(sum(t.stake) AS bigint), count(v.stake),
                   CAST(coalesce(sum(t.stake) FILTER (WHERE v.stake IS NOT NULL), 0) AS bigint)
            FROM tickets t
            LEFT JOIN voids v ON v.draw_id = t.draw_id AND v.ticket_serial = t.serial AND v.stake > 0
            WHERE t.draw_date = :day AND t.draw_id = :draw GROUP BY t.agent_id
            """
        ),
        {"day": day, "draw": draw_id},
    )
    return {agent: dict(zip(_COUNTS, counts, strict=True)) for agent, *counts in rows}


def _exposure_from_lines(session: Session, draw: Draw) -> dict[tuple[str, str], int]:
    rows = session.execute(
        text(
            """
            SELECT l.play, l.number, CAST(sum(l.stake) AS bigint) FROM ticket_lines l
            WHERE l.draw_date = :day AND l.draw_id = :draw AND NOT EXISTS (
                SELECT 1 FROM voids v
                WHERE v.draw_id = l.draw_id AND v.ticket_serial = l.serial AND v.stake > 0)
            GROUP BY l.play, l.number
            """
        ),
        {"day": draw.date, "draw": draw.id},
    )
    found: dict[tuple[str, str], int] = {}
    for play, number, stake in rows:
        bet = play, match_key(draw.game, play, number)
        found[bet] = found.get(bet, 0) + stake
    return found
