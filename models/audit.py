"""The audit log: who did what to what, before and after; and the chain of hashes over it."""

from __future__ import annotations

from sqlalchemy import BigInteger, ForeignKey, LargeBinary, Text, func
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Big, Instant, Json, Str


class AuditRow(Base):
    """One deed, done or refused. `outcome` is "done" or a problem's code."""

    __tablename__ = "audit"

    id: Mapped[Big] = mapped_column(primary_key=True)
    at: Mapped[Instant] = mapped_column(server_default=func.clock_timestamp())
    actor_id: Mapped[int | None] = mapped_column(BigInteger)
    actor: Mapped[str | None] = mapped_column(Text)
    role: Mapped[str | None] = mapped_column(Text)
    action: Mapped[Str]
    object: Mapped[Str]
    before: Mapped[Json | None]
    after: Mapped[Json | None]
    address: Mapped[str | None] = mapped_column(Text)
    request_id: Mapped[str | None] = mapped_column(Text)
    outcome: Mapped[Str]


class AuditLink(Base):
    """A row's place in the chain; `hash` covers the row and the hash before it."""

    __tablename__ = "audit_chain"

    seq: Mapped[Big] = mapped_column(primary_key=True, autoincrement=False)
    audit_id: Mapped[Big] = mapped_column(ForeignKey("audit.id"))
    hash: Mapped[bytes] = mapped_column(LargeBinary)
