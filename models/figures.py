"""What is being sold, by agent and by branch, as far as it is stored: the sums that are kept while tickets are.

Their cost follows agents and draws, never tickets.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import date as Date
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from models.draws import Draw, Position
from models.tickets import AgentSum
from rules.draws import LIVE


class Sold(NamedTuple):
    """Tickets with those voided, and their stakes in centavos."""

    tickets: int = 0
    stake: int = 0
    voids: int = 0
    voided_stake: int = 0

    def plus(self, other: Sold) -> Sold:
        return Sold(*map(sum, zip(self, other, strict=True)))

    def body(self) -> dict[str, int]:
        """As answers show it; `net` is what counts."""
        return {**self._asdict(), "net": self.stake - self.voided_stake}


class Stored(NamedTuple):
    """A draw as far as it is stored: its place in the journal, when that last moved, and all its sales."""

    draw_id: int
    name: str
    game: str
    status: str
    serial: int
    sub: int
    moved_at: datetime
    sold: Sold


def stored_draws(
    session: Session,
    *,
    names: Collection[str] | None = None,
    date: Date | None = None,
    game: str | None = None,
    live: bool = False,
) -> list[Stored]:
    """Draws that have opened, in the order of their times: of these names, that date, that game; `live`: not sealed."""
    query = select(Draw, Position).join(Position, Position.draw_id == Draw.id).order_by(Draw.date, Draw.time, Draw.game)
    if names is not None:
        query = query.where(Draw.name.in_(names))
    if date is not None:
        query = query.where(Draw.date == date)
    if game is not None:
        query = query.where(Draw.game == game)
    if live:
        query = query.where(Draw.status.in_(LIVE))
    return [
        Stored(
            draw.id,
            draw.name,
            draw.game,
            draw.status,
            at.serial,
            at.sub,
            at.moved_at,
            Sold(at.tickets, at.stake, at.voids, at.voided_stake),
        )
        for draw, at in session.execute(query)
    ]


def sold_by_agent(session: Session, draw_ids: Collection[int]) -> Sequence[tuple[int, int, Sold]]:
    """(draw's id, agent, what he sold of it) of these draws."""
    query = select(
        AgentSum.draw_id, AgentSum.agent_id, AgentSum.tickets, AgentSum.stake, AgentSum.voids, AgentSum.voided_stake
    ).where(AgentSum.draw_id.in_(draw_ids))
    return [(draw, agent, Sold(*counts)) for draw, agent, *counts in session.execute(query)]


# Of everybody, or of one user and everyone below him.
_BELOW = """(CAST(:top AS bigint) IS NULL OR u.id = :top OR u.ancestors @> ARRAY[CAST(:top AS bigint)])"""

_SUMS = """CAST(sum(s.tickets) AS bigint), CAST(sum(s.stake) AS bigint), CAST(sum(s.voids) AS bigint),
           CAST(sum(s.voided_stake) AS bigint)"""


def sold_below(session: Session, draw_ids: Collection[int], top_id: int | None) -> dict[int, Sold]:
    """What was sold of each of these draws by the user and everyone below him; None: by all."""
    query = f"""
        SELECT s.draw_id, {_SUMS} FROM agent_sums s JOIN users u ON u.id = s.agent_id
        WHERE s.draw_id = ANY(:draws) AND {_BELOW}
        GROUP BY s.draw_id
        """
    rows = session.execute(text(query), {"draws": list(draw_ids), "top": top_id})
    return {draw: Sold(*counts) for draw, *counts in rows}


class Branch(NamedTuple):
    """Somebody right below, with what he and everyone below him sold."""

    user_id: int
    username: str
    role: str
    sold: Sold


def branches(session: Session, draw_ids: Collection[int], top_id: int | None) -> list[Branch]:
    """The branches right below the user that sold anything of these draws, the largest first; of an agent: himself.

    None: those right below the superadmins.
    """
    child = """
        SELECT p.id FROM unnest(u.ancestors || u.id) WITH ORDINALITY AS p(id, place)
        JOIN users c ON c.id = p.id
        WHERE CASE WHEN CAST(:top AS bigint) IS NULL THEN c.role <> 'superadmin'
              ELSE p.place > coalesce(array_position(u.ancestors, CAST(:top AS bigint)), cardinality(u.ancestors)) END
        ORDER BY p.place LIMIT 1"""
    query = f"""
        SELECT b.id, b.username, b.role, {_SUMS}
        FROM agent_sums s JOIN users u ON u.id = s.agent_id
        JOIN users b ON b.id = ({child})
        WHERE s.draw_id = ANY(:draws) AND {_BELOW}
        GROUP BY b.id ORDER BY sum(s.stake) DESC, b.id
        """
    rows = session.execute(text(query), {"draws": list(draw_ids), "top": top_id})
    return [Branch(user, name, role, Sold(*counts)) for user, name, role, *counts in rows]
