"""The report of a settled draw, made from the sums that were checked against its tickets when it was sealed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from models.draws import Draw
from models.ledger import draw_commissions
from models.settlement import Result, Seal, Winner, standing_of
from models.sums import Sums

EXPOSURE_TOP = 20  # numbers with the highest live stake that the report names


def build(session: Session, draw: Draw, sums: Sums) -> dict[str, Any]:
    """The report's JSON; money in centavos. `sums`: those that were sealed."""
    agents, exposure = sums
    totals = sums.totals()
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
