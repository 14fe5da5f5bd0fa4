"""What the journal becomes in the database: tickets, lines, voids, gaps, closings, dead letters and the sums."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date as Date
from datetime import datetime

from sqlalchemy import (
    ForeignKey,
    Integer,
    PrimaryKeyConstraint,
    SmallInteger,
    Uuid,
    or_,
    select,
    tuple_,
)
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Base, Big, Instant, Str
from models.people import User


class Ticket(Base):
    """An accepted ticket as sold. Whether it was voided stands in `voids`."""

    __tablename__ = "tickets"
    __table_args__ = (PrimaryKeyConstraint("draw_date", "draw_id", "serial"),)

    draw_date: Mapped[Date]
    draw_id: Mapped[int] = mapped_column(Integer)
    serial: Mapped[Big]
    id: Mapped[uuid.UUID] = mapped_column(Uuid)
    agent_id: Mapped[Big]
    accepted_at: Mapped[Instant]
    stake: Mapped[Big]
    available: Mapped[Big]


class TicketLine(Base):
    """One bet of a ticket, numbered from 1 in the order of the slip."""

    __tablename__ = "ticket_lines"
    __table_args__ = (PrimaryKeyConstraint("draw_date", "draw_id", "serial", "line_no"),)

    draw_date: Mapped[Date]
    draw_id: Mapped[int] = mapped_column(Integer)
    serial: Mapped[Big]
    line_no: Mapped[int] = mapped_column(SmallInteger)
    play: Mapped[Str]
    number: Mapped[Str]
    stake: Mapped[Big]


class Void(Base):
    """A voided ticket or a dead id, at its place (serial, sub) in the journal."""

    __tablename__ = "voids"
    __table_args__ = (PrimaryKeyConstraint("draw_id", "serial", "sub"),)

    draw_id: Mapped[int] = mapped_column(Integer)
    serial: Mapped[Big]
    sub: Mapped[int] = mapped_column(Integer)
    kind: Mapped[Str]
    ticket_serial: Mapped[Big | None]
    ticket_id: Mapped[uuid.UUID] = mapped_column(Uuid)
    agent_id: Mapped[Big]
    stake: Mapped[Big]
    made_at: Mapped[Instant]
    reason: Mapped[Str]


class Gap(Base):
    """Serials that will never be issued, because a server came back with less than it had promised."""

    __tablename__ = "gaps"
    __table_args__ = (PrimaryKeyConstraint("draw_id", "last_serial"),)

    draw_id: Mapped[int] = mapped_column(Integer)
    first_serial: Mapped[Big]
    last_serial: Mapped[Big]
    made_at: Mapped[Instant]


class Closing(Base):
    """The journal's last record of a draw, with what the gate had counted."""

    __tablename__ = "closings"

    draw_id: Mapped[int] = mapped_column(ForeignKey("draws.id"), primary_key=True, autoincrement=False)
    serial: Mapped[Big]
    sub: Mapped[int] = mapped_column(Integer)
    made_at: Mapped[Instant]
    tickets: Mapped[Big]
    stake: Mapped[Big]
    voids: Mapped[Big]
    voided_stake: Mapped[Big]
    why: Mapped[Str]


class AgentSum(Base):
    """What an agent sold in a draw, as far as the position."""

    __tablename__ = "agent_sums"
    __table_args__ = (PrimaryKeyConstraint("draw_id", "agent_id"),)

    draw_id: Mapped[int] = mapped_column(Integer)
    agent_id: Mapped[Big]
    tickets: Mapped[Big]
    stake: Mapped[Big]
    voids: Mapped[Big]
    voided_stake: Mapped[Big]


class Exposure(Base):
    """The live stake on one bet of a draw, as far as the position; rambolito by its sorted number."""

    __tablename__ = "exposures"
    __table_args__ = (PrimaryKeyConstraint("draw_id", "play", "key"),)

    draw_id: Mapped[int] = mapped_column(Integer)
    play: Mapped[Str]
    key: Mapped[Str]
    stake: Mapped[Big]


