"""What the places know in the end, read from outside: SQL, the journals' streams, and HTTP."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import psycopg

from demo.servers import Servers
from demo.sources import Place
from intake.client import identify, make_client
from intake.gate_errors import translated
from intake.journal import Journal
from intake.records import CloseRecord, GapRecord, OpenRecord, TicketRecord, VoidRecord, decode
from intake.replication import Replication
from rules.errors import Problem
from rules.tickets import Line, Ticket

Gap = tuple[int, int]  # first and last serial

TIMEOUT_S = 20.0


class VoidRow(NamedTuple):
    """A void or a cancel at its place in the journal; `ticket` is the serial of what it takes back, 0 for nothing."""

    serial: int
    sub: int
    kind: str  # void or cancel
    ticket: int
    id: str
    agent_id: int
    stake: int
    made_ms: int


class Marker(NamedTuple):
    """A close marker at its place, with what the gate had counted."""

    serial: int
    sub: int
    made_ms: int
    tickets: int
    stake: int
    voids: int
    voided_stake: int


@dataclass
class JournalCopy:
    """A draw's journal as it was read."""

    tickets: dict[Place, Ticket] = field(default_factory=dict)
    voids: list[VoidRow] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    marker: Marker | None = None
    strange: list[str] = field(default_factory=list)  # what has no business there


@dataclass
class StoredDraw:
    """A draw as PostgreSQL has it; instants in ms since 1970."""

    name: str
    status: str
    stopped: str | None
    cutoff_ms: int
    position: tuple[int, int]
    marker: Marker | None
    prizes: dict[str, int]
    results: dict[int, str]  # by version
    gaps: list[Gap] = field(default_factory=list)
    voids: list[VoidRow] = field(default_factory=list)
    closed_by_hand: bool = False


class ClaimRow(NamedTuple):
    """A claim that was paid; centavos."""

    id: int
    number: str
    user_id: int
    version: int
    prize: int
    tax: int


@dataclass
class Stored:
    """What PostgreSQL holds; money in centavos."""

    draws: dict[str, StoredDraw]
    tickets: dict[Place, Ticket]
    winners: dict[tuple[str, int], dict[int, int]]  # prize by serial, of each draw and version
    claims: list[ClaimRow]
    payouts: dict[str, tuple[int, int]]  # what was paid on a ticket, and the tax of it
    balances: dict[int, int]  # by user
    posted: dict[int, int]  # by user, from the postings
    accounts: dict[str, int]  # the house's, by kind
    unbalanced: int
    leftovers: dict[str, int]  # what should have been done by now, by what it is


# ── the journal ───────────────────────────────────────────────────────────────────────────────────────────


def read_journal(servers: Servers, draw: str) -> JournalCopy | None:
    """The draw's journal, if there is one now and the server answers."""
    client = make_client(servers.redis_url, timeout_s=TIMEOUT_S, connections=1)
    journal = Journal(client, Replication())
    copy, empty = JournalCopy(), True
    try:
        with translated():
            journal.generation = identify(client).generation
        for position, raw in journal.all(draw):
            empty = False
            _take(copy, draw, *position, raw)
    except Problem:
        return None
    finally:
        client.close()
    return None if empty else copy


def _take(copy: JournalCopy, draw: str, serial: int, sub: int, raw: bytes) -> None:
    record = decode(raw)
    if isinstance(record, TicketRecord) and not sub:
        of = (_hyphenated(record.id), record.agent_id, record.accepted_ms, record.lines, record.available)
        copy.tickets[draw, serial] = Ticket(draw, serial, *of)
    elif isinstance(record, VoidRecord):
        kind = {"v": "void", "c": "cancel"}[record.kind]
        of_it = (record.ticket_serial, _hyphenated(record.id), record.agent_id, record.stake, record.made_ms)
        copy.voids.append(VoidRow(serial, sub, kind, *of_it))
    elif isinstance(record, GapRecord):
        copy.gaps.append((record.first, record.last))
    elif isinstance(record, CloseRecord) and copy.marker is None:
        counts = (record.tickets, record.stake, record.voids, record.voided_stake)
        copy.marker = Marker(serial, sub, record.made_ms, *counts)
    elif not isinstance(record, OpenRecord):
        copy.strange.append(f"{serial}-{sub}: {raw[:80]!r}")


