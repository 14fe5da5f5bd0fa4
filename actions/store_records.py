"""Storing records of one draw's journal: rows, dead letters and sums, all in the caller's transaction.

The caller holds the draw's position row. Used by the drain (many records) and by replaying a dead letter (one).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import func, insert, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from actions.compare_rows import differs_from_stored
from actions.told_while_storing import Bet, Crossed, filled, full_at, tell_of_batch
from intake.bets import summed
from intake.doorbell import QUEUES
from intake.records import (
    BadRecord,
    CloseRecord,
    GapRecord,
    OpenRecord,
    Position,
    Record,
    TicketRecord,
    VoidRecord,
    decode,
)
from models import journal_rows
from models.dead_letters import RECORD, DeadLetter
from models.draws import Draw
from models.draws import Position as PositionRow
from models.ledger import post
from models.people import add_to_balances, lock_wallets
from models.tickets import Void, lines_of, ticket_by_serial
from rules.errors import Contradiction
from rules.tickets import Line

DEAD_LETTERS_MAX = 10  # in one batch; more than that is not bad records but something wrong with us

PERSIST = "tickets.persist"  # the task that refused them

_ROW_ERROR_CLASSES = ("22", "23")  # data exception, integrity violation


class DrainStopped(RuntimeError):
    """The batch must not be stored; everything stays in the journal."""


class Differs(DrainStopped, Contradiction):
    """The journal and the database hold different records for one serial: this draw must not go on by itself."""


class Item(NamedTuple):
    """A record at its place, with the journal's own bytes."""

    position: Position
    raw: bytes
    record: Record


class Refused(NamedTuple):
    """A record that will become a dead letter."""

    position: Position
    raw: bytes
    reason: str
    sqlstate: str | None


@dataclass
class Sums:
    """What a batch adds to the books. Stakes in centavos; voids count against live stake and wallets."""

    agents: dict[int, list[int]] = field(default_factory=dict)  # tickets, stake, voids, voided stake
    exposure: dict[tuple[str, str], int] = field(default_factory=dict)

    def count(self, game: str, agent_id: int, lines: Sequence[Line], *, void: bool) -> None:
        sums = self.agents.setdefault(agent_id, [0, 0, 0, 0])
        sign, offset = (-1, 2) if void else (1, 0)
        sums[offset] += 1
        sums[offset + 1] += sum(line.stake for line in lines)
        for bet, stake in summed(game, lines).items():
            self.exposure[bet] = self.exposure.get(bet, 0) + sign * stake


def store(
    session: Session, draw: Draw, batch: Sequence[tuple[Position, bytes]], *, low_credit: int, keep: bool = True
) -> list[Refused]:
    """Stores the records, books their sums, and returns what the database refuses; `keep` makes dead letters of it.

    Tells what comes of it, also whose credit falls below `low_credit` centavos.
    Raises DrainStopped when more than DEAD_LETTERS_MAX would be refused, Differs when a stored row is not the
    journal's; database errors of other kinds pass through.
    """
    items, refused = _decode(batch)
    held = _waiting_serials(session, draw) if any(isinstance(i.record, VoidRecord) for i in items) else set()
    held |= {letter.position.serial for letter in refused if letter.position.sub == 0}
    sums = Sums()
    refused += _store_halving(session, draw, items, held, sums)
    if len(refused) > DEAD_LETTERS_MAX:
        raise DrainStopped(f"the database refused {len(refused)} of {len(batch)} records: {refused[0].reason}")
    letters = _keep(session, draw, refused) if keep else []
    full, low = _book(session, draw, sums, low_credit)
    tell_of_batch(session, draw, Crossed(letters, full, low, low_credit))
    return refused


def _decode(batch: Sequence[tuple[Position, bytes]]) -> tuple[list[Item], list[Refused]]:
    items: list[Item] = []
    refused: list[Refused] = []
    for position, raw in batch:
        try:
            items.append(Item(position, raw, decode(raw)))
        except BadRecord as error:
            refused.append(Refused(position, raw, str(error), None))
    return items, refused


