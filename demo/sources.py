"""The same tickets read from two other places: the journal, and PostgreSQL; read-only, behind the API's back."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from actions import audit_chain
from actions import books as own_books
from demo.servers import Servers
from intake.client import identify, make_client
from intake.journal import Journal
from intake.records import GapRecord, TicketRecord, VoidRecord, decode
from intake.replication import Replication
from models.draws import Draw
from models.ledger import Account, Entry, Posting, balances
from models.session import make_sessions
from models.tickets import Gap, TicketLine, Void
from models.tickets import Ticket as StoredTicket
from rules.tickets import Line, Ticket

Place = tuple[str, int]  # a draw's name and a serial

TIMEOUT_S = 30.0


@dataclass
class Found:
    """What one place knows of the day's draws."""

    tickets: dict[Place, Ticket] = field(default_factory=dict)
    voided: set[Place] = field(default_factory=set)
    gaps: int = 0  # records of serials that were never issued


@dataclass
class Books:
    """The ledger: centavos, credits positive."""

    total: int
    unbalanced: int  # entries whose postings do not add up to zero
    accounts: dict[str, int]  # by kind
    wallets: dict[int, int]  # by user
    differences: int = 0  # found by the books' own check
    tampered: int = 0  # found by the audit log's own check


def from_journal(servers: Servers, draws: Sequence[str]) -> Found:
    """Every record of the draws' journals. Raises BadRecord, IntakeUnavailable."""
    client = make_client(servers.redis_url, timeout_s=TIMEOUT_S, connections=1)
    journal = Journal(client, Replication())
    journal.generation = identify(client).generation
    found = Found()
    for draw in draws:
        for position, raw in journal.all(draw):
            record = decode(raw)
            if isinstance(record, TicketRecord):
                place = draw, position.serial
                ticket_id = str(uuid.UUID(record.id))
                found.tickets[place] = Ticket(
                    *place, ticket_id, record.agent_id, record.accepted_ms, record.lines, record.available
                )
            elif isinstance(record, VoidRecord) and record.ticket_serial:
                found.voided.add((draw, record.ticket_serial))
            elif isinstance(record, GapRecord):
                found.gaps += 1
    client.close()
    return found


def from_database(servers: Servers, draws: Sequence[str]) -> tuple[Found, Books]:
    """Every row of the draws' tickets, and the ledger."""
    sessions = make_sessions(servers.database_url, pool_size=1)
    found = Found()
    with sessions() as session:
        for draw in session.scalars(select(Draw).where(Draw.name.in_(draws))):
            _take_rows(session, draw, found)
        books = _read_ledger(session)
        books.differences = len(own_books.check(session))
    with sessions() as session:
        heads = (servers.var_dir / audit_chain.HEADS_FILE).read_text().splitlines()
        books.tampered = len(audit_chain.verify(session, heads)[1])
    sessions.kw["bind"].dispose()
    return found, books


def _take_rows(session: Session, draw: Draw, found: Found) -> None:
    here = (StoredTicket.draw_date == draw.date, StoredTicket.draw_id == draw.id)
    of_line = (TicketLine.draw_date == draw.date, TicketLine.draw_id == draw.id)
    lines: dict[int, list[Line]] = {}
    columns = (TicketLine.serial, TicketLine.play, TicketLine.number, TicketLine.stake)
    query = select(*columns).where(*of_line).order_by(TicketLine.serial, TicketLine.line_no)
    for serial, play, number, stake in session.execute(query):
        lines.setdefault(serial, []).append(Line(play, number, stake))
    for row in session.execute(select(*StoredTicket.__table__.columns).where(*here)):
        of = (str(row.id), row.agent_id, _ms(row.accepted_at), tuple(lines.get(row.serial, ())), row.available)
        found.tickets[draw.name, row.serial] = Ticket(draw.name, row.serial, *of)
    voids = select(Void.ticket_serial).where(Void.draw_id == draw.id, Void.ticket_serial.is_not(None))
    found.voided.update((draw.name, serial) for serial in session.scalars(voids) if serial)
    found.gaps += session.scalar(select(func.count()).where(Gap.draw_id == draw.id)) or 0


def _read_ledger(session: Session) -> Books:
    accounts = dict(balances(session))
    of_entry = select(Posting.entry_id).group_by(Posting.entry_id).having(func.sum(Posting.amount) != 0)
    unbalanced = session.scalar(select(func.count()).select_from(of_entry.subquery())) or 0
    empty = select(func.count()).select_from(Entry).where(~select(Posting).where(Posting.entry_id == Entry.id).exists())
    unbalanced += session.scalar(empty) or 0
    query = select(Account.user_id, func.sum(Posting.amount)).join(Posting, Posting.account_id == Account.id)
    rows = session.execute(query.where(Account.user_id.is_not(None)).group_by(Account.user_id))
    wallets = {int(user_id): int(amount) for user_id, amount in rows if user_id}
    return Books(sum(accounts.values()), unbalanced, accounts, wallets)


def _ms(instant: datetime) -> int:
    return round(instant.timestamp() * 1000)
