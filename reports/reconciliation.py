"""Gate, journal and database side by side, draw by draw, and the agents' credit: what differs, and what is late."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from models.credit_reports import agents_seen
from models.draws import draws_in
from reports.about import about, scope_facts
from reports.credit_check import Checked, check_credits
from reports.document import Column, Document, Fact, Kind, Table
from reports.kinds import Scope, Sources
from reports.side_by_side import Sides, read_sides
from rules.draws import LIVE


def _columns(kind: Kind) -> tuple[Column, ...]:
    return (
        Column("draw_id", "Draw"),
        Column("figure", "Figure"),
        Column("gate", "Gate", kind),
        Column("journal", "Journal", kind),
        Column("behind", "Not stored yet", kind),
        Column("letters", "Dead letters", kind),
        Column("stored", "Position", kind),
        Column("agents", "Agents' sums", kind),
        Column("tickets", "Tickets", kind),
        Column("ledger", "Ledger", kind),
        Column("seal", "Seal", kind),
        Column("difference", "Difference", kind),
    )


_DRAWS = (
    Column("draw_id", "Draw"),
    Column("status", "State"),
    Column("position", "Position"),
    Column("gate_last", "Last in the gate"),
    Column("journal_last", "Last in the journal"),
    Column("unread", "Unreadable records", Kind.COUNT),
    Column("bets", "Bets"),
    Column("agrees", "Agrees"),
)
_BETS = (
    Column("draw_id", "Draw"),
    Column("play", "Play"),
    Column("number", "Number"),
    Column("gate", "Gate", Kind.MONEY),
    Column("expected", "Expected", Kind.MONEY),
    Column("difference", "Difference", Kind.MONEY),
)
_WALLETS = (
    Column("user_id", "Id", Kind.ID),
    Column("username", "Username"),
    Column("available", "Available in the gate", Kind.MONEY),
    Column("balance", "Balance", Kind.MONEY),
    Column("credit_limit", "Credit limit", Kind.MONEY),
    Column("not_stored", "Stakes not stored yet", Kind.MONEY),
    Column("not_applied", "Not told to the gate yet", Kind.MONEY),
    Column("asked", "Deductions under way", Kind.MONEY),
    Column("expected", "Expected", Kind.MONEY),
    Column("difference", "Difference", Kind.MONEY),
)

_SOURCES = ("gate", "journal", "behind", "letters", "stored", "agents", "tickets", "ledger", "seal")
# The first of these that is there is what the others are held against.
_BASES = ("stored", "agents")

Figures = Mapping[str, int | None]


def build(sources: Sources, scope: Scope) -> Document:
    """About a draw, or all that are not sealed. Raises IntakeUnavailable, Unreconciled: the gate has to answer.

    Whoever does not see all who sold in a draw gets of it what is known by agent: nothing of the gate, the position and
    the seal, which know whole draws only.
    """
    session = sources.session
    draws = [scope.draw] if scope.draw is not None else draws_in(session, *LIVE)
    sides = [read_sides(sources, draw, scope.top) for draw in draws if draw.opened_at is not None]
    if scope.draw is not None:
        agents: Sequence[int] = sorted({agent for side in sides for agent in side.sellers})
    else:
        agents = agents_seen(session, scope.top)
    wallets = list(check_credits(sources, agents))
    counts = [row for side in sides for row in _rows(side, _counts(side))]
    stakes = [row for side in sides for row in _rows(side, _stakes(side))]
    wrong = {row[0] for row in (*counts, *stakes) if row[-1]} | {side.draw.name for side in sides if side.bets}
    differing = sum(bool(checked.difference) for checked in wallets)
    facts = (
        *scope_facts(session, scope),
        Fact("made_at", "Made", sources.now, Kind.INSTANT),
        Fact("agrees", "Agrees", "yes" if not wrong and not differing else "NO"),
        Fact("draws", "Draws", len(sides), Kind.COUNT),
        Fact("draws_differing", "Of these with a difference", len(wrong), Kind.COUNT),
        Fact("wallets", "Wallets", len(wallets), Kind.COUNT),
        Fact("wallets_differing", "Of these with a difference", differing, Kind.COUNT),
        Fact("wallets_moved", "Of these moved meanwhile, not compared", _moved(wallets), Kind.COUNT),
        Fact("behind", "Records not stored yet", _behind(sides), Kind.COUNT),
    )
    tables = (
        Table("draws", "Draws", _DRAWS, [_draw(side, side.draw.name in wrong) for side in sides]),
        Table("counts", "Counts", _columns(Kind.COUNT), counts),
        Table("stakes", "Stakes", _columns(Kind.MONEY), stakes),
        Table("bets", "Bets that differ", _BETS, [row for side in sides for row in _bets(side)]),
        Table("wallets", "Wallets", _WALLETS, [tuple(checked) for checked in wallets]),
    )
    return Document("reconciliation", "Reconciliation", about(scope), facts, tables)


def _moved(wallets: Sequence[Checked]) -> int:
    return sum(checked.difference is None for checked in wallets)


def _behind(sides: Sequence[Sides]) -> int | None:
    """None where others' are among them."""
    return sum(side.behind.records for side in sides) if all(side.agents is None for side in sides) else None


