"""What people are told: written in the transaction of what happened, read and marked by those whom it is for."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    ForeignKey,
    Integer,
    PrimaryKeyConstraint,
    Text,
    and_,
    func,
    literal,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Base, Big, Instant, Json, Str
from models.events import note_events
from rules.notifications import TEXT_CHARACTERS_MAX, TITLE_CHARACTERS_MAX, Notice
from rules.texts import cleaned

EVENT = "notification"


class Notification(Base):
    """Something that was told to whoever stands in one of its rooms (rules.rooms)."""

    __tablename__ = "notifications"

    id: Mapped[Big] = mapped_column(primary_key=True)
    at: Mapped[Instant] = mapped_column(server_default=func.clock_timestamp())
    kind: Mapped[Str]
    title: Mapped[Str]
    text: Mapped[Str]
    data: Mapped[Json]
    rooms: Mapped[list[str]] = mapped_column(ARRAY(Text))
    made_by: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("users.id"))
    once: Mapped[str | None] = mapped_column(Text)
    outward: Mapped[bool] = mapped_column(Boolean, server_default="true")


class NotificationRead(Base):
    """That somebody has read one."""

    __tablename__ = "notification_reads"
    __table_args__ = (PrimaryKeyConstraint("user_id", "notification_id"),)

    user_id: Mapped[Big] = mapped_column(ForeignKey("users.id"))
    notification_id: Mapped[Big] = mapped_column(ForeignKey("notifications.id"))
    read_at: Mapped[Instant] = mapped_column(server_default=func.now())


class SoldOut(Base):
    """A bet that was told to be sold out in its draw."""

    __tablename__ = "sold_out"
    __table_args__ = (PrimaryKeyConstraint("draw_id", "play", "key"),)

    draw_id: Mapped[int] = mapped_column(Integer)
    play: Mapped[Str]
    key: Mapped[Str]
    at: Mapped[Instant] = mapped_column(server_default=func.now())


_TELL = text(
    """
    WITH told AS (
        INSERT INTO notifications (kind, title, text, data, rooms, once, made_by, outward)
        SELECT kind, title, n.text, data, ARRAY(SELECT jsonb_array_elements_text(n.rooms)), once, made_by, outward
        FROM jsonb_to_recordset(CAST(:notices AS jsonb)) AS n(
            kind text, title text, text text, data jsonb, rooms jsonb, once text, made_by bigint, outward boolean)
        ON CONFLICT (once) DO NOTHING RETURNING id, kind, title, text, rooms, outward),
    to_send AS (
        INSERT INTO notifications_to_send (notification_id) SELECT id FROM told WHERE outward)
    SELECT id, kind, title, text, rooms FROM told ORDER BY id
    """
)


def tell(session: Session, notices: Iterable[Notice]) -> list[int]:
    """Tells these, but for those that were told before; the ids of the new ones. Two statements however many they are.

    Nobody hears of them unless the transaction commits.
    """
    rows = [notice._asdict() | _texts(notice) for notice in notices]
    if not rows:
        return []
    told = session.execute(_TELL, {"notices": json.dumps(rows)}).all()
    shown = [({"id": row.id, "kind": row.kind, "title": row.title, "text": row.text}, row.rooms) for row in told]
    note_events(session, EVENT, shown)
    return [row.id for row in told]


def _texts(notice: Notice) -> dict[str, str]:
    # As JSON a half of a character would be no text to PostgreSQL; `cleaned` leaves none.
    return {
        "title": cleaned(notice.title, TITLE_CHARACTERS_MAX),
        "text": cleaned(notice.text, TEXT_CHARACTERS_MAX),
    }


def newly_sold_out(session: Session, draw_id: int, bets: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Which of these (play, key) were not noted as sold out before; from here on they are."""
    rows = [{"draw_id": draw_id, "play": play, "key": key} for play, key in bets]
    statement = insert(SoldOut).values(rows).on_conflict_do_nothing().returning(SoldOut.play, SoldOut.key)
    return sorted((play, key) for play, key in session.execute(statement))


# ── reading ─────────────────────────────────────────────────────────────────────────────────────────────────


