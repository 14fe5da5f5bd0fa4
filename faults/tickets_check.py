"""Receipts = journal = database = seal: pure, each check a list of sentences that is empty when all is well.

What a cut of the append-only file took is no difference, exactly as far as it is declared: a receipt in a declared gap
that was on the tail, and a void that was on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from demo.sources import Place
from faults.held import Held, Id
from faults.sources import JournalCopy, Stored, StoredDraw
from faults.tail import Cut
from rules import merkle
from rules.tickets import Ticket, gap_leaf_text, leaf_text, parse_number, stake


@dataclass
class World:
    """What every place holds in the end."""

    held: Held
    stored: Stored
    journals: Mapping[str, JournalCopy]
    seals: Mapping[str, Mapping[str, Any]]  # as the API publishes them
    cuts: list[Cut] = field(default_factory=list)
    genuine: Mapping[Place, bool] = field(default_factory=dict)  # what `drawbreak check-receipt` says

    def __post_init__(self) -> None:
        records = [record for cut in self.cuts for record in cut.records]
        self.cut_places = {(r.draw, r.serial) for r in records if not r.sub and r.text.startswith("t|")}
        back = [record for record in records if record.sub and record.text[:2] in ("v|", "c|")]
        self.cut_voids = {(r.draw, _id_of(r.text)) for r in back}
        self.lost = {place for place in self.held.tickets if self.in_gap(place)}
        # A refusal kept nothing, so that a duplicate of the request that came later was a request like any other.
        self.after_refusal = {
            place
            for place, ticket in self.stored.tickets.items()
            if place not in self.held.tickets and (ticket.draw, ticket.id) in self.held.refused
        }
        self.of_draw: dict[str, dict[int, Ticket]] = {name: {} for name in self.stored.draws}
        for (name, serial), ticket in self.stored.tickets.items():
            self.of_draw[name][serial] = ticket
        self.sold_ids = {(ticket.draw, ticket.id) for ticket in self.stored.tickets.values()}

    def in_gap(self, place: Place) -> bool:
        """Whether the database declares that this serial will never be issued."""
        draw = self.stored.draws.get(place[0])
        return draw is not None and any(first <= place[1] <= last for first, last in draw.gaps)

    @property
    def kept(self) -> dict[Place, Ticket]:
        """What the receipts say that everybody else must have."""
        return {place: ticket for place, ticket in self.held.tickets.items() if place not in self.lost}

    def taken_back(self, draw: StoredDraw) -> set[int]:
        """Serials that the database has as voided."""
        return {void.ticket for void in draw.voids if void.ticket}


def _id_of(record: str) -> str:
    h = record.split("|")[2]
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"


# ── tickets ───────────────────────────────────────────────────────────────────────────────────────────────


def lost(world: World) -> Iterator[str]:
    """Receipts whose ticket nobody has."""
    for place in world.kept.keys() - world.stored.tickets.keys():
        yield f"{place} has a receipt and is not in the database, nor in a declared gap"


def unlike(world: World) -> Iterator[str]:
    """Tickets that differ from their receipt in any field."""
    yield from world.held.differing
    for place, ticket in world.kept.items():
        stored = world.stored.tickets.get(place)
        if stored is not None and stored != ticket:
            yield f"{place}: the receipt says {ticket}, the database {stored}"


def without_receipt(world: World) -> Iterator[str]:
    """Tickets that nobody was told of.

    A customer who left has none, and his ticket was taken back; what a cut took may have been sold anew to an echo.
    """
    lost_ids = {(ticket.draw, ticket.id) for place, ticket in world.held.tickets.items() if place in world.lost}
    for place, ticket in world.stored.tickets.items():
        of = ticket.draw, ticket.id
        known = world.held.cancelled.get(of) == "voided" or of in world.cut_voids or of in lost_ids
        if not known and place not in world.held.tickets and place not in world.after_refusal:
            yield f"{place} is in the database, and no terminal has its receipt: {ticket}"


def doubled(world: World) -> Iterator[str]:
    """Ids that were sold twice."""
    seen: dict[Id, Place] = {}
    for place, ticket in world.stored.tickets.items():
        first = seen.setdefault((ticket.draw, ticket.id), place)
        if first != place:
            yield f"the id {ticket.id} was sold as {first} and as {place}"
    for of, places in world.held.places.items():
        if len(places - world.lost) > 1:
            yield f"the id {of} has receipts for {sorted(places - world.lost)}"


def serials(world: World) -> Iterator[str]:
    """Serials that are neither a ticket's nor in a gap, or both."""
    for draw in world.stored.draws.values():
        issued = list(world.of_draw[draw.name])
        jumped = [serial for first, last in draw.gaps for serial in range(first, last + 1)]
        wanted = draw.marker.serial if draw.marker else draw.position[0]
        if sorted(issued + jumped) != list(range(1, wanted + 1)):
            odd = set(issued) & set(jumped) or set(range(1, wanted + 1)) ^ {*issued, *jumped}
            yield f"{draw.name}: serials do not run from 1 to {wanted}, see {sorted(odd)[:10]}"


def in_gaps(world: World) -> Iterator[str]:
    """Receipts in a gap that were not on any tail that was cut, or that do not prove themselves."""
    for place in sorted(world.lost):
        if place not in world.cut_places:
            yield f"{place} is in a gap, and no tail with it was cut"
        if not world.genuine.get(place):
            yield f"{place} is in a gap, and its receipt does not prove itself"