def _draw(side: Sides, wrong: bool) -> tuple[Any, ...]:
    bets = "not compared" if side.bets is None else "differ" if side.bets else "agree"
    top = str(side.gate.top) if side.gate is not None else None
    places: tuple[Any, ...] = (None, None, None, None)
    if side.agents is None:
        last = str(side.journal.last) if side.journal.records else None
        places = str(side.position), top, last, side.journal.unread
    return (side.draw.name, side.draw.status, *places, bets, "NO" if wrong else "yes")


def _bets(side: Sides) -> Iterator[tuple[Any, ...]]:
    for play, number, gate, expected in side.bets or ():
        yield side.draw.name, play, number, gate, expected, gate - expected


def _counts(side: Sides) -> Iterator[tuple[str, Figures]]:
    gate, seal = side.gate, side.seal
    if side.agents is None:
        yield (
            "records",
            {
                "gate": gate.records if gate is not None else None,
                "journal": _of_journal(side, side.journal.records),
                "behind": side.behind.records,
                "stored": side.stored_records,
            },
        )
        last = side.journal.last.serial
        yield (
            "last_serial",
            {
                "gate": gate.top.serial if gate is not None else None,
                "journal": _of_journal(side, last),
                "behind": max(0, last - side.position.serial),
                "stored": side.position.serial,
            },
        )
    sealed = {"tickets": seal.tickets, "voids": seal.voided} if seal is not None else {}
    for name in ("tickets", "voids"):
        yield name, _figure(side, name) | {"seal": sealed.get(name)}


def _stakes(side: Sides) -> Iterator[tuple[str, Figures]]:
    staked, voided = _figure(side, "stake"), _figure(side, "voided_stake")
    staked["ledger"], voided["ledger"] = side.ledger["stake"], side.ledger["voided_stake"]
    live = {name: _less(staked.get(name), voided.get(name)) for name in staked}
    yield "stake", staked
    yield "voided_stake", voided
    yield "live", live | {"seal": side.seal.stake if side.seal is not None else None}


def _figure(side: Sides, name: str) -> dict[str, int | None]:
    return {
        "gate": side.gate.sums[name] if side.gate is not None else None,
        "journal": _of_journal(side, side.journal.of(side.agents)[name]),
        "behind": side.behind.of(side.agents)[name],
        "letters": side.letters.of(side.agents)[name],
        "stored": side.stored[name] if side.stored is not None else None,
        "agents": side.kept[name],
        "tickets": side.tickets[name],
    }


def _of_journal(side: Sides, value: int) -> int | None:
    """None where the journal is gone: a draw that is over is not kept there for ever."""
    return value if side.journal.records else None


def _less(staked: int | None, voided: int | None) -> int | None:
    return None if staked is None or voided is None else staked - voided


def _rows(side: Sides, figures: Iterator[tuple[str, Figures]]) -> Iterator[tuple[Any, ...]]:
    for name, found in figures:
        yield (side.draw.name, name, *(found.get(source) for source in _SOURCES), _difference(name, found))


def _difference(name: str, found: Figures) -> int:
    """The largest by which one of them is not what it should be. Gate and journal count what is not stored yet, and
    dead letters, too; a seal the letters."""
    base = next((value for source in _BASES if (value := found.get(source)) is not None), 0)
    letters = found.get("letters") or 0
    more = {"behind": found.get("behind") or 0, "letters": letters}
    wanted = {source: base + sum(more.values()) for source in ("gate", "journal")}
    wanted |= dict.fromkeys(("stored", "agents", "tickets", "ledger"), base)
    # What was annulled is a leaf and has no stake.
    wanted["seal"] = base if name == "live" else base + letters
    found_differences = [value - wanted[source] for source in wanted if (value := found.get(source)) is not None]
    return max(found_differences, key=abs, default=0)