class Hearer(NamedTuple):
    """Somebody who is told things: where he stands (rules.rooms), and since when he is there."""

    user_id: int
    rooms: Sequence[str]
    since: datetime


def notifications_page(
    session: Session, hearer: Hearer, limit: int, before: int | None, *, unread: bool
) -> Sequence[tuple[Notification, datetime | None]]:
    """Up to `limit` (notification, when he read it) with ids under `before`, newest first; or only `unread` ones."""
    query = _with_reading(hearer)
    if before is not None:
        query = query.where(Notification.id < before)
    if unread:
        query = query.where(NotificationRead.read_at.is_(None))
    return [(row, read_at) for row, read_at in session.execute(query.order_by(Notification.id.desc()).limit(limit))]


def notification_for(
    session: Session, hearer: Hearer, notification_id: int
) -> tuple[Notification, datetime | None] | None:
    """The one of that number with the time he read it, if it was told to him."""
    row = session.execute(_with_reading(hearer).where(Notification.id == notification_id)).first()
    return None if row is None else (row[0], row[1])


def _with_reading(hearer: Hearer) -> Any:
    mine = and_(NotificationRead.notification_id == Notification.id, NotificationRead.user_id == hearer.user_id)
    return select(Notification, NotificationRead.read_at).outerjoin(NotificationRead, mine).where(_told_to(hearer))


def _told_to(hearer: Hearer) -> ColumnElement[bool]:
    return and_(Notification.rooms.overlap(list(hearer.rooms)), Notification.at >= hearer.since)


def _not_read_by(hearer: Hearer) -> ColumnElement[bool]:
    of_this = NotificationRead.notification_id == Notification.id
    return ~select(NotificationRead.read_at).where(NotificationRead.user_id == hearer.user_id, of_this).exists()


def count_unread(session: Session, hearer: Hearer) -> int:
    """How many he has not read."""
    query = select(func.count()).select_from(Notification).where(_told_to(hearer), _not_read_by(hearer))
    return session.scalar(query) or 0


def mark_read(session: Session, hearer: Hearer, notification_id: int) -> None:
    """Notes that he has read it; if he had, the first time stays."""
    values = {"user_id": hearer.user_id, "notification_id": notification_id}
    session.execute(insert(NotificationRead).values(values).on_conflict_do_nothing())


def mark_read_up_to(session: Session, hearer: Hearer, last: int) -> int:
    """Notes that he has read all of his up to the id `last`; how many he had not."""
    unread = select(literal(hearer.user_id, BigInteger), Notification.id).where(
        _told_to(hearer), _not_read_by(hearer), Notification.id <= last
    )
    statement = insert(NotificationRead).from_select(["user_id", "notification_id"], unread).on_conflict_do_nothing()
    return len(session.execute(statement.returning(NotificationRead.notification_id)).all())


def announced_lately(session: Session, made_by: int, notice: Notice, minutes: int) -> Notification | None:
    """The same words to the same rooms by the same person within so many minutes."""
    query = select(Notification).where(
        Notification.made_by == made_by,
        Notification.at > func.now() - func.make_interval(0, 0, 0, 0, 0, minutes),
        Notification.title == notice.title,
        Notification.text == notice.text,
        Notification.rooms == list(notice.rooms),
    )
    return session.scalar(query.order_by(Notification.id.desc()).limit(1))


def forget_notifications(session: Session, days: int, most: int) -> int:
    """Deletes up to `most` that are older than so many days, with what hangs on them; how many."""
    statement = text(
        """
        DELETE FROM notifications WHERE id = ANY(ARRAY(
            SELECT id FROM notifications WHERE at < now() - make_interval(days => :days)
            ORDER BY at LIMIT :most))
        RETURNING id
        """
    )
    return len(session.execute(statement, {"days": days, "most": most}).all())


def forget_sold_out(session: Session, days: int) -> int:
    """Deletes what was noted longer ago than so many days; how many."""
    statement = text("DELETE FROM sold_out WHERE at < now() - make_interval(days => :days) RETURNING draw_id")
    return len(session.execute(statement, {"days": days}).all())
