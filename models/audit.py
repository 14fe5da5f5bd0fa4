"""The audit log: who did what to what, before and after; and the chain of hashes over it."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    ForeignKey,
    LargeBinary,
    Row,
    Select,
    Text,
    exists,
    func,
    insert,
    or_,
    select,
    text,
)
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import BIGINT_MAX, Base, Big, Instant, Json, Str
from models.people import User

READ_AT_ONCE = 2_000


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


class AuditFilter(NamedTuple):
    """Which rows are wanted; None: any."""

    actor: str | None = None  # a username, or a user's id in digits
    object: str | None = None
    since: datetime | None = None
    before: datetime | None = None


def lock_chain(session: Session) -> bool:
    """Whether this transaction may lengthen the chain; only one may at a time."""
    return bool(session.scalar(text("SELECT pg_try_advisory_xact_lock(hashtext('audit_chain'))")))


def chain_head(session: Session) -> AuditLink | None:
    """The last link."""
    return session.scalar(select(AuditLink).order_by(AuditLink.seq.desc()).limit(1))


def unchained(session: Session, limit: int, look_back: int | None) -> Sequence[AuditRow]:
    """Committed rows without a link, in the order of their ids, which is not that of their commits.

    `look_back`: only ids above the highest chained one less this many; None: all of them.
    """
    query = select(AuditRow).where(_has_no_link()).order_by(AuditRow.id).limit(limit)
    if look_back is not None:
        last = session.scalar(select(func.max(AuditLink.audit_id))) or 0
        query = query.where(AuditRow.id > last - look_back)
    return session.scalars(query).all()


def add_links(session: Session, links: Sequence[AuditLink]) -> None:
    """Appends links to the chain, which `lock_chain` must hold."""
    values = [{"seq": link.seq, "audit_id": link.audit_id, "hash": link.hash} for link in links]
    if values:
        session.execute(insert(AuditLink), values)


def chained_rows(session: Session) -> Generator[tuple[AuditLink, AuditRow | None], None, None]:
    """Every link with its row, first to last; reads them bit by bit. Close it when it is left early."""
    query = select(AuditLink, AuditRow).outerjoin(AuditRow, AuditRow.id == AuditLink.audit_id).order_by(AuditLink.seq)
    result = session.execute(query.execution_options(yield_per=READ_AT_ONCE))
    try:
        for found in result:
            yield found[0], found[1]
    finally:
        result.close()


def forgotten_rows(session: Session, age: timedelta, limit: int) -> Sequence[int]:
    """Ids of rows older than `age` by the database's clock that nobody has chained."""
    query = select(AuditRow.id).where(_has_no_link(), AuditRow.at < func.clock_timestamp() - age)
    return session.scalars(query.order_by(AuditRow.id).limit(limit)).all()


def audit_page(
    session: Session, wanted: AuditFilter, below: int | None, limit: int, before_id: int | None
) -> Sequence[Row[AuditRow, AuditLink]]:
    """Up to `limit` rows with their links (None: not chained yet), newest first, with ids under `before_id`.

    `below`: only deeds of this user and of those below him; None: everybody's and the system's.
    """
    query = _filtered(select(AuditRow, AuditLink), wanted, below)
    if before_id is not None:
        query = query.where(AuditRow.id < before_id)
    return session.execute(query.order_by(AuditRow.id.desc()).limit(limit)).all()


def audit_rows(
    session: Session, wanted: AuditFilter, below: int | None
) -> Generator[tuple[AuditRow, AuditLink | None], None, None]:
    """The same rows, all of them and oldest first; reads them bit by bit. Close it when it is left early."""
    query = _filtered(select(AuditRow, AuditLink), wanted, below).order_by(AuditRow.at, AuditRow.id)
    result = session.execute(query.execution_options(yield_per=READ_AT_ONCE))
    try:
        for found in result:
            yield found[0], found[1]
    finally:
        result.close()


def audit_count(session: Session, wanted: AuditFilter, below: int | None) -> int:
    """How many they are."""
    return int(session.scalar(_filtered(select(func.count()).select_from(AuditRow), wanted, below)) or 0)


def _filtered(query: Select[*tuple[Any, ...]], wanted: AuditFilter, below: int | None) -> Select[*tuple[Any, ...]]:
    query = query.outerjoin(AuditLink, AuditLink.audit_id == AuditRow.id)
    if below is not None:
        people = select(User.id).where(or_(User.id == below, User.ancestors.contains([below])))
        query = query.where(AuditRow.actor_id.in_(people))
    if wanted.actor is not None:
        query = query.where(_is_by(wanted.actor))
    if wanted.object is not None:
        query = query.where(AuditRow.object == wanted.object)
    if wanted.since is not None:
        query = query.where(AuditRow.at >= wanted.since)
    if wanted.before is not None:
        query = query.where(AuditRow.at < wanted.before)
    return query


def _is_by(actor: str) -> ColumnElement[bool]:
    named = AuditRow.actor == actor.lower()
    # A username may be digits alone; a number beyond a bigint is nobody's.
    is_id = actor.isascii() and actor.isdigit() and int(actor) <= BIGINT_MAX
    return or_(named, AuditRow.actor_id == int(actor)) if is_id else named


def _has_no_link() -> ColumnElement[bool]:
    return ~exists().where(AuditLink.audit_id == AuditRow.id)