def _hyphenated(ticket_id: str) -> str:
    return str(uuid.UUID(ticket_id))


# ── the database ──────────────────────────────────────────────────────────────────────────────────────────

_MS = "round(extract(epoch FROM {}) * 1000)::bigint"

_DRAWS = f"""
    SELECT d.id, d.name, d.status, d.stopped, {_MS.format("d.cutoff_at")}, coalesce(p.serial, 0), coalesce(p.sub, 0),
           d.prize_table,
           EXISTS (SELECT FROM intents i WHERE i.draw_id = d.id AND i.kind = 'close' AND i.status <> 'refused')
    FROM draws d LEFT JOIN positions p ON p.draw_id = d.id WHERE d.opened_at IS NOT NULL"""
_CLOSINGS = f"SELECT draw_id, serial, sub, {_MS.format('made_at')}, tickets, stake, voids, voided_stake FROM closings"
_VOIDS = f"""
    SELECT draw_id, serial, sub, kind, coalesce(ticket_serial, 0), ticket_id::text, agent_id, stake,
           {_MS.format("made_at")}
    FROM voids ORDER BY draw_id, serial, sub"""
_TICKETS = f"""
    SELECT t.draw_id, t.serial, t.id::text, t.agent_id, {_MS.format("t.accepted_at")}, t.available,
           array_agg(l.play ORDER BY l.line_no), array_agg(l.number ORDER BY l.line_no),
           array_agg(l.stake ORDER BY l.line_no)
    FROM tickets t LEFT JOIN ticket_lines l USING (draw_date, draw_id, serial)
    GROUP BY t.draw_id, t.serial, t.id, t.agent_id, t.accepted_at, t.available"""
_CLAIMS = """
    SELECT id, number, claimed_by, coalesce(version, 0), prize, tax FROM claims WHERE status = 'paid' ORDER BY id"""
_POSTED = """
    SELECT a.user_id, sum(p.amount)::bigint FROM postings p JOIN accounts a ON a.id = p.account_id
    WHERE a.user_id IS NOT NULL GROUP BY a.user_id"""
_ACCOUNTS = """
    SELECT a.kind, coalesce(sum(p.amount), 0)::bigint FROM accounts a LEFT JOIN postings p ON p.account_id = a.id
    WHERE a.user_id IS NULL GROUP BY a.kind"""
_UNBALANCED = """
    SELECT count(*) FROM entries e
    WHERE (SELECT coalesce(sum(amount), 1) FROM postings p WHERE p.entry_id = e.id) <> 0"""

# Each is zero once everything that was begun has been done.
LEFTOVERS = {
    "draws that are not over": """
        SELECT count(*) FROM draws WHERE opened_at IS NOT NULL AND status NOT IN ('settled', 'void')""",
    "draws that stopped": "SELECT count(*) FROM draws WHERE stopped IS NOT NULL",
    "seals that failed": "SELECT count(*) FROM seal_failures",
    "steps of settlements not done": """
        SELECT count(*) FROM settlement_steps s JOIN draws d ON d.id = s.draw_id AND d.result_version = s.version
        WHERE s.status <> 'done'""",
    "intents not carried out": "SELECT count(*) FROM intents WHERE status = 'asked'",
    "outbox rows not applied": "SELECT count(*) FROM wallet_outbox WHERE applied_at IS NULL",
    "claims that wait": "SELECT count(*) FROM claims WHERE status = 'pending'",
    "tasks to be tried again": "SELECT count(*) FROM retries",
    "audit rows not chained": """
        SELECT count(*) FROM audit WHERE NOT EXISTS (SELECT FROM audit_chain c WHERE c.audit_id = audit.id)""",
    "dead letters": "SELECT count(*) FROM dead_letters",
}


