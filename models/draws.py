"""Draws, their positions in the journal, intents that tighten them, and requests waiting for a second person."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import date as Date
from datetime import datetime
from datetime import time as Time
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Integer, PrimaryKeyConstraint, Text, Uuid, func, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Base, Big, Instant, Json, Str
from models.events import note_event
from models.notifications import tell
from rules.draws import DrawStatus, may_become
from rules.errors import NoSuchDraw
from rules.notifications import draw_state
from rules.rooms import EVERYBODY


class Game(Base):
    """A game's prices, limits and schedule for draws not yet opened."""

    __tablename__ = "games"

    game: Mapped[Str] = mapped_column(primary_key=True)
    prize_table: Mapped[Json]
    limits: Mapped[Json]
    limits_by_number: Mapped[Json] = mapped_column(server_default="{}")
    times: Mapped[Json]
    changed_at: Mapped[Instant] = mapped_column(server_default=func.now())


class CancelledDate(Base):
    """A date on which the schedule makes no draws of the game."""

    __tablename__ = "cancelled_dates"
    __table_args__ = (PrimaryKeyConstraint("game", "date"),)

    game: Mapped[Str] = mapped_column(ForeignKey("games.game"))
    date: Mapped[Date]
    reason: Mapped[Str]


class Draw(Base):
    """One draw; states and their order are in rules.draws, their ties to the timestamps in the migration."""

    __tablename__ = "draws"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    name: Mapped[Str]
    game: Mapped[Str] = mapped_column(ForeignKey("games.game"))
    date: Mapped[Date]
    time: Mapped[Time]
    opens_at: Mapped[Instant]
    cutoff_at: Mapped[Instant]
    draws_at: Mapped[Instant]
    status: Mapped[Str] = mapped_column(server_default="scheduled")
    asked_limits: Mapped[Json | None]
    prize_table: Mapped[Json | None]
    limits: Mapped[Json | None]
    limits_version: Mapped[int] = mapped_column(Integer, server_default="0")
    stopped: Mapped[str | None] = mapped_column(Text)
    opened_at: Mapped[Instant | None]
    closed_at: Mapped[Instant | None]
    sealed_at: Mapped[Instant | None]
    resulted_at: Mapped[Instant | None]
    settling_at: Mapped[Instant | None]
    settled_at: Mapped[Instant | None]
    voiding_at: Mapped[Instant | None]
    voided_at: Mapped[Instant | None]
    result: Mapped[str | None] = mapped_column(Text)
    result_version: Mapped[int] = mapped_column(Integer, server_default="0")
    checked_version: Mapped[int] = mapped_column(Integer, server_default="0")
    expired_at: Mapped[Instant | None]


class Position(Base):
    """How far a draw's journal is in the database, with the sums of what is there."""

    __tablename__ = "positions"

    draw_id: Mapped[int] = mapped_column(ForeignKey("draws.id"), primary_key=True, autoincrement=False)
    serial: Mapped[Big] = mapped_column(server_default="0")
    sub: Mapped[int] = mapped_column(Integer, server_default="0")
    tickets: Mapped[Big] = mapped_column(server_default="0")
    stake: Mapped[Big] = mapped_column(server_default="0")
    voids: Mapped[Big] = mapped_column(server_default="0")
    voided_stake: Mapped[Big] = mapped_column(server_default="0")
    moved_at: Mapped[Instant] = mapped_column(server_default=func.now())


class DrawLimits(Base):
    """One version of an opened draw's limits."""

    __tablename__ = "draw_limits"
    __table_args__ = (PrimaryKeyConstraint("draw_id", "version"),)

    draw_id: Mapped[int] = mapped_column(ForeignKey("draws.id"))
    version: Mapped[int] = mapped_column(Integer)
    limits: Mapped[Json]
    made_by: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("users.id"))
    made_at: Mapped[Instant] = mapped_column(server_default=func.now())


