"""Seals, results, the steps of a settlement, winners and draw reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date as Date
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import (
    BigInteger,
    Boolean,
    ForeignKey,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Text,
    func,
    select,
    text,
)
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Base, Big, Instant, Json, Str
from rules.rights import Role


class Seal(Base):
    """The published root over a draw's tickets and gaps in the order of their serials."""

    __tablename__ = "seals"

    draw_id: Mapped[int] = mapped_column(ForeignKey("draws.id"), primary_key=True, autoincrement=False)
    tree_size: Mapped[Big]
    merkle_root: Mapped[bytes] = mapped_column(LargeBinary)
    sealed_at: Mapped[Instant] = mapped_column(server_default=func.now())
    late: Mapped[bool] = mapped_column(Boolean)
    reason: Mapped[str | None] = mapped_column(Text)
    restored: Mapped[Big]
    gaps: Mapped[Json]
    tickets: Mapped[Big]
    voided: Mapped[Big]
    annulled: Mapped[Big]
    stake: Mapped[Big]
    sums_hash: Mapped[bytes] = mapped_column(LargeBinary)


class SealBlock(Base):
    """The root of one aligned block of leaves."""

    __tablename__ = "seal_blocks"
    __table_args__ = (PrimaryKeyConstraint("draw_id", "block"),)

    draw_id: Mapped[int] = mapped_column(ForeignKey("seals.draw_id"))
    block: Mapped[int] = mapped_column(Integer)
    hash: Mapped[bytes] = mapped_column(LargeBinary)


class SealFailure(Base):
    """An attempt to seal that found the two sources different."""

    __tablename__ = "seal_failures"

    id: Mapped[Big] = mapped_column(primary_key=True)
    draw_id: Mapped[int] = mapped_column(ForeignKey("draws.id"))
    failed_at: Mapped[Instant] = mapped_column(server_default=func.now())
    difference: Mapped[Json]


class Result(Base):
    """A result that two persons entered alike."""

    __tablename__ = "results"
    __table_args__ = (PrimaryKeyConstraint("draw_id", "version"),)

    draw_id: Mapped[int] = mapped_column(ForeignKey("draws.id"))
    version: Mapped[int] = mapped_column(Integer)
    number: Mapped[Str]
    entered_by: Mapped[Big] = mapped_column(ForeignKey("users.id"))
    entered_at: Mapped[Instant]
    confirmed_by: Mapped[Big] = mapped_column(ForeignKey("users.id"))
    confirmed_at: Mapped[Instant] = mapped_column(server_default=func.now())
    reason: Mapped[str | None] = mapped_column(Text)
    confirm_reason: Mapped[str | None] = mapped_column(Text)


class SettlementStep(Base):
    """One named step of settling a version of the result."""

    __tablename__ = "settlement_steps"
    __table_args__ = (PrimaryKeyConstraint("draw_id", "version", "name"),)

    draw_id: Mapped[int] = mapped_column(Integer)
    version: Mapped[int] = mapped_column(Integer)
    name: Mapped[Str]
    ordinal: Mapped[int] = mapped_column(SmallInteger)
    status: Mapped[Str] = mapped_column(server_default="waiting")
    started_at: Mapped[Instant | None]
    finished_at: Mapped[Instant | None]


class Winner(Base):
    """A winning line of a version of the result."""

    __tablename__ = "winners"
    __table_args__ = (PrimaryKeyConstraint("draw_id", "version", "serial", "line_no"),)

    draw_id: Mapped[int] = mapped_column(Integer)
    version: Mapped[int] = mapped_column(Integer)
    serial: Mapped[Big]
    line_no: Mapped[int] = mapped_column(SmallInteger)
    agent_id: Mapped[Big]
    play: Mapped[Str]
    number: Mapped[Str]
    stake: Mapped[Big]
    prize: Mapped[Big]


class DrawReport(Base):
    """The report of a settled draw."""

    __tablename__ = "draw_reports"
    __table_args__ = (PrimaryKeyConstraint("draw_id", "version"),)

    draw_id: Mapped[int] = mapped_column(Integer)
    version: Mapped[int] = mapped_column(Integer)
    body: Mapped[Json]
    made_at: Mapped[Instant] = mapped_column(server_default=func.now())


def lock_pool_check(session: Session) -> bool:
    """Whether this transaction may read a whole draw again; one at a time, or sweeps would keep all workers at it."""
    return bool(session.scalar(text("SELECT pg_try_advisory_xact_lock(hashtext('pool_check'))")))


