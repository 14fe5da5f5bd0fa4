"""What reports read of draws: sums by agent, by user and by bet, of everyone whom somebody sees and of nobody else."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Select,
    and_,
    any_,
    distinct,
    exists,
    func,
    literal,
    or_,
    select,
    text,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import InstrumentedAttribute, Session

from models.draws import Draw
from models.ledger import Account, Entry, Posting
from models.people import User, sees_everyone
from models.settlement import Winner
from models.sums import COUNTS
from models.tickets import AgentSum

# Of a row of users that a statement calls u; with the values of `seen_by`.
WITHIN = "(:everyone OR u.id = :top OR u.ancestors @> ARRAY[CAST(:top AS bigint)])"


class Person(NamedTuple):
    """A user as reports name him; `ancestors` from the root down to his parent."""

    username: str
    full_name: str | None
    role: str
    ancestors: list[int]


class Won(NamedTuple):
    """What an agent's tickets won; `prize` in centavos."""

    tickets: int
    lines: int
    prize: int


def seen_by(top: User) -> dict[str, Any]:
    """The values of WITHIN."""
    return {"everyone": sees_everyone(top), "top": top.id}


def within(top: User) -> ColumnElement[bool]:
    """Of a row of users: `top` sees him."""
    return true() if sees_everyone(top) else or_(User.id == top.id, User.ancestors.contains([top.id]))


def draws_between(session: Session, since: datetime, before: datetime) -> Sequence[Draw]:
    """Draws that have opened and are drawn in the period, in the order of being drawn."""
    query = select(Draw).where(Draw.draws_at >= since, Draw.draws_at < before, Draw.opened_at.is_not(None))
    return session.scalars(query.order_by(Draw.draws_at, Draw.id)).all()


def people_named(session: Session, user_ids: Collection[int]) -> dict[int, Person]:
    """These users by their ids."""
    query = select(User.id, User.username, User.full_name, User.role, User.ancestors)
    return {row[0]: Person(*row[1:]) for row in session.execute(query.where(User.id == _any(user_ids)))}


def sold_by(session: Session, draw_id: int, top: User) -> dict[int, dict[str, int]]:
    """COUNTS by agent, as they were counted while storing."""
    columns = [getattr(AgentSum, name) for name in COUNTS]
    query = select(AgentSum.agent_id, *columns).outerjoin(User, User.id == AgentSum.agent_id)
    rows = session.execute(query.where(AgentSum.draw_id == draw_id, within(top)).order_by(AgentSum.agent_id))
    return {row[0]: dict(zip(COUNTS, row[1:], strict=True)) for row in rows}


def others_sold(session: Session, draw_id: int, top: User) -> bool:
    """Whether anything of the draw's sums is of an agent whom `top` does not see."""
    seen = exists().where(User.id == AgentSum.agent_id, within(top))
    return bool(session.scalar(select(exists().where(AgentSum.draw_id == draw_id, ~seen))))


def won_by(session: Session, draw: Draw, top: User) -> dict[int, Won]:
    """What won under the draw's current version, by agent."""
    figures = func.count(distinct(Winner.serial)), func.count(), func.sum(Winner.prize, type_=BigInteger)
    query = _winners(draw, top, Winner.agent_id, *figures).group_by(Winner.agent_id)
    return {agent: Won(tickets, lines, int(prize)) for agent, tickets, lines, prize in session.execute(query)}


def won_on(session: Session, draw: Draw, top: User) -> dict[tuple[str, str], tuple[int, int, int]]:
    """(lines, stake, prizes) that won by (play, number as it was bet)."""
    by = Winner.play, Winner.number
    sums = func.sum(Winner.stake, type_=BigInteger), func.sum(Winner.prize, type_=BigInteger)
    query = _winners(draw, top, *by, func.count(), *sums).group_by(*by)
    rows = session.execute(query)
    return {(play, number): (lines, int(stake), int(prize)) for play, number, lines, stake, prize in rows}


def booked_by(session: Session, draw_id: int, kinds: Sequence[str], top: User) -> dict[str, dict[int, int]]:
    """What entries of these kinds about the draw gave to wallets: signed centavos by kind and user."""
    query = select(Entry.kind, Account.user_id, func.sum(Posting.amount, type_=BigInteger))
    query = query.join(Posting, Posting.entry_id == Entry.id).join(Account, Account.id == Posting.account_id)
    query = query.join(User, User.id == Account.user_id).where(Entry.draw_id == draw_id, Entry.kind.in_(kinds))
    found: dict[str, dict[int, int]] = {kind: {} for kind in kinds}
    for kind, user, amount in session.execute(query.where(within(top)).group_by(Entry.kind, Account.user_id)):
        if user is not None:  # a house account, which is nobody's and joins with nobody
            found[kind][user] = int(amount)
    return found


def staked_by(session: Session, draw: Draw, agents: Collection[int]) -> dict[tuple[str, str], int]:
    """Live stake of these agents by (play, number as it was bet).

    Reads their tickets, by the index of an agent's tickets: such sums are kept for whole draws only.
    """
    rows = session.execute(
        text(
            """
            SELECT l.play, l.number, CAST(sum(l.stake) AS bigint) FROM tickets t
            JOIN ticket_lines l ON l.draw_date = t.draw_date AND l.draw_id = t.draw_id AND l.serial = t.serial
            WHERE t.agent_id = ANY(CAST(:agents AS bigint[])) AND t.draw_date = :day AND t.draw_id = :draw
              AND l.draw_date = :day AND l.draw_id = :draw
              AND NOT EXISTS (SELECT 1 FROM voids v
                              WHERE v.draw_id = :draw AND v.ticket_serial = t.serial AND v.stake > 0)
            GROUP BY l.play, l.number
            """
        ),
        {"agents": list(agents), "day": draw.date, "draw": draw.id},
    )
    return {(play, number): stake for play, number, stake in rows}


def _winners(
    draw: Draw, top: User, *columns: ColumnElement[Any] | InstrumentedAttribute[Any]
) -> Select[*tuple[Any, ...]]:
    current = and_(Winner.draw_id == draw.id, Winner.version == draw.result_version)
    return select(*columns).outerjoin(User, User.id == Winner.agent_id).where(current, within(top))


def _any(ids: Collection[int]) -> Any:
    """One parameter, however many they are."""
    return any_(literal(list(ids), ARRAY(BigInteger)))
