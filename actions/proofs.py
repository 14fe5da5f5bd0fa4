"""The leaves of a draw's tree as PostgreSQL has them, and the proof that a ticket is among them."""

from __future__ import annotations

import heapq
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from functools import lru_cache
from hashlib import sha256
from itertools import chain
from operator import attrgetter
from typing import Any, NamedTuple

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from actions.annulled import Annulled, annulled_in, ticket_of_record, understood
from intake.records import BadRecord, Position, TicketRecord, decode
from models.draws import Draw
from models.journal_rows import StoredTicket, ticket_chunks
from models.settlement import Seal, block_hashes
from models.tickets import Gap, Void
from rules.merkle import BLOCK, leaf_hash, path_from_blocks, verify
from rules.tickets import gap_leaf_text, leaf_text, unread_leaf_text
from runtime.ahead import ahead

Gaps = Sequence[Sequence[int]]  # [first, last] serials of each, in order

_log = structlog.get_logger()


class Leaf(NamedTuple):
    """One leaf at its place: a ticket's, a gap's at its last serial, or what stands where a ticket should."""

    serial: int
    text: str
    hash: bytes
    tickets: int = 0  # 1 for a ticket's
    stake: int = 0  # of the ticket's lines, centavos
    voided: bool = False
    serials: int = 0  # how many it accounts for
    annulled: bool = False
    unread: bool = False  # annulled bytes that are no ticket: nobody can say of which stake it was


def ticket_leaf(draw: str, serial: int, record: TicketRecord, voided: bool, annulled: bool = False) -> Leaf:
    """The leaf of a ticket, from its record."""
    try:
        text = leaf_text(ticket_of_record(draw, serial, record), voided, annulled)
    except (ValueError, OverflowError):  # a serial or an instant that no ticket can have
        return strange_leaf(serial, record.text().encode())
    return Leaf(serial, text, leaf_hash(text), 1, record.stake, voided, 1, annulled)


@lru_cache(maxsize=4)  # of a draw whose two sources agree both give the same bytes, one after the other
def sold_leaf(draw: str, serial: int, raw: bytes, voided: bool) -> Leaf | None:
    """The leaf of a ticket, from its record's bytes; None: they are none of a ticket."""
    try:
        record = decode(raw)
    except BadRecord:
        return None
    return ticket_leaf(draw, serial, record, voided) if isinstance(record, TicketRecord) else None


def annulled_leaf(draw: str, serial: int, raw: bytes, voided: int | None) -> Leaf:
    """The leaf of what was annulled at that serial, from its bytes; `voided`: the stake of its void, if it has one."""
    record = understood(Position(serial, 0), raw)
    if isinstance(record, TicketRecord):
        return ticket_leaf(draw, serial, record, voided is not None, annulled=True)
    text = unread_leaf_text(draw, serial, sha256(raw).hexdigest())
    voids = voided is not None
    return Leaf(serial, text, leaf_hash(text), 1, voided or 0, voids, 1, True, unread=not voids)


def gap_leaf(draw: str, first: int, last: int) -> Leaf:
    """The leaf of a jump over serials."""
    text = gap_leaf_text(draw, first, last)
    return Leaf(last, text, leaf_hash(text), serials=last - first + 1)


def strange_leaf(serial: int, raw: bytes) -> Leaf:
    """What stands for bytes that are no ticket: equal to no leaf of the other source."""
    text = f"strange|{serial}|{raw!r}"
    return Leaf(serial, text, leaf_hash(text))


def gaps_of(session: Session, draw_id: int) -> list[list[int]]:
    """[first, last] serials of the draw's gaps, in order."""
    query = select(Gap.first_serial, Gap.last_serial).where(Gap.draw_id == draw_id).order_by(Gap.last_serial)
    return [[first, last] for first, last in session.execute(query)]


def voided_stakes(session: Session, draw_id: int, first: int | None = None, last: int | None = None) -> dict[int, int]:
    """Stake given back by voided ticket's serial, of the serials from `first` to `last` or of all."""
    query = select(Void.ticket_serial, Void.stake).where(Void.draw_id == draw_id, Void.stake > 0)
    if first is not None:
        query = query.where(Void.ticket_serial.between(first, last))
    return {serial: stake for serial, stake in session.execute(query) if serial is not None}


