"""What is paid on winning tickets: payouts, claims, reprints, and winners of an older system."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import (
    BigInteger,
    ForeignKey,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Text,
    any_,
    func,
    literal,
    or_,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, Session, mapped_column
from sqlalchemy.sql.expression import CollectionAggregate

from models.base import Base, Big, Instant, Json, Str
from models.draws import Draw
from models.people import User, sees_everyone


class OldWinner(Base):
    """An unpaid winner that came from an older system."""

    __tablename__ = "old_winners"

    number: Mapped[Str] = mapped_column(primary_key=True)
    code_digest: Mapped[bytes] = mapped_column(LargeBinary)
    agent_id: Mapped[Big] = mapped_column(ForeignKey("users.id"))
    prize: Mapped[Big]
    claim_until: Mapped[Instant]
    note: Mapped[str | None] = mapped_column(Text)
    imported_at: Mapped[Instant] = mapped_column(server_default=func.now())


class Payout(Base):
    """What was paid on a ticket and what expired, in centavos; its row lock is the ticket's."""

    __tablename__ = "payouts"

    number: Mapped[Str] = mapped_column(primary_key=True)
    draw_id: Mapped[int | None] = mapped_column(Integer, ForeignKey("draws.id"))
    serial: Mapped[int | None] = mapped_column(BigInteger)
    paid: Mapped[Big] = mapped_column(server_default="0")
    tax: Mapped[Big] = mapped_column(server_default="0")
    expired: Mapped[Big] = mapped_column(server_default="0")
    held_at: Mapped[Instant | None]
    held_by: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("users.id"))
    held_reason: Mapped[str | None] = mapped_column(Text)


class Claim(Base):
    """One payment on a ticket, paid or waiting for approval. `prize` includes `tax`."""

    __tablename__ = "claims"

    id: Mapped[Big] = mapped_column(primary_key=True)
    number: Mapped[Str] = mapped_column(ForeignKey("payouts.number"))
    version: Mapped[int | None] = mapped_column(Integer)
    prize: Mapped[Big]
    tax: Mapped[Big]
    claimed_by: Mapped[Big] = mapped_column(ForeignKey("users.id"))
    claimed_at: Mapped[Instant] = mapped_column(server_default=func.now())
    payee: Mapped[Json | None]
    status: Mapped[Str]
    decided_by: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("users.id"))
    decided_at: Mapped[Instant | None]
    reason: Mapped[str | None] = mapped_column(Text)
    entry_id: Mapped[int | None] = mapped_column(BigInteger)


class Reprint(Base):
    """A copy of a ticket that was printed after the first."""

    __tablename__ = "reprints"
    __table_args__ = (PrimaryKeyConstraint("number", "copy"),)

    number: Mapped[Str]
    copy: Mapped[int] = mapped_column(SmallInteger)
    agent_id: Mapped[Big] = mapped_column(ForeignKey("users.id"))
    made_at: Mapped[Instant] = mapped_column(server_default=func.now())


def copies_made(session: Session, number: str) -> int:
    """The number of the ticket's last copy; 0 if it was not printed again."""
    return session.scalar(select(func.coalesce(func.max(Reprint.copy), 0)).where(Reprint.number == number)) or 0


def _any_of(numbers: Sequence[str]) -> CollectionAggregate[bool]:
    """One parameter, however many they are: a draw may have more winners than a statement takes parameters."""
    return any_(literal(list(numbers), ARRAY(Text)))


def lock_payout(session: Session, number: str, draw_id: int | None, serial: int | None) -> Payout:
    """The ticket's payout, made if there is none, locked until the transaction ends and read anew.

    The draw's row must be locked before, FOR SHARE at least; one of an older system has none.
    """
    (payout,) = lock_payouts(session, [(number, draw_id, serial)])
    return payout


def payouts_of(session: Session, draw_id: int, serials: Sequence[int]) -> dict[int, Payout]:
    """Payouts of the draw by serial, for those of `serials` that have one."""
    query = select(Payout).where(Payout.draw_id == draw_id, Payout.serial.in_(serials))
    return {payout.serial: payout for payout in session.scalars(query) if payout.serial is not None}