def block_hashes(session: Session, draw_id: int) -> list[bytes]:
    """The roots of the sealed draw's blocks of leaves, in order."""
    query = select(SealBlock.hash).where(SealBlock.draw_id == draw_id).order_by(SealBlock.block)
    return list(session.scalars(query))


def insert_winners(
    session: Session, draw_id: int, day: Date, version: int, bets: Sequence[tuple[str, str, int]]
) -> None:
    """Stores what won, by (play, number as bet, centavos paid per centavo); voided tickets win nothing.

    Goes by the index on (draw, play, number): the cost follows the winners, not the draw.
    """
    session.execute(
        text(
            """
            INSERT INTO winners (draw_id, version, serial, line_no, agent_id, play, number, stake, prize)
            SELECT :draw, :version, l.serial, l.line_no, t.agent_id, l.play, l.number, l.stake,
                   l.stake * w.pay
            FROM unnest(CAST(:plays AS text[]), CAST(:numbers AS text[]), CAST(:pays AS bigint[]))
              AS w(play, number, pay)
            JOIN ticket_lines l
              ON l.draw_date = :day AND l.draw_id = :draw AND l.play = w.play AND l.number = w.number
            JOIN tickets t ON t.draw_date = :day AND t.draw_id = :draw AND t.serial = l.serial
            WHERE NOT EXISTS (SELECT 1 FROM voids v
                              WHERE v.draw_id = :draw AND v.ticket_serial = l.serial AND v.stake > 0)
            """
        ),
        {
            "draw": draw_id,
            "day": day,
            "version": version,
            "plays": [play for play, _, _ in bets],
            "numbers": [number for _, number, _ in bets],
            "pays": [pay for _, _, pay in bets],
        },
    )


def steps_of(session: Session, draw_id: int, version: int) -> Sequence[SettlementStep]:
    """The steps of settling that version, in their order."""
    query = select(SettlementStep).where(SettlementStep.draw_id == draw_id, SettlementStep.version == version)
    return session.scalars(query.order_by(SettlementStep.ordinal)).all()


def stakes_that_won(session: Session, draw_id: int, version: int) -> list[tuple[int, str, str, int]]:
    """(agent, play, number as bet, centavos staked) of that version's winners."""
    by = Winner.agent_id, Winner.play, Winner.number
    query = select(*by, func.sum(Winner.stake, type_=BigInteger)).group_by(*by)
    rows = session.execute(query.where(Winner.draw_id == draw_id, Winner.version == version))
    return [(agent, play, number, int(stake)) for agent, play, number, stake in rows]


def totals_of_winners(session: Session, draw_id: int, version: int) -> tuple[int, int]:
    """(winning tickets, prizes in centavos) of that version."""
    query = select(func.count(func.distinct(Winner.serial)), func.coalesce(func.sum(Winner.prize), 0))
    tickets, prizes = session.execute(query.where(Winner.draw_id == draw_id, Winner.version == version)).one()
    return int(tickets), int(prizes)


def winners_by_person(session: Session, draw_id: int, version: int) -> list[tuple[int, Role, int, int]]:
    """(user, role, winning tickets, prizes in centavos) under that version: of the agents who have some, and of all
    coordinators who stand above them now. With 0 tickets who had some under an earlier version only.
    """
    rows = session.execute(
        text(
            """
            WITH won AS (
                SELECT agent_id, count(DISTINCT serial) FILTER (WHERE version = :version) AS tickets,
                       coalesce(sum(prize) FILTER (WHERE version = :version), 0) AS prizes
                FROM winners WHERE draw_id = :draw AND version <= :version GROUP BY agent_id),
            told AS (
                SELECT u.id, u.role, won.tickets, won.prizes FROM won JOIN users u ON u.id = won.agent_id
                UNION ALL
                SELECT above.id, above.role, won.tickets, won.prizes
                FROM won JOIN users u ON u.id = won.agent_id
                JOIN users above ON above.id = ANY (u.ancestors) AND above.role = 'coordinator')
            SELECT id, role, CAST(sum(tickets) AS bigint), CAST(sum(prizes) AS bigint)
            FROM told GROUP BY id, role ORDER BY id
            """
        ),
        {"draw": draw_id, "version": version},
    )
    return [(user, Role(role), tickets, prizes) for user, role, tickets, prizes in rows]


