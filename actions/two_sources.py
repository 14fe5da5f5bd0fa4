"""A draw computed twice, from its journal and from PostgreSQL: two roots, two counts, and what differs.

Both are read as streams, side by side; memory holds one block of each, the voids, and the differences shown.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.orm import Session

from actions.annulled import Annulled, annulled_in, understood
from actions.proofs import (
    Gaps,
    Leaf,
    annulled_leaf,
    gap_leaf,
    gaps_of,
    sold_leaf,
    stored_leaves,
    strange_leaf,
    voided_stakes,
)
from actions.resources import Resources
from intake.records import (
    BadRecord,
    CloseRecord,
    GapRecord,
    OpenRecord,
    Position,
    VoidRecord,
    decode,
)
from models.draws import Draw
from models.draws import Position as PositionRow
from models.sums import COUNTS, Sums, kept_sums, sums_of_tickets
from models.tickets import Closing
from rules.merkle import BLOCK, Blocks

SHOWN_MAX = 20  # serials of a difference that the report names


class Side:
    """What one source gives: the tree, and what the lines of its tickets add up to."""

    def __init__(self) -> None:
        self._blocks = Blocks()
        self._leaves: list[Leaf] = []
        self.counts = dict.fromkeys(COUNTS, 0)
        self.annulled = dict.fromkeys(COUNTS, 0)  # of these, what was annulled and is in no sums
        self.unread = 0
        self.serials = 0
        self.size, self.root, self.hashes = 0, b"", [b""]

    def add(self, leaf: Leaf) -> None:
        """Takes the next leaf in serial order."""
        self._leaves.append(leaf)
        if len(self._leaves) == BLOCK:
            self._take()

    def _take(self) -> None:
        leaves, self._leaves = self._leaves, []
        self._blocks.add([leaf.hash for leaf in leaves])
        self.serials += sum([leaf.serials for leaf in leaves])
        self.unread += sum([leaf.unread for leaf in leaves])
        _count(self.counts, leaves)
        if annulled := [leaf for leaf in leaves if leaf.annulled]:
            _count(self.annulled, annulled)

    def live(self) -> dict[str, int]:
        """The counts without what was annulled."""
        return {name: self.counts[name] - self.annulled[name] for name in COUNTS}

    def finish(self) -> None:
        """Computes the root."""
        self._take()
        self.size, self.root, self.hashes = self._blocks.finish()

    def shown(self) -> dict[str, Any]:
        """For the report of a difference."""
        return {**self.counts, "serials": self.serials, "tree_size": self.size, "root": self.root.hex()}


def _count(counts: dict[str, int], leaves: Sequence[Leaf]) -> None:
    counts["tickets"] += sum([leaf.tickets for leaf in leaves])
    counts["stake"] += sum([leaf.stake for leaf in leaves])
    if voided := [leaf.stake for leaf in leaves if leaf.voided]:
        counts["voids"] += len(voided)
        counts["voided_stake"] += sum(voided)


@dataclass
class Seen:
    """What a journal holds beside its leaves."""

    voids: dict[int, int] = field(default_factory=dict)  # stake given back by the voided ticket's serial
    annulled: dict[Position, bytes] = field(default_factory=dict)  # what stands where something was annulled
    marker: tuple[Position, CloseRecord] | None = None
    restored: int = 0  # leaves that a rebuild wrote back from the database: they have one source only


@dataclass(frozen=True)
class Comparison:
    """The draw as PostgreSQL has it, and the difference to its journal; None: they agree in everything."""

    stored: Side
    sums: Sums
    gaps: Gaps
    restored: int
    difference: dict[str, Any] | None


def compare(res: Resources, session: Session, draw: Draw, position: PositionRow, closing: Closing) -> Comparison:
    """Reads both sources of a closed and drained draw. The caller holds the position row, so neither changes.

    Raises Unreconciled, IntakeUnavailable, and the database's errors.
    """
    gaps, annulled = gaps_of(session, draw.id), annulled_in(session, draw.id)
    voided = voided_stakes(session, draw.id) | annulled.voids
    journal, stored, seen = Side(), Side(), Seen()
    shown: list[dict[str, Any]] = []
    differing = 0
    with (  # whatever happens: nobody reads on in the session that is rolled back then
        contextlib.closing(_journal_leaves(res, draw.name, voided, annulled, seen)) as from_journal,
        contextlib.closing(stored_leaves(session, draw, gaps, voided, annulled)) as from_tickets,
    ):
        for mine, theirs in _pairs(from_journal, from_tickets):
            if mine is not None:
                journal.add(mine)
            if theirs is not None:
                stored.add(theirs)
            if mine is None or theirs is None or mine.text != theirs.text:
                differing += 1
                if differing <= SHOWN_MAX:
                    shown.append(_shown(mine, theirs))
    journal.finish()
    stored.finish()
    sums, of_tickets = kept_sums(session, draw.id), sums_of_tickets(session, draw)
    checks = {
        "leaves": differing == 0,
        "roots": (journal.size, journal.root) == (stored.size, stored.root),
        "voids": seen.voids == voided and sum(voided.values()) == stored.counts["voided_stake"],
        "annulled": seen.annulled == annulled.raw,
        "marker": seen.marker == _marker(closing),
        "serials": journal.serials == stored.serials == closing.serial,
        "closing": journal.counts == stored.counts and _closes(closing, stored, annulled.unread_subs),
        "sums": stored.live() == _counts(position) == sums.totals(),
        "agents": sums.agents == of_tickets.agents,
        "bets": sums.bets == of_tickets.bets,
    }
    if all(checks.values()):
        return Comparison(stored, sums, gaps, seen.restored, None)
    report = {
        "failed": [name for name, passed in checks.items() if not passed],
        "differing": differing,
        "serials": shown,
        "voids": _voids_shown(seen.voids, voided),
        "agents": _unlike(sums.agents, of_tickets.agents),
        "bets": [list(bet) for bet in _unlike(sums.bets, of_tickets.bets)],
        **_counts_shown(journal, stored, seen, closing, position),
    }
    return Comparison(stored, sums, gaps, seen.restored, report)


def _unlike(mine: Mapping[Any, Any], theirs: Mapping[Any, Any]) -> list[Any]:
    """The first of what the two have different values for."""
    return sorted(key for key in mine.keys() | theirs.keys() if mine.get(key) != theirs.get(key))[:SHOWN_MAX]


def _counts_shown(journal: Side, stored: Side, seen: Seen, closing: Closing, position: PositionRow) -> dict[str, Any]:
    return {
        "journal": journal.shown() | {"marker": seen.marker[1].text() if seen.marker is not None else None},
        "database": stored.shown(),
        "closing": _counts(closing) | {"serials": closing.serial},
        "sums": _counts(position),
    }


def _closes(closing: Closing, stored: Side, unread_subs: int) -> bool:
    """Whether the close marker counts what is stored, and beside it only what annulled bytes may have been."""
    more = {name: count - stored.counts[name] for name, count in _counts(closing).items()}
    tickets = more["tickets"] + stored.unread  # the gate need not have counted what somebody else put there
    return _may_be(tickets, more["stake"], stored.unread) and _may_be(more["voids"], more["voided_stake"], unread_subs)


def _may_be(count: int, stake: int, most: int) -> bool:
    """Whether so many tickets or voids with that stake can be among `most` that nobody can read."""
    return 0 <= count <= most and stake >= 0 and (count > 0) == (stake > 0)


def _journal_leaves(
    res: Resources, draw: str, voided: Mapping[int, int], annulled: Annulled, seen: Seen
) -> Generator[Leaf]:
    """Leaves from the journal in serial order; `voided` and the places in `annulled` are the database's word, to be
    held against `seen`."""
    entries = res.journal.entries(draw)
    with contextlib.closing(entries):
        yield from _leaves_of(entries, draw, voided, annulled, seen)


def _leaves_of(
    entries: Iterator[tuple[Position, bytes, bool]],
    draw: str,
    voided: Mapping[int, int],
    annulled: Annulled,
    seen: Seen,
) -> Iterator[Leaf]:
    for place, raw, back in entries:
        seen.restored += back and place.sub == 0
        if place in annulled.raw:
            seen.annulled[place] = raw
            if place.sub == 0:
                yield annulled_leaf(draw, place.serial, raw, voided.get(place.serial))
                continue
            if not isinstance(understood(place, raw), VoidRecord):
                continue
        if place.sub == 0 and (leaf := sold_leaf(draw, place.serial, raw, place.serial in voided)) is not None:
            yield leaf
            continue
        try:
            record = decode(raw)
        except BadRecord:
            yield strange_leaf(place.serial, raw)
            continue
        if isinstance(record, GapRecord) and place == (record.last, 0):
            yield gap_leaf(draw, record.first, record.last)
        elif isinstance(record, VoidRecord) and place.sub > 0:
            if record.stake:
                seen.voids[record.ticket_serial] = seen.voids.get(record.ticket_serial, 0) + record.stake
        elif isinstance(record, CloseRecord) and seen.marker is None:
            seen.marker = place, record
        elif not isinstance(record, OpenRecord) or place != (0, 1):
            yield strange_leaf(place.serial, raw)


def _pairs(mine: Iterator[Leaf], theirs: Iterator[Leaf]) -> Iterator[tuple[Leaf | None, Leaf | None]]:
    """Both streams side by side by serial; None where the other one has a leaf alone."""
    left, right = next(mine, None), next(theirs, None)
    while left is not None or right is not None:
        if right is None or (left is not None and left.serial < right.serial):
            yield left, None
            left = next(mine, None)
        elif left is None or right.serial < left.serial:
            yield None, right
            right = next(theirs, None)
        else:
            yield left, right
            left, right = next(mine, None), next(theirs, None)


def _marker(closing: Closing) -> tuple[Position, CloseRecord]:
    counts = (closing.tickets, closing.stake, closing.voids, closing.voided_stake)
    made_ms = round(closing.made_at.timestamp() * 1000)
    return Position(closing.serial, closing.sub), CloseRecord(made_ms, closing.serial, *counts, closing.why)


def _counts(row: Closing | PositionRow) -> dict[str, int]:
    return {name: getattr(row, name) for name in COUNTS}


def _shown(mine: Leaf | None, theirs: Leaf | None) -> dict[str, Any]:
    found = mine or theirs
    assert found is not None
    return {
        "serial": found.serial,
        "journal": mine.text if mine is not None else None,
        "database": theirs.text if theirs is not None else None,
    }


def _voids_shown(mine: Mapping[int, int], theirs: Mapping[int, int]) -> list[dict[str, Any]]:
    return [{"serial": s, "journal": mine.get(s), "database": theirs.get(s)} for s in _unlike(mine, theirs)]
