"""What a draw's tickets add up to, by agent and by bet: as it was counted while they were stored, and made anew."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from models.draws import Draw
from models.tickets import AgentSum, exposure_of
from rules.games import match_key

COUNTS = ("tickets", "stake", "voids", "voided_stake")


class Sums(NamedTuple):
    """`agents`: COUNTS by agent; `bets`: live stake by (play, key), without those on which nothing stands."""

    agents: dict[int, dict[str, int]]
    bets: dict[tuple[str, str], int]

    def totals(self) -> dict[str, int]:
        """COUNTS of the draw."""
        return {name: sum(agent[name] for agent in self.agents.values()) for name in COUNTS}

    def live(self) -> dict[int, int]:
        """The agents' stakes without those of voided tickets."""
        return {agent: counts["stake"] - counts["voided_stake"] for agent, counts in self.agents.items()}

    def digest(self) -> bytes:
        """SHA-256 over all of them: what a seal keeps."""
        lines = [f"{agent}|" + "|".join(str(counts[name]) for name in COUNTS) for agent, counts in self.agents.items()]
        lines += [f"{play}|{key}|{stake}" for (play, key), stake in self.bets.items()]
        return hashlib.sha256("\n".join(sorted(lines)).encode()).digest()


def kept_sums(session: Session, draw_id: int) -> Sums:
    """As they were counted, as far as the position; the cost does not grow with the tickets."""
    rows = session.scalars(select(AgentSum).where(AgentSum.draw_id == draw_id).order_by(AgentSum.agent_id)).all()
    agents = {row.agent_id: {name: getattr(row, name) for name in COUNTS} for row in rows}
    return Sums(agents, {bet: stake for bet, stake in exposure_of(session, draw_id).items() if stake})


def sums_of_tickets(session: Session, draw: Draw, *, bets: bool = True) -> Sums:
    """Made anew: reads every ticket of the draw, and every line; not these without `bets`."""
    agents = session.execute(
        text(
            """
            SELECT t.agent_id, count(*), CAST(sum(t.stake) AS bigint), count(v.stake),
                   CAST(coalesce(sum(t.stake) FILTER (WHERE v.stake IS NOT NULL), 0) AS bigint)
            FROM tickets t
            LEFT JOIN voids v ON v.draw_id = t.draw_id AND v.ticket_serial = t.serial AND v.stake > 0
            WHERE t.draw_date = :day AND t.draw_id = :draw GROUP BY t.agent_id
            """
        ),
        {"day": draw.date, "draw": draw.id},
    ).all()
    by_agent = {agent: dict(zip(COUNTS, counts, strict=True)) for agent, *counts in agents}
    return Sums(by_agent, _bets_of_lines(session, draw) if bets else {})


def _bets_of_lines(session: Session, draw: Draw) -> dict[tuple[str, str], int]:
    lines = session.execute(
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
    for play, number, stake in lines:
        bet = play, match_key(draw.game, play, number)
        found[bet] = found.get(bet, 0) + stake
    return found
