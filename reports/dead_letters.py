"""What could not be done: letters of a draw or of a period, and what became of them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from intake.records import BadRecord, Position, TicketRecord, VoidRecord, decode
from models.dead_letters import RECORD, DeadLetter, letter_counts, letters_between
from models.people import sees_everyone, those_below
from reports.about import about, scope_facts
from reports.document import Column, Document, Fact, Kind, Table
from reports.kinds import Scope, Sources
from rules.tickets import ticket_number

_COLUMNS = (
    Column("id", "Letter", Kind.ID),
    Column("kind", "Kind"),
    Column("status", "State"),
    Column("queue", "Queue"),
    Column("task", "Task"),
    Column("draw_id", "Draw"),
    Column("position", "Place in the journal"),
    Column("what", "Record"),
    Column("number", "Ticket"),
    Column("agent_id", "Agent", Kind.ID),
    Column("stake", "Stake", Kind.MONEY),
    Column("error", "Error"),
    Column("sqlstate", "SQLSTATE"),
    Column("attempts", "Attempts", Kind.COUNT),
    Column("first_at", "First", Kind.INSTANT),
    Column("last_at", "Last", Kind.INSTANT),
    Column("ended_by", "Ended by", Kind.ID),
    Column("ended_at", "Ended", Kind.INSTANT),
    Column("end_reason", "Reason"),
)
_STATUSES = ("waiting", "replayed", "annulled", "discarded")
_KINDS = {"v": "void", "c": "cancel"}


def build(sources: Sources, scope: Scope) -> Document:
    """Letters of a draw, or first written in a period; no bodies, arguments and tracebacks.

    Who does not see everyone gets records of his own agents, and of tasks and messages, which are nobody's, what they
    were and when: an error's text may name others.
    """
    session, draw_id = sources.session, scope.draw.id if scope.draw is not None else None
    facts = list(scope_facts(session, scope))
    if sees_everyone(scope.top):
        counts = letter_counts(session, draw_id, scope.since, scope.before)
        facts += [Fact(name, name.capitalize(), counts.get(name, 0), Kind.COUNT) for name in _STATUSES]
    table = Table("letters", "Letters", _COLUMNS, _rows(sources, scope, draw_id))
    return Document("dead_letters", "Dead letters", about(scope), tuple(facts), (table,))


def _rows(sources: Sources, scope: Scope, draw_id: int | None) -> Iterator[tuple[Any, ...]]:
    everyone = sees_everyone(scope.top)
    for letters in letters_between(sources.session, draw_id, scope.since, scope.before):
        records = {letter.id: _record(letter) for letter, _ in letters}
        named = {record.agent_id for record in records.values() if record is not None}
        named |= {letter.ended_by for letter, _ in letters if letter.ended_by is not None}
        seen = named if everyone else those_below(sources.session, scope.top.id, named)
        for letter, draw in letters:
            record = records[letter.id]
            if everyone or letter.kind != RECORD or (record is not None and record.agent_id in seen):
                error = letter.error if everyone or letter.kind == RECORD else None
                by = letter.ended_by if letter.ended_by in seen else None
                reason = letter.end_reason if everyone or letter.kind == RECORD else None
                yield _row(letter, draw, record, error, (by, letter.ended_at, reason))


def _record(letter: DeadLetter) -> TicketRecord | VoidRecord | None:
    """None: it is no ticket's, or nobody can read it."""
    if letter.kind != RECORD or letter.body is None:
        return None
    try:
        record = decode(letter.body)
    except BadRecord:
        return None
    return record if isinstance(record, TicketRecord | VoidRecord) else None


def _row(
    letter: DeadLetter,
    draw: str | None,
    record: TicketRecord | VoidRecord | None,
    error: str | None,
    end: tuple[int | None, datetime | None, str | None],
) -> tuple[Any, ...]:
    place = Position(*letter.record()[0]) if letter.kind == RECORD else None
    about_ticket: tuple[Any, ...] = (None, None, None, None)
    if record is not None and place is not None:
        serial = place.serial if isinstance(record, TicketRecord) else record.ticket_serial
        number = ticket_number(draw, serial) if draw is not None and serial else None
        what = "ticket" if isinstance(record, TicketRecord) else _KINDS[record.kind]
        about_ticket = (what, number, record.agent_id, record.stake)
    return (
        *(letter.id, letter.kind, letter.status, letter.queue, letter.task, draw, str(place) if place else None),
        *about_ticket,
        *(error, letter.sqlstate, letter.attempts, letter.first_at, letter.last_at),
        *end,
    )