def connect(servers: Servers) -> psycopg.Connection[tuple[Any, ...]]:
    """As the application's role. Raises psycopg.OperationalError."""
    return psycopg.connect(servers.database_url.replace("+psycopg", "", 1), connect_timeout=5)


def leftovers(servers: Servers) -> dict[str, int]:
    """What has not been done, by what it is. Raises psycopg.Error."""
    with connect(servers) as sql:
        return {what: _one(sql, query) for what, query in LEFTOVERS.items()}


def read_database(servers: Servers) -> Stored:
    """Everything, in one snapshot. Raises psycopg.Error."""
    with connect(servers) as sql:
        sql.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        names, draws = _draws(sql)
        return Stored(
            draws=draws,
            tickets={ticket[:2]: ticket for ticket in _tickets(sql, names)},
            winners=_winners(sql, names),
            claims=[ClaimRow(*row) for row in sql.execute(_CLAIMS)],
            payouts={number: (paid, tax) for number, paid, tax in sql.execute("SELECT number, paid, tax FROM payouts")},
            balances=dict(sql.execute("SELECT user_id, balance FROM wallets").fetchall()),
            posted=dict(sql.execute(_POSTED).fetchall()),
            accounts=dict(sql.execute(_ACCOUNTS).fetchall()),
            unbalanced=_one(sql, _UNBALANCED),
            leftovers={what: _one(sql, query) for what, query in LEFTOVERS.items()},
        )


def _one(sql: psycopg.Connection[tuple[Any, ...]], query: str) -> int:
    row = sql.execute(query).fetchone()
    assert row is not None
    return int(row[0])


def _draws(sql: psycopg.Connection[tuple[Any, ...]]) -> tuple[dict[int, str], dict[str, StoredDraw]]:
    names, draws = {}, {}
    markers = {draw_id: Marker(*rest) for draw_id, *rest in sql.execute(_CLOSINGS)}
    for draw_id, name, status, stopped, cutoff_ms, serial, sub, prizes, by_hand in sql.execute(_DRAWS):
        of_it = (cutoff_ms, (serial, sub), markers.get(draw_id), prizes)
        names[draw_id], draws[name] = name, StoredDraw(name, status, stopped, *of_it, {}, closed_by_hand=by_hand)
    for draw_id, version, number in sql.execute("SELECT draw_id, version, number FROM results"):
        draws[names[draw_id]].results[version] = number
    for draw_id, *gap in sql.execute("SELECT draw_id, first_serial, last_serial FROM gaps ORDER BY last_serial"):
        draws[names[draw_id]].gaps.append((gap[0], gap[1]))
    for draw_id, *row in sql.execute(_VOIDS):
        draws[names[draw_id]].voids.append(VoidRow(*row))
    return names, draws


def _tickets(sql: psycopg.Connection[tuple[Any, ...]], names: dict[int, str]) -> Iterator[Ticket]:
    for draw_id, serial, ticket_id, agent, accepted_ms, available, *columns in sql.execute(_TICKETS):
        lines = tuple(Line(*line) for line in zip(*columns, strict=True) if line[0] is not None)
        yield Ticket(names[draw_id], serial, ticket_id, agent, accepted_ms, lines, available)


def _winners(sql: psycopg.Connection[tuple[Any, ...]], names: dict[int, str]) -> dict[tuple[str, int], dict[int, int]]:
    found: dict[tuple[str, int], dict[int, int]] = {}
    query = "SELECT draw_id, version, serial, sum(prize)::bigint FROM winners GROUP BY draw_id, version, serial"
    for draw_id, version, serial, prize in sql.execute(query):
        found.setdefault((names[draw_id], version), {})[serial] = prize
    return found