def stored_leaves(
    session: Session,
    draw: Draw,
    gaps: Gaps,
    voided: Mapping[int, int],
    annulled: Annulled,
    first: int = 1,
    last: int | None = None,
) -> Generator[Leaf]:
    """Leaves from PostgreSQL in serial order, streamed. `gaps`: those within the asked serials; `voided`: stake given
    back by serial, of annulled tickets too. Nobody else may use the session until all of them are taken.
    """
    name = draw.name
    others = [gap_leaf(name, *gap) for gap in gaps] + [
        annulled_leaf(name, place.serial, raw, voided.get(place.serial))
        for place, raw in annulled.raw.items()
        if place.sub == 0 and first <= place.serial and (last is None or place.serial <= last)
    ]
    chunks = ticket_chunks(session, draw.id, draw.date, first, last)
    with closing(ahead(chunks) if last is None else chunks) as parts:
        tickets = (_stored_leaf(name, row, row.serial in voided) for row in chain.from_iterable(parts))
        serial = attrgetter("serial")
        yield from heapq.merge(tickets, sorted(others, key=serial), key=serial) if others else tickets


def _stored_leaf(draw: str, row: StoredTicket, voided: bool) -> Leaf:
    raw = row.record.encode()
    leaf = sold_leaf(draw, row.serial, raw, voided)
    if leaf is None:  # its lines are gone, or not what anyone could bet
        return strange_leaf(row.serial, raw)
    if leaf.stake != row.stake:
        text = f"{leaf.text}|but the ticket's row says {row.stake}"
        return leaf._replace(text=text, hash=leaf_hash(text))
    return leaf


# ── the proof ─────────────────────────────────────────────────────────────────────────────────────────────


def index_of(gaps: Gaps, serial: int) -> int:
    """Where a ticket's leaf stands, from 0: a gap before it takes one place for all of its serials."""
    return serial - 1 - sum(last - first for first, last in gaps if last < serial)


def serials_at(gaps: Gaps, index: int) -> tuple[int, int]:
    """First and last serial of the leaf at that index; two equal ones unless it is a gap's."""
    serial = index + 1
    for first, last in gaps:
        if serial < first:
            break
        if serial == first:
            return first, last
        serial += last - first
    return serial, serial


def inclusion_proof(session: Session, draw: Draw, serial: int) -> dict[str, Any] | None:
    """The path from a ticket's leaf to the published root; None while there is no seal.

    Reads one block of leaves and the roots of the others, whatever the size of the draw. None, with an alarm,
    if the stored tickets no longer give the sealed root.
    """
    seal = session.get(Seal, draw.id)
    if seal is None:
        return None
    index = index_of(seal.gaps, serial)
    block = index // BLOCK
    first, _ = serials_at(seal.gaps, block * BLOCK)
    _, last = serials_at(seal.gaps, min(seal.tree_size, (block + 1) * BLOCK) - 1)
    within = [gap for gap in seal.gaps if first <= gap[1] <= last]
    annulled = annulled_in(session, draw.id)
    voided = voided_stakes(session, draw.id, first, last) | annulled.voids
    leaves = list(stored_leaves(session, draw, within, voided, annulled, first, last))
    try:
        path = path_from_blocks([leaf.hash for leaf in leaves], block_hashes(session, draw.id), index)
        if not verify(leaves[index % BLOCK].text, index, seal.tree_size, path, seal.merkle_root):
            raise ValueError("the blocks do not give the sealed root")
    except (ValueError, IndexError) as problem:
        _log.error("altered_after_seal", draw=draw.name, block=block, first=first, last=last, reason=str(problem))
        return None
    return {
        "leaf_text": leaves[index % BLOCK].text,
        "index": index,
        "tree_size": seal.tree_size,
        "path": [step.hex() for step in path],
        "root": seal.merkle_root.hex(),
    }
