"""Tables of the baselines, as an ordinary application has them; in a schema of their own."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger, DateTime, ForeignKey, Text, UniqueConstraint, create_engine, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship, sessionmaker

SCHEMA = "bench"
LIMIT = 10**15  # centavos on one number: the benchmark's tickets never sell out, here as with the service


class Base(DeclarativeBase):
    """Every table's parent."""


class Wallet(Base):
    """What an agent may still sell for, centavos."""

    __tablename__ = "wallets"

    agent: Mapped[str] = mapped_column(Text, primary_key=True)
    balance: Mapped[int] = mapped_column(BigInteger)


class Exposure(Base):
    """The stake on each number, centavos."""

    __tablename__ = "exposures"

    number: Mapped[str] = mapped_column(Text, primary_key=True)
    stake: Mapped[int] = mapped_column(BigInteger)


class Ticket(Base):
    """One ticket with its lines."""

    __tablename__ = "tickets"
    __table_args__ = (UniqueConstraint("ticket_id"),)

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=True)
    ticket_id: Mapped[str] = mapped_column(Text)
    agent: Mapped[str] = mapped_column(Text, index=True)
    draw: Mapped[str] = mapped_column(Text, index=True)
    stake: Mapped[int] = mapped_column(BigInteger)
    status: Mapped[str] = mapped_column(Text, default="accepted")
    prize: Mapped[int] = mapped_column(BigInteger, default=0)
    accepted_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=lambda: datetime.now(UTC))
    lines: Mapped[list[Line]] = relationship(back_populates="ticket")


class Line(Base):
    """One bet of a ticket."""

    __tablename__ = "lines"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=True)
    ticket_pk: Mapped[int] = mapped_column(ForeignKey("tickets.id"), index=True)
    play: Mapped[str] = mapped_column(Text)
    number: Mapped[str] = mapped_column(Text)
    stake: Mapped[int] = mapped_column(BigInteger)
    ticket: Mapped[Ticket] = relationship(back_populates="lines")


def sessions(url: str | None = None) -> sessionmaker[Session]:
    """Sessions on the baselines' schema; `url` or BENCH_DATABASE_URL."""
    options = {"options": f"-c search_path={SCHEMA}"}
    return sessionmaker(create_engine(url or os.environ["BENCH_DATABASE_URL"], pool_size=32, connect_args=options))


def create(owner_url: str, agents: list[str], balance: int) -> None:
    """Makes schema and tables anew, with a wallet for every agent."""
    engine = create_engine(owner_url)
    with engine.begin() as connection:
        connection.execute(text(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE"))
        connection.execute(text(f"CREATE SCHEMA {SCHEMA}"))
    engine.dispose()
    made = sessions(owner_url)
    Base.metadata.create_all(made.kw["bind"])
    with made.begin() as session:
        session.add_all([Wallet(agent=agent, balance=balance) for agent in agents])
        session.add_all([Exposure(number=f"{number:03}", stake=0) for number in range(1000)])
    made.kw["bind"].dispose()


def store(session: Session, agent: str, body: dict[str, Any]) -> Ticket:
    """What both baselines do with a ticket: limits, credit, rows. Raises ValueError for what is refused."""
    stake = sum(line["stake"] for line in body["lines"])
    for line in sorted(body["lines"], key=lambda line: str(line["number"])):
        row = session.get_one(Exposure, line["number"], with_for_update=True)
        if row.stake + line["stake"] > LIMIT:
            raise ValueError("sold out")
        row.stake += line["stake"]
    wallet = session.get_one(Wallet, agent, with_for_update=True)
    if wallet.balance < stake:
        raise ValueError("no credit")
    wallet.balance -= stake
    ticket = Ticket(ticket_id=body["id"], agent=agent, draw=body["draw_id"], stake=stake)
    ticket.lines = [Line(play=line["play"], number=line["number"], stake=line["stake"]) for line in body["lines"]]
    session.add(ticket)
    session.flush()
    return ticket