def pending_claim(session: Session, number: str) -> Claim | None:
    """The claim of the ticket that waits for approval; there is at most one."""
    query = select(Claim).where(Claim.number == number, Claim.status == "pending")
    return session.scalar(query.execution_options(populate_existing=True))


def last_paid_claim(session: Session, number: str, user_id: int) -> Claim | None:
    """The newest claim of the ticket that was paid to that user."""
    query = select(Claim).where(Claim.number == number, Claim.status == "paid", Claim.claimed_by == user_id)
    return session.scalar(query.order_by(Claim.id.desc()).limit(1))


def pending_numbers(session: Session, numbers: Sequence[str]) -> set[str]:
    """Which of these tickets have a claim that waits for approval."""
    query = select(Claim.number).where(Claim.number == _any_of(numbers), Claim.status == "pending")
    return set(session.scalars(query))


def pending_claims_of(session: Session, draw_id: int) -> Sequence[Claim]:
    """The claims on tickets of the draw that wait for approval, oldest first."""
    query = select(Claim).join(Payout, Payout.number == Claim.number)
    query = query.where(Payout.draw_id == draw_id, Claim.status == "pending")
    return session.scalars(query.order_by(Claim.id).execution_options(populate_existing=True)).all()


def lock_payouts(session: Session, places: Sequence[tuple[str, int | None, int | None]]) -> Sequence[Payout]:
    """The payouts of tickets (number, draw's id, serial), those missing made, locked in the order of their numbers."""
    ordered = sorted(places)
    if not ordered:
        return []
    numbers, draws, serials = (list(column) for column in zip(*ordered, strict=True))
    # Without a target: were only the number one, of two at once the later would fail on (draw_id, serial).
    session.execute(
        text(
            """
            INSERT INTO payouts (number, draw_id, serial)
            SELECT * FROM unnest(CAST(:numbers AS text[]), CAST(:draws AS integer[]), CAST(:serials AS bigint[]))
            ON CONFLICT DO NOTHING
            """
        ),
        {"numbers": numbers, "draws": draws, "serials": serials},
    )
    query = select(Payout).where(Payout.number == _any_of(numbers)).order_by(Payout.number).with_for_update()
    return session.scalars(query.execution_options(populate_existing=True)).all()


def expired_old_winners(session: Session, now: datetime, limit: int) -> Sequence[OldWinner]:
    """Up to `limit` winners of an older system whose time is over, with something due that nobody waits for."""
    waiting = select(Claim.id).where(Claim.number == OldWinner.number, Claim.status == "pending")
    query = select(OldWinner).outerjoin(Payout, Payout.number == OldWinner.number)
    query = query.where(
        OldWinner.claim_until <= now,
        OldWinner.prize > func.coalesce(Payout.paid + Payout.expired, 0),
        Payout.held_at.is_(None),
        ~waiting.exists(),
    )
    return session.scalars(query.order_by(OldWinner.number).limit(limit)).all()


def claims_page(session: Session, top: User, status: str | None, limit: int, before: int | None) -> Sequence[Claim]:
    """Up to `limit` claims made by users that `top` sees, newest first, with ids under `before`."""
    query = select(Claim).order_by(Claim.id.desc()).limit(limit)
    if not sees_everyone(top):
        under = select(User.id).where(or_(User.id == top.id, User.ancestors.contains([top.id])))
        query = query.where(Claim.claimed_by.in_(under))
    if status is not None:
        query = query.where(Claim.status == status)
    if before is not None:
        query = query.where(Claim.id < before)
    return session.scalars(query).all()


def draws_of(session: Session, numbers: Sequence[str]) -> dict[str, str | None]:
    """The draw's name of each ticket that has a payout; None for one of an older system."""
    query = select(Payout.number, Draw.name).outerjoin(Draw, Draw.id == Payout.draw_id)
    rows = session.execute(query.where(Payout.number == _any_of(numbers)))
    return {row.number: row.name for row in rows}


def draws_to_expire(session: Session, drawn_before: datetime) -> Sequence[str]:
    """Names of settled draws drawn by then, of whose prizes something may be left, the oldest first."""
    query = select(Draw.name).where(Draw.status == "settled", Draw.expired_at.is_(None), Draw.draws_at <= drawn_before)
    return session.scalars(query.order_by(Draw.draws_at)).all()
