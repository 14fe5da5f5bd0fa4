"""One draw as the gate, its journal and the database have it, each counted by itself."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field

from sqlalchemy.orm import Session

from intake.gate_counts import Counted
from intake.records import Position
from models.dead_letters import DeadLetter, annulled_records, waiting_records
from models.draws import Draw
from models.draws import Position as PositionRow
from models.journal_rows import count_records
from models.people import User, sees_everyone, those_below
from models.reporting import booked_by
from models.settlement import Seal
from models.sums import COUNTS, kept_sums, sums_of_tickets
from models.tickets import exposure_of, lines_of, ticket_by_serial
from reports.kinds import Sources
from reports.tally import Tally, counts_of, touching
from rules.tickets import Line

# With more behind the position, what stands on single bets is not compared: the lines of all of it are kept.
BEHIND_MAX = 50_000

Bets = dict[tuple[str, str], int]


@dataclass
class Sides:
    """`agents`: who is counted, None where all of the draw is shown; of the rest only figures by agent are there."""

    draw: Draw
    agents: Collection[int] | None
    position: Position
    stored: dict[str, int] | None
    kept: dict[str, int]
    tickets: dict[str, int]
    ledger: dict[str, int]
    gate: Counted | None
    journal: Tally
    behind: Tally
    letters: Tally
    stored_records: int | None
    seal: Seal | None
    bets: list[tuple[str, str, int, int]] | None = None  # play, key, in the gate, as it should be; None: not compared
    sellers: set[int] = field(default_factory=set)


def read_sides(sources: Sources, draw: Draw, top: User) -> Sides:
    """Reads the whole journal, bit by bit, and every ticket's stake. Raises IntakeUnavailable, Unreconciled.

    The database is read first, in the session's one snapshot, then the gate at one moment, then the journal as far as
    the gate had come then: what the journal has behind the snapshot's position is the lag.
    """
    session = sources.session
    position, counts = _position(session, draw)
    waiting, annulled = waiting_records(session, draw.id), annulled_records(session, draw.id)
    letters = _tally(draw, [*waiting, *annulled])
    kept, by_tickets = kept_sums(session, draw.id), sums_of_tickets(session, draw, bets=False)
    gate = sources.gate.counted(draw.name)
    journal, behind = _read_journal(sources, draw, position, gate)
    sellers = set().union(kept.agents, by_tickets.agents, journal.agents, letters.agents)
    agents = sellers if sees_everyone(top) else those_below(session, top.id, sellers)
    whole = agents == sellers
    mine = None if whole else agents
    sides = Sides(
        draw=draw,
        agents=mine,
        position=position,
        stored=counts if whole else None,
        kept=counts_of(kept.agents, mine),
        tickets=counts_of(by_tickets.agents, mine),
        ledger=_ledger(session, draw, top),
        gate=gate if whole else None,
        journal=journal,
        behind=behind,
        letters=letters,
        stored_records=_stored_records(session, draw, position) if whole else None,
        seal=session.get(Seal, draw.id) if whole else None,
        sellers=agents,
    )
    if whole and gate is not None and behind.records <= BEHIND_MAX:
        sides.bets = list(_differing_bets(sources, draw, position, gate, waiting, annulled))
    return sides


def _position(session: Session, draw: Draw) -> tuple[Position, dict[str, int]]:
    row = session.get(PositionRow, draw.id)
    if row is None:
        return Position(0, 0), dict.fromkeys(COUNTS, 0)
    return Position(row.serial, row.sub), {name: getattr(row, name) for name in COUNTS}


def _stored_records(session: Session, draw: Draw, position: Position) -> int:
    """How many the journal should hold up to the position, with its first one, which is in no table."""
    return count_records(session, draw.id, draw.date, *position) + (position >= (0, 1))


def _ledger(session: Session, draw: Draw, top: User) -> dict[str, int]:
    booked = booked_by(session, draw.id, ("sale", "void"), top)
    return {"stake": -sum(booked["sale"].values()), "voided_stake": sum(booked["void"].values())}


def _tally(draw: Draw, letters: Iterable[DeadLetter], *, bets: bool = False) -> Tally:
    found = Tally(draw.game, bets=bets)
    for place, raw in (letter.record() for letter in letters):
        found.add(Position(*place), raw)
    return found


def _read_journal(sources: Sources, draw: Draw, position: Position, gate: Counted | None) -> tuple[Tally, Tally]:
    """All of it as far as the gate had come, and of that what the database does not have yet."""
    whole, behind = Tally(draw.game), Tally(draw.game)
    up_to = gate.top if gate is not None else sources.journal.last([draw.name])[draw.name] or Position(0, 0)
    with closing(sources.journal.between(draw.name, Position(0, 0), up_to)) as records:
        for place, raw in touching(sources.session, records):
            whole.add(place, raw)
            if place > position:
                behind.add(place, raw)
    return whole, behind


def _differing_bets(
    sources: Sources,
    draw: Draw,
    position: Position,
    gate: Counted,
    waiting: Iterable[DeadLetter],
    annulled: Iterable[DeadLetter],
) -> Iterator[tuple[str, str, int, int]]:
    """What was annulled may still stand in the gate: nobody bets in that draw any more, and a rebuild leaves it out."""
    pending = _tally(draw, waiting, bets=True)
    with closing(sources.journal.between(draw.name, position, gate.top)) as records:
        for place, raw in records:
            pending.add(place, raw)
    for serial in pending.foreign:
        pending.stand(_stored_lines(sources.session, draw, serial), -1)
    without = _sum(exposure_of(sources.session, draw.id), pending.bets)
    with_them = _sum(without, _tally(draw, annulled, bets=True).bets)
    found = [_unlike(gate.exposure, wanted) for wanted in (without, with_them)]
    yield from min(found, key=len)


def _stored_lines(session: Session, draw: Draw, serial: int) -> list[Line]:
    ticket = ticket_by_serial(session, draw.id, draw.date, serial)
    lines = lines_of(session, [ticket])[draw.id, serial] if ticket is not None else []
    return [Line(line.play, line.number, line.stake) for line in lines]


def _sum(first: Bets, second: Bets) -> Bets:
    found = {bet: first.get(bet, 0) + second.get(bet, 0) for bet in first.keys() | second.keys()}
    return {bet: stake for bet, stake in found.items() if stake}


def _unlike(gate: Bets, wanted: Bets) -> list[tuple[str, str, int, int]]:
    unlike = sorted(bet for bet in gate.keys() | wanted.keys() if gate.get(bet) != wanted.get(bet))
    return [(*bet, gate.get(bet, 0), wanted.get(bet, 0)) for bet in unlike]