def _waiting_serials(session: Session, draw: Draw) -> set[int]:
    query = select(DeadLetter.serial).where(DeadLetter.draw_id == draw.id, DeadLetter.status == "waiting")
    return {serial for serial in session.scalars(query.where(DeadLetter.sub == 0)) if serial is not None}


def _store_halving(session: Session, draw: Draw, items: list[Item], held: set[int], sums: Sums) -> list[Refused]:
    """Stores in a savepoint; a batch with a bad row is halved until the row stands alone."""
    if not items:
        return []
    mine = Sums()
    try:
        with session.begin_nested():
            waiting = _store_rows(session, draw, items, held, mine)
    except DBAPIError as error:
        reason = _row_error(error)
        if reason is None:
            raise
        if len(items) == 1:
            if items[0].position.sub == 0:
                held.add(items[0].position.serial)  # a refused ticket: its voids wait with it
            return [Refused(items[0].position, items[0].raw, *reason)]
        middle = len(items) // 2
        refused = _store_halving(session, draw, items[:middle], held, sums)
        if len(refused) > DEAD_LETTERS_MAX:
            return refused
        return refused + _store_halving(session, draw, items[middle:], held, sums)
    _merge(sums, mine)
    return waiting


def _row_error(error: DBAPIError) -> tuple[str, str] | None:
    """(reason, SQLSTATE) if a row is to blame; None if it is us, or the server."""
    state = getattr(error.orig, "sqlstate", None) or ""
    diagnosis = getattr(error.orig, "diag", None)
    if state[:2] not in _ROW_ERROR_CLASSES:
        return None
    if state == "23514" and getattr(diagnosis, "constraint_name", None) is None:
        return None  # "no partition found for row" wears the code of a CHECK, and condemns nobody's ticket
    return str(getattr(diagnosis, "message_primary", None) or error.orig), state


def _store_rows(session: Session, draw: Draw, items: list[Item], held: set[int], sums: Sums) -> list[Refused]:
    tickets = [item for item in items if isinstance(item.record, TicketRecord)]
    if tickets:
        _store_tickets(session, draw, tickets, sums)
    waiting = []
    for item in items:
        record = item.record
        if isinstance(record, VoidRecord):
            if record.ticket_serial in held:
                waiting.append(Refused(item.position, item.raw, "its ticket is a dead letter", None))
            else:
                _store_void(session, draw, item.position, record, tickets, sums)
        elif isinstance(record, GapRecord):
            journal_rows.insert_gap(session, draw.id, record.first, record.last, record.made_ms)
        elif isinstance(record, CloseRecord):
            marker = {
                **record._asdict(),
                "ms": record.made_ms,
                "serial": item.position.serial,
                "sub": item.position.sub,
            }
            journal_rows.insert_closing(session, draw.id, marker)
        else:
            assert isinstance(record, TicketRecord | OpenRecord)
    return waiting


def _store_tickets(session: Session, draw: Draw, items: list[Item], sums: Sums) -> None:
    rows = []
    for position, _, record in items:
        assert isinstance(record, TicketRecord)
        rows.append((position.serial, record.id, record.agent_id, record.accepted_ms, record.stake, record.available))
    stored = journal_rows.insert_tickets(session, draw.id, draw.date, rows)
    lines = []
    for position, _, record in items:
        assert isinstance(record, TicketRecord)
        if position.serial in stored:
            sums.count(draw.game, record.agent_id, record.lines, void=False)
            lines += [(position.serial, number, *line) for number, line in enumerate(record.lines, 1)]
    if lines:
        journal_rows.insert_lines(session, draw.id, draw.date, lines)
    if len(stored) < len(items):
        again = {i.position.serial: i.record for i in items if i.position.serial not in stored}
        if difference := differs_from_stored(session, draw, again):
            raise Differs(difference)


