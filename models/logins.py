"""Logins: sessions, each with its family of refresh tokens."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import ColumnElement, ForeignKey, Integer, Text, Uuid, delete, func, or_, select, tuple_, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Base, Big, Instant, Str
from models.people import User, is_suspended


class Login(Base):
    """One login on one device. `number` is that of its newest refresh token, made at `rotated_at`."""

    __tablename__ = "sessions"

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, server_default=func.gen_random_uuid())
    user_id: Mapped[Big] = mapped_column(ForeignKey("users.id"))
    device: Mapped[Str] = mapped_column(server_default="")
    address: Mapped[Str]
    created_at: Mapped[Instant] = mapped_column(server_default=func.now())
    last_used_at: Mapped[Instant] = mapped_column(server_default=func.now())
    expires_at: Mapped[Instant]
    number: Mapped[int] = mapped_column(Integer, server_default="1")
    rotated_at: Mapped[Instant] = mapped_column(server_default=func.now())
    kid: Mapped[Str]
    ended_at: Mapped[Instant | None]
    ended_why: Mapped[str | None] = mapped_column(Text)
    told_at: Mapped[Instant | None]


class Standing(NamedTuple):
    """What a user with a live session still owes before he may do anything else."""

    must_change_password: bool
    has_totp: bool


def live_standing(session: Session, user_id: int, login_id: uuid.UUID, now: datetime) -> Standing | None:
    """The user's standing; None: he is suspended or gone, or that is no live session of his."""
    query = (
        select(User.must_change_password, User.totp_confirmed_at.is_not(None))
        .join(Login, Login.user_id == User.id)
        .where(User.id == user_id, ~is_suspended(), Login.id == login_id, *_live(now))
    )
    found = session.execute(query).first()
    return None if found is None else Standing(*found)


def standing_logins(
    session: Session, login_ids: Collection[uuid.UUID], now: datetime
) -> Sequence[tuple[uuid.UUID, str, list[int]]]:
    """(id, the user's role, those above him) of those sessions that are live, of users who are not suspended."""
    query = select(Login.id, User.role, User.ancestors).join(User, User.id == Login.user_id)
    query = query.where(Login.id.in_(login_ids), ~is_suspended(), *_live(now))
    return [(row.id, row.role, row.ancestors) for row in session.execute(query)]


def lock_login(session: Session, user_id: int, login_id: uuid.UUID) -> Login | None:
    """The user's session of that id, live or not, read anew and locked until the transaction ends."""
    query = select(Login).where(Login.id == login_id, Login.user_id == user_id).with_for_update(key_share=True)
    return session.scalars(query.execution_options(populate_existing=True)).one_or_none()


def end_logins(
    session: Session, user_id: int, why: str, *, only: uuid.UUID | None = None, but: uuid.UUID | None = None
) -> list[str]:
    """Ends a user's sessions: all of them, one, or all but one. Gives the ids of those that it ended."""
    statement = update(Login).where(Login.user_id == user_id, Login.ended_at.is_(None))
    if only is not None:
        statement = statement.where(Login.id == only)
    if but is not None:
        statement = statement.where(Login.id != but)
    ended = session.scalars(statement.values(ended_at=func.now(), ended_why=why).returning(Login.id))
    return [str(login_id) for login_id in ended]


def live_logins(
    session: Session, user_id: int, now: datetime, limit: int, before: tuple[datetime, uuid.UUID] | None
) -> Sequence[Login]:
    """Up to `limit` live sessions of the user, newest first, after the place `before` in that order."""
    query = select(Login).where(Login.user_id == user_id, *_live(now))
    if before is not None:
        query = query.where(tuple_(Login.created_at, Login.id) < before)
    return session.scalars(query.order_by(Login.created_at.desc(), Login.id.desc()).limit(limit)).all()


def knows_device(session: Session, username: str, device: str, address: str) -> bool:
    """Whether the user of that name has logged in from there before: from a device of that name, or, where the
    device has none, from that address."""
    query = select(Login.id).join(User, User.id == Login.user_id)
    query = query.where(User.username == username, Login.device == device)
    if not device:
        query = query.where(Login.address == address)
    return session.execute(query.limit(1)).first() is not None


def untold_logins(session: Session, limit: int) -> list[str]:
    """Ids of ended sessions that the gate has not confirmed, the oldest end first."""
    query = select(Login.id).where(Login.ended_at.is_not(None), Login.told_at.is_(None))
    return [str(login_id) for login_id in session.scalars(query.order_by(Login.ended_at).limit(limit))]


def is_untold(session: Session, login_id: uuid.UUID) -> bool:
    """Whether this login has ended and the gate has not confirmed that it knows."""
    untold = select(Login.id).where(Login.id == login_id, Login.ended_at.is_not(None), Login.told_at.is_(None))
    return session.execute(untold).first() is not None


def mark_told(session: Session, login_ids: Sequence[str]) -> None:
    """Records that the gate knows that these sessions ended."""
    ids = [uuid.UUID(login_id) for login_id in login_ids]
    session.execute(update(Login).where(Login.id.in_(ids), Login.told_at.is_(None)).values(told_at=func.now()))


def delete_logins(session: Session, before: datetime) -> int:
    """Deletes sessions that were over by then; how many."""
    over = select(Login.id).where(or_(Login.ended_at < before, Login.expires_at < before))
    # Waits for nobody, so that it cannot deadlock with somebody who ends all sessions of a user.
    free = over.with_for_update(skip_locked=True).scalar_subquery()
    return len(session.scalars(delete(Login).where(Login.id.in_(free)).returning(Login.id)).all())


def _live(now: datetime) -> tuple[ColumnElement[bool], ...]:
    return Login.ended_at.is_(None), Login.expires_at > now