def not_found(world: World) -> Iterator[str]:
    """Tickets that were not found, other than those in a gap: with these a person has to help."""
    for number in world.held.not_found:
        if parse_number(number) not in world.lost:
            yield f"{number} was not found, and is in no gap"


def too_late(world: World) -> Iterator[str]:
    """Tickets that were accepted at or after the cutoff or the closing, by the gate's clock."""
    everywhere = {**world.stored.tickets, **world.held.tickets}
    for place, ticket in everywhere.items():
        draw = world.stored.draws[ticket.draw]
        if ticket.accepted_ms >= draw.cutoff_ms:
            yield f"{place} was accepted {ticket.accepted_ms - draw.cutoff_ms} ms after the cutoff"
        if draw.marker and (place[1] > draw.marker.serial or ticket.accepted_ms > draw.marker.made_ms):
            yield f"{place} was accepted after the draw had been closed"


def too_early(world: World) -> Iterator[str]:
    """Sales that were refused as too late before it was."""
    for refused in world.held.too_late:
        draw = world.stored.draws.get(refused.draw)
        if draw is None or draw.closed_by_hand or draw.status in ("voiding", "void"):
            continue
        early_s = draw.cutoff_ms / 1000 - refused.answered_at
        if early_s > 0 or refused.code != "cutoff_passed":
            yield f"{refused.draw} refused a sale as {refused.code} {early_s:.3f} s before its cutoff"


def voids(world: World) -> Iterator[str]:
    """What was taken back at a terminal and not in the database, or the other way round."""
    held = world.held
    for draw in world.stored.draws.values():
        back, ids = world.taken_back(draw), {void.id: void for void in draw.voids}
        for name, serial in held.voided - world.lost:
            of = name, held.tickets[name, serial].id
            if name == draw.name and serial not in back and of not in world.cut_voids:
                yield f"{(name, serial)} was voided at its terminal, not in the database"
        for (name, ticket_id), said in held.cancelled.items():
            if name != draw.name or (name, ticket_id) in world.cut_voids:
                continue
            found = ids.get(ticket_id)
            sold = (found.ticket if found else 0) > 0
            if (said == "voided") != sold or (found is None and (name, ticket_id) in world.sold_ids):
                yield f"{name}: {ticket_id} was cancelled as {said}, the database has {found}"
        asked = {held.tickets[place].id for place in held.voided if place[0] == draw.name}
        asked |= {ticket_id for name, ticket_id in held.cancelled if name == draw.name}
        for ticket_id in ids.keys() - asked:
            yield f"{draw.name}: nobody asked to take {ticket_id} back"


# ── the other two sources ─────────────────────────────────────────────────────────────────────────────────


def journals(world: World) -> Iterator[str]:
    """Journals that are not what the database has. A copy counts if it ends with the marker that was stored."""
    for draw, copy in whole_journals(world).items():
        stored = world.stored.draws[draw]
        tickets = {(draw, serial): ticket for serial, ticket in world.of_draw[draw].items()}
        same = {
            "tickets": copy.tickets == tickets,
            "voids": copy.voids == stored.voids,
            "gaps": copy.gaps == stored.gaps,
            "close marker": copy.marker == stored.marker,
            "records": not copy.strange,
        }
        yield from (f"{draw}: the journal's {what} are not the database's" for what, fine in same.items() if not fine)
    for name, of_draw in world.stored.draws.items():
        marker = of_draw.marker
        if marker is None or (of_draw.position != (marker.serial, marker.sub)):
            yield f"{name} was not drained: its position is {of_draw.position}, its close marker {marker}"


def whole_journals(world: World) -> dict[str, JournalCopy]:
    """The copies of the journals' last state: a cut may have taken the marker that an earlier copy ended with."""
    places = {name: draw.marker and draw.marker[:3] for name, draw in world.stored.draws.items()}
    return {n: c for n, c in world.journals.items() if c.marker is not None and c.marker[:3] == places.get(n)}


def seals(world: World) -> Iterator[str]:
    """Seals that are not what the receipts give."""
    kept = world.kept
    for draw in world.stored.draws.values():
        seal = world.seals.get(draw.name)
        if seal is None:
            if draw.status != "void":
                yield f"{draw.name} has no seal"
            continue
        back = world.taken_back(draw)
        # Where there is no receipt (a customer who left) the database's own has to do; others are compared above.
        mine = {serial: kept.get((draw.name, serial), t) for serial, t in world.of_draw[draw.name].items()}
        leaves = {serial: leaf_text(ticket, serial in back) for serial, ticket in mine.items()}
        leaves |= {last: gap_leaf_text(draw.name, first, last) for first, last in draw.gaps}
        counted = [ticket for serial, ticket in mine.items() if serial not in back]
        wanted = {
            "merkle_root": merkle.root([merkle.leaf_hash(leaves[serial]) for serial in sorted(leaves)]).hex(),
            "tree_size": len(leaves),
            "count": len(mine),
            "voided": len(mine) - len(counted),
            "stake": sum(stake(ticket.lines) for ticket in counted),
            "gaps": [list(gap) for gap in draw.gaps],
        }
        for what, value in wanted.items():
            if seal[what] != value:
                yield f"{draw.name}: the seal's {what} is {seal[what]}, the receipts give {value}"
