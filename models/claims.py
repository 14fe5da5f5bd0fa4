"""What is paid on winning tickets: payouts, claims, reprints, and winners of an older system."""

from __future__ import annotations

from sqlalchemy import BigInteger, ForeignKey, Integer, LargeBinary, PrimaryKeyConstraint, SmallInteger, Text, func
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Big, Instant, Json, Str


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