def prizes_of(session: Session, draw_id: int, version: int, serials: Sequence[int] | None = None) -> dict[int, int]:
    """Prize in centavos of the tickets that win under that version, by serial; `serials`: only of these."""
    query = select(Winner.serial, func.sum(Winner.prize, type_=BigInteger)).where(
        Winner.draw_id == draw_id, Winner.version == version
    )
    if serials is not None:
        query = query.where(Winner.serial.in_(serials))
    return {serial: int(prize) for serial, prize in session.execute(query.group_by(Winner.serial))}


class Standing(NamedTuple):
    """What the winners of a version are still owed, and what earlier versions paid above it; centavos."""

    due: int
    in_error: int


def standing_of(session: Session, draw_id: int, version: int) -> Standing:
    """Sets what was paid on the draw's tickets, under whichever version, against that version's prizes."""
    row = session.execute(
        text(
            """
            SELECT CAST(coalesce(sum(greatest(coalesce(w.prize, 0) - coalesce(p.paid, 0), 0)), 0) AS bigint),
                   CAST(coalesce(sum(greatest(coalesce(p.paid, 0) - coalesce(w.prize, 0), 0)), 0) AS bigint)
            FROM (SELECT serial, sum(prize) AS prize FROM winners
                  WHERE draw_id = :draw AND version = :version GROUP BY serial) AS w
            FULL JOIN (SELECT serial, paid FROM payouts WHERE draw_id = :draw) AS p ON p.serial = w.serial
            """
        ),
        {"draw": draw_id, "version": version},
    ).one()
    return Standing(*row)


def anything_expired(session: Session, draw_id: int) -> bool:
    """Whether a prize of the draw was given up for never having been claimed."""
    query = text("SELECT EXISTS (SELECT 1 FROM payouts WHERE draw_id = :draw AND expired > 0)")
    return bool(session.execute(query, {"draw": draw_id}).scalar_one())


class PaidTooMuch(NamedTuple):
    """A ticket that was paid more than the current version of the result gives it; centavos."""

    serial: int
    agent_id: int
    paid: int
    prize: int


def paid_in_error(
    session: Session, draw_id: int, day: Date, version: int, limit: int, before: int | None
) -> list[PaidTooMuch]:
    """Up to `limit` such tickets of the draw with serials under `before`, the highest serial first."""
    rows = session.execute(
        text(
            """
            SELECT p.serial, t.agent_id, p.paid, CAST(coalesce(w.prize, 0) AS bigint)
            FROM payouts p
            JOIN tickets t ON t.draw_date = :day AND t.draw_id = p.draw_id AND t.serial = p.serial
            LEFT JOIN LATERAL (SELECT sum(prize) AS prize FROM winners
                               WHERE draw_id = p.draw_id AND version = :version AND serial = p.serial) AS w ON true
            WHERE p.draw_id = :draw AND p.paid > coalesce(w.prize, 0)
              AND (CAST(:before AS bigint) IS NULL OR p.serial < :before)
            ORDER BY p.serial DESC LIMIT :limit
            """
        ),
        {"draw": draw_id, "day": day, "version": version, "limit": limit, "before": before},
    )
    return [PaidTooMuch(*row) for row in rows]


def commissions_of(session: Session, opened_at: datetime, live: Mapping[int, int]) -> dict[int, int]:
    """Centavos earned by user on the agents' live stakes in a draw: by them, and by the coordinators above each.

    Rate and chain are those of the newest row of commission_rates when the draw opened, or the user's oldest one.
    Everybody's share of an agent's sale is rounded down by itself.
    """
    rows = session.execute(
        text(
            """
            WITH base AS (
                SELECT * FROM unnest(CAST(:agents AS bigint[]), CAST(:live AS bigint[])) AS base(agent_id, live)),
            rates AS (
                SELECT DISTINCT ON (user_id) user_id, bp, ancestors FROM commission_rates
                ORDER BY user_id, from_at <= :opened_at DESC,
                         abs(extract(epoch FROM from_at - CAST(:opened_at AS timestamptz))), id DESC),
            earners AS (
                SELECT base.agent_id AS user_id, base.live FROM base
                UNION ALL
                SELECT above.id, base.live FROM base
                JOIN rates ON rates.user_id = base.agent_id
                JOIN users above ON above.id = ANY(rates.ancestors) AND above.role = 'coordinator')
            SELECT user_id, CAST(sum(earners.live * rates.bp / 10000) AS bigint) AS earned
            FROM earners JOIN rates USING (user_id)
            GROUP BY user_id HAVING sum(earners.live * rates.bp / 10000) > 0 ORDER BY user_id
            """
        ),
        {"agents": list(live), "live": list(live.values()), "opened_at": opened_at},
    )
    return {row.user_id: row.earned for row in rows}