class Intent(Base):
    """Something that tightens, about a draw or about a user: asked, applied by the gate, then posted."""

    __tablename__ = "intents"

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, server_default=func.gen_random_uuid())
    kind: Mapped[Str]
    draw_id: Mapped[int | None] = mapped_column(Integer, ForeignKey("draws.id"))
    user_id: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("users.id"))
    payload: Mapped[Json]
    asked_by: Mapped[Big | None] = mapped_column(ForeignKey("users.id"))
    asked_at: Mapped[Instant] = mapped_column(server_default=func.now())
    status: Mapped[Str] = mapped_column(server_default="asked")
    done_at: Mapped[Instant | None]


class PendingApproval(Base):
    """The first of two persons' requests, about a draw (its name), a game, or a dead letter ("dead_letter:5")."""

    __tablename__ = "pending_approvals"
    __table_args__ = (PrimaryKeyConstraint("object", "kind"),)

    object: Mapped[Str]
    kind: Mapped[Str]
    content: Mapped[Json]
    asked_by: Mapped[Big] = mapped_column(ForeignKey("users.id"))
    asked_at: Mapped[Instant] = mapped_column(server_default=func.now())


_EVENTS = {
    "open": "draw.opened",
    "closed": "draw.closed",
    "sealed": "draw.sealed",
    "settled": "draw.settled",
    "void": "draw.void",
}


def draw_by_name(session: Session, name: str) -> Draw | None:
    """The draw of that name."""
    return session.scalar(select(Draw).where(Draw.name == name))


def lock_draw(session: Session, name: str) -> Draw:
    """The draw with its row locked until the transaction ends, read anew. Raises NoSuchDraw."""
    query = select(Draw).where(Draw.name == name).with_for_update().execution_options(populate_existing=True)
    draw = session.scalar(query)
    if draw is None:
        raise NoSuchDraw
    return draw


def advance(session: Session, draw_id: int, was: Sequence[str], becomes: str, **values: Any) -> bool:
    """Moves a draw from one of the states `was` to `becomes` by compare-and-set, and notes what is to be told of it.

    False: another one was first.
    """
    assert all(may_become(DrawStatus(status), DrawStatus(becomes)) for status in was), (was, becomes)
    statement = update(Draw).where(Draw.id == draw_id, Draw.status.in_(was)).values(status=becomes, **values)
    row = session.execute(statement.returning(Draw.name, Draw.result, Draw.result_version)).first()
    if row is None:
        return False
    # A correction is a result, too.
    event = "draw.result" if "result" in values else _EVENTS.get(becomes)
    if event is not None:
        data = {"draw_id": row.name, "status": becomes}
        if row.result is not None:
            data |= {"result": row.result, "version": row.result_version}
        note_event(session, event, data, [EVERYBODY])
    tell(session, draw_state(row.name, becomes, row.result, row.result_version))
    return True


def draws_in(session: Session, *statuses: str) -> Sequence[Draw]:
    """Draws in these states, the earliest cutoff first."""
    return session.scalars(select(Draw).where(Draw.status.in_(statuses)).order_by(Draw.cutoff_at, Draw.id)).all()


def due_to_open(session: Session, now: datetime) -> Sequence[Draw]:
    """Scheduled draws whose opening time has come."""
    query = select(Draw).where(Draw.status == "scheduled", Draw.opens_at <= now)
    return session.scalars(query.order_by(Draw.opens_at, Draw.id)).all()


def waiting_intents(session: Session, draw_id: int | None = None) -> Sequence[Intent]:
    """Intents that the gate has not answered, oldest first."""
    query = select(Intent).where(Intent.status == "asked")
    if draw_id is not None:
        query = query.where(Intent.draw_id == draw_id)
    return session.scalars(query.order_by(Intent.asked_at)).all()


def close_was_asked(session: Session, draw_id: int) -> bool:
    """Whether anybody ever meant to close the draw by hand."""
    query = select(Intent.id).where(Intent.draw_id == draw_id, Intent.kind == "close").limit(1)
    return session.scalar(query) is not None
