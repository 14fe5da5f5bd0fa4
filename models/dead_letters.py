"""What could not be done: letters that wait for a person, and what is tried again by itself."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Integer, LargeBinary, PrimaryKeyConstraint, Select, Text, func, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Base, Big, Instant, Json, Str
from models.draws import Draw

RECORD, TASK, MESSAGE = "record", "task", "message"

READ_LETTERS = 500


class DeadLetter(Base):
    """A record of a journal that the database refused, a task that failed for good, or a message nobody understood."""

    __tablename__ = "dead_letters"

    id: Mapped[Big] = mapped_column(primary_key=True)
    kind: Mapped[Str]
    queue: Mapped[Str]
    task: Mapped[str | None] = mapped_column(Text)
    arguments: Mapped[Json | None]
    draw_id: Mapped[int | None] = mapped_column(ForeignKey("draws.id"))
    serial: Mapped[Big | None]
    sub: Mapped[int | None] = mapped_column(Integer)
    body: Mapped[bytes | None] = mapped_column(LargeBinary)
    error: Mapped[Str]
    sqlstate: Mapped[str | None] = mapped_column(Text)
    traceback: Mapped[str | None] = mapped_column(Text)
    status: Mapped[Str] = mapped_column(server_default="waiting")
    attempts: Mapped[int] = mapped_column(Integer, server_default="1")
    first_at: Mapped[Instant] = mapped_column(server_default=func.now())
    last_at: Mapped[Instant] = mapped_column(server_default=func.now())
    ended_by: Mapped[Big | None] = mapped_column(ForeignKey("users.id"))
    ended_at: Mapped[Instant | None]
    end_reason: Mapped[str | None] = mapped_column(Text)

    def record(self) -> tuple[tuple[int, int], bytes]:
        """Of a letter of that kind: its (serial, sub) in the journal, and its bytes."""
        assert self.serial is not None
        assert self.sub is not None
        assert self.body is not None
        return (self.serial, self.sub), self.body


class Retry(Base):
    """A task that failed and will be rung for again."""

    __tablename__ = "retries"
    __table_args__ = (PrimaryKeyConstraint("task", "arguments"),)

    task: Mapped[Str]
    arguments: Mapped[Json]
    queue: Mapped[Str]
    attempts: Mapped[int] = mapped_column(Integer)
    failures: Mapped[int] = mapped_column(Integer, server_default="0")
    losses: Mapped[int] = mapped_column(Integer, server_default="0")
    first_at: Mapped[Instant] = mapped_column(server_default=func.now())
    last_at: Mapped[Instant] = mapped_column(server_default=func.now())
    due_at: Mapped[Instant]
    error: Mapped[Str]
    traceback: Mapped[str | None] = mapped_column(Text)


@dataclass(frozen=True)
class LetterFilter:
    """Which letters a list shows; None does not ask. `draw`: the name of one; only records have one."""

    status: str | None = "waiting"
    kind: str | None = None
    draw: str | None = None


def letters_page(
    session: Session, wanted: LetterFilter, limit: int, before: int | None
) -> Sequence[tuple[DeadLetter, str | None]]:
    """Up to `limit` (letter, its draw's name), newest first, with ids under `before`."""
    query = select(DeadLetter, Draw.name).outerjoin(Draw, Draw.id == DeadLetter.draw_id)
    asked = ((DeadLetter.status, wanted.status), (DeadLetter.kind, wanted.kind), (Draw.name, wanted.draw))
    for column, value in asked:
        if value is not None:
            query = query.where(column == value)
    if before is not None:
        query = query.where(DeadLetter.id < before)
    return [(letter, name) for letter, name in session.execute(query.order_by(DeadLetter.id.desc()).limit(limit))]


def letters_between(
    session: Session, draw_id: int | None, since: datetime | None, before: datetime | None
) -> Generator[list[tuple[DeadLetter, str | None]], None, None]:
    """(letter, its draw's name), oldest first, READ_LETTERS at a time: of a draw, or first written in the period.

    Close it when it is left early.
    """
    query = _between(
        select(DeadLetter, Draw.name).outerjoin(Draw, Draw.id == DeadLetter.draw_id), draw_id, since, before
    )
    result = session.execute(query.order_by(DeadLetter.id).execution_options(yield_per=READ_LETTERS))
    try:
        for part in result.partitions(READ_LETTERS):
            yield [(letter, name) for letter, name in part]
    finally:
        result.close()


def letter_counts(
    session: Session, draw_id: int | None, since: datetime | None, before: datetime | None
) -> dict[str, int]:
    """How many of these letters there are by status."""
    query = _between(select(DeadLetter.status, func.count()), draw_id, since, before).group_by(DeadLetter.status)
    return {row[0]: row[1] for row in session.execute(query)}


def _between(
    query: Select[*tuple[Any, ...]], draw_id: int | None, since: datetime | None, before: datetime | None
) -> Select[*tuple[Any, ...]]:
    if draw_id is not None:
        query = query.where(DeadLetter.draw_id == draw_id)
    if since is not None:
        query = query.where(DeadLetter.first_at >= since)
    return query if before is None else query.where(DeadLetter.first_at < before)


def waiting_records(session: Session, draw_id: int) -> Sequence[DeadLetter]:
    """The draw's records that are not dealt with yet, in journal order."""
    return _records(session, draw_id, "waiting")


def annulled_records(session: Session, draw_id: int) -> Sequence[DeadLetter]:
    """The draw's records that two persons annulled, in journal order. They keep their places, and count for nothing."""
    return _records(session, draw_id, "annulled")


def _records(session: Session, draw_id: int, status: str) -> Sequence[DeadLetter]:
    query = select(DeadLetter).where(DeadLetter.draw_id == draw_id, DeadLetter.status == status)
    return session.scalars(query.order_by(DeadLetter.serial, DeadLetter.sub)).all()