def ticket_by_serial(session: Session, draw_id: int, draw_date: Date, serial: int) -> Ticket | None:
    """The stored ticket with that serial; the date names the partition."""
    return session.get(Ticket, (draw_date, draw_id, serial))


def ticket_by_id(session: Session, draw_id: int, draw_date: Date, ticket_id: str) -> Ticket | None:
    """The stored ticket with the id that its terminal gave it."""
    query = select(Ticket).where(
        Ticket.draw_date == draw_date, Ticket.draw_id == draw_id, Ticket.id == uuid.UUID(ticket_id)
    )
    return session.scalar(query)


def lines_of(session: Session, tickets: Sequence[Ticket]) -> dict[tuple[int, int], list[TicketLine]]:
    """The lines of stored tickets in the order of the slips, by (draw's id, serial)."""
    found: dict[tuple[int, int], list[TicketLine]] = {(t.draw_id, t.serial): [] for t in tickets}
    by_draw: dict[tuple[Date, int], list[int]] = {}
    for ticket in tickets:
        by_draw.setdefault((ticket.draw_date, ticket.draw_id), []).append(ticket.serial)
    for (day, draw_id), serials in by_draw.items():
        query = select(TicketLine).where(
            TicketLine.draw_date == day, TicketLine.draw_id == draw_id, TicketLine.serial.in_(serials)
        )
        for line in session.scalars(query.order_by(TicketLine.serial, TicketLine.line_no)):
            found[line.draw_id, line.serial].append(line)
    return found


def voids_of_id(session: Session, draw_id: int, ticket_id: str) -> Sequence[Void]:
    """Voids and cancels of that ticket id in journal order."""
    query = select(Void).where(Void.draw_id == draw_id, Void.ticket_id == uuid.UUID(ticket_id))
    return session.scalars(query.order_by(Void.serial, Void.sub)).all()


@dataclass(frozen=True)
class TicketFilter:
    """Which tickets a list shows; None does not ask. `below`: of this user and everyone under him."""

    below: int | None = None
    agent_id: int | None = None
    draw: tuple[int, Date] | None = None
    played: str | None = None
    stake: int | None = None
    accepted_from: datetime | None = None
    accepted_before: datetime | None = None


Cursor = tuple[datetime, int, int]  # accepted at, draw's id, serial


def tickets_page(session: Session, wanted: TicketFilter, limit: int, before: Cursor | None) -> Sequence[Ticket]:
    """Up to `limit` tickets, newest first, older than the cursor."""
    query = select(Ticket).order_by(Ticket.accepted_at.desc(), Ticket.draw_id.desc(), Ticket.serial.desc()).limit(limit)
    if wanted.below is not None:
        under = select(User.id).where(or_(User.id == wanted.below, User.ancestors.contains([wanted.below])))
        query = query.where(Ticket.agent_id.in_(under))
    if wanted.agent_id is not None:
        query = query.where(Ticket.agent_id == wanted.agent_id)
    if wanted.draw is not None:
        query = query.where(Ticket.draw_id == wanted.draw[0], Ticket.draw_date == wanted.draw[1])
    if wanted.played is not None:
        line = select(TicketLine.serial).where(
            TicketLine.draw_date == Ticket.draw_date,
            TicketLine.draw_id == Ticket.draw_id,
            TicketLine.serial == Ticket.serial,
            TicketLine.number == wanted.played,
        )
        query = query.where(line.exists())
    if wanted.stake is not None:
        query = query.where(Ticket.stake == wanted.stake)
    if wanted.accepted_from is not None:
        query = query.where(Ticket.accepted_at >= wanted.accepted_from)
    if wanted.accepted_before is not None:
        query = query.where(Ticket.accepted_at < wanted.accepted_before)
    if before is not None:
        query = query.where(tuple_(Ticket.accepted_at, Ticket.draw_id, Ticket.serial) < tuple_(*before))
    return session.scalars(query).all()


def exposure_of(session: Session, draw_id: int) -> dict[tuple[str, str], int]:
    """Live stake by (play, key), as far as the position."""
    rows = session.execute(select(Exposure.play, Exposure.key, Exposure.stake).where(Exposure.draw_id == draw_id))
    return {(play, key): stake for play, key, stake in rows}