def _store_void(
    session: Session, draw: Draw, position: Position, record: VoidRecord, batch: list[Item], sums: Sums
) -> None:
    row = {
        "serial": position.serial,
        "sub": position.sub,
        "kind": "void" if record.kind == "v" else "cancel",
        "ticket_serial": record.ticket_serial or None,
        "ticket_id": record.id,
        "agent_id": record.agent_id,
        "stake": record.stake,
        "ms": record.made_ms,
        "reason": record.reason,
    }
    if not journal_rows.insert_void(session, draw.id, row):
        stored = session.get_one(Void, (draw.id, position.serial, position.sub))
        if (stored.ticket_id.hex, stored.ticket_serial, stored.stake) != (
            record.id,
            row["ticket_serial"],
            record.stake,
        ):
            raise Differs(f"void {position} in the journal is not the void {position} of the database")
    elif record.stake:
        lines = lines_of_ticket(session, draw, record.ticket_serial, batch)
        if sum(line.stake for line in lines) != record.stake:
            raise Differs(f"void {position} gives back another stake than ticket {record.ticket_serial} took")
        sums.count(draw.game, record.agent_id, lines, void=True)


def lines_of_ticket(session: Session, draw: Draw, serial: int, batch: Sequence[Item] = ()) -> tuple[Line, ...]:
    """The lines of a ticket of the batch, or of the stored one."""
    for item in batch:
        if item.position.serial == serial and isinstance(item.record, TicketRecord):
            return item.record.lines
    ticket = ticket_by_serial(session, draw.id, draw.date, serial)
    if ticket is None:
        raise Differs(f"a void names ticket {serial}, which is not there")
    stored = lines_of(session, [ticket])[draw.id, serial]
    return tuple(Line(line.play, line.number, line.stake) for line in stored)


def _merge(sums: Sums, more: Sums) -> None:
    for agent_id, counts in more.agents.items():
        mine = sums.agents.setdefault(agent_id, [0, 0, 0, 0])
        mine[:] = [a + b for a, b in zip(mine, counts, strict=True)]
    for bet, stake in more.exposure.items():
        sums.exposure[bet] = sums.exposure.get(bet, 0) + stake


def _keep(session: Session, draw: Draw, refused: Sequence[Refused]) -> list[int]:
    """Makes the dead letters; their ids."""
    return [
        session.execute(
            insert(DeadLetter)
            .values(
                kind=RECORD,
                queue=QUEUES[PERSIST],
                task=PERSIST,
                draw_id=draw.id,
                serial=letter.position.serial,
                sub=letter.position.sub,
                body=letter.raw,
                error=letter.reason,
                sqlstate=letter.sqlstate,
            )
            .returning(DeadLetter.id)
        ).scalar_one()
        for letter in refused
    ]


def _book(session: Session, draw: Draw, sums: Sums, low_credit: int) -> tuple[list[Bet], dict[int, int]]:
    """Sums, wallets and ledger entries of the rows just stored. An error here stops the drain.

    Gives the bets that this has filled up, and what agents have available whose credit it has brought below that.
    """
    if not sums.agents:
        return [], {}
    agents: dict[int, Any] = {agent: tuple(counts) for agent, counts in sums.agents.items()}
    full = journal_rows.add_sums(session, draw.id, agents, sums.exposure, full_at(draw))
    tickets, stake, voids, voided_stake = (sum(column) for column in zip(*sums.agents.values(), strict=True))
    session.execute(
        update(PositionRow)
        .where(PositionRow.draw_id == draw.id)
        .values(
            tickets=PositionRow.tickets + tickets,
            stake=PositionRow.stake + stake,
            voids=PositionRow.voids + voids,
            voided_stake=PositionRow.voided_stake + voided_stake,
            moved_at=func.now(),
        )
    )
    lock_wallets(session, list(sums.agents))
    low = add_to_balances(session, {agent: c[3] - c[1] for agent, c in sums.agents.items()}, low_credit)
    if stake:
        post(session, "sale", {a: -c[1] for a, c in sums.agents.items()}, {"sales": stake}, draw_id=draw.id)
    if voided_stake:
        post(
            session,
            "void",
            {a: c[3] for a, c in sums.agents.items()},
            {"sales": -voided_stake},
            draw_id=draw.id,
        )
    return filled(draw, full, sums.exposure), low
