"""What a day came to, worked out from tickets alone: pure, and the same for whoever holds them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from demo.crowd import GAME
from demo.day import DrawOfTheDay
from demo.sources import Found, Place
from rules import merkle
from rules.games import match_key, prize
from rules.tickets import Ticket, leaf_text, stake


@dataclass(frozen=True)
class Outcome:
    """A draw's end as its receipts have it: recomputed by the rules, with the draw's own prices."""

    draw: DrawOfTheDay
    tickets: int
    voided: int
    stake: int  # of all tickets
    counted: int  # of those that were not voided
    prizes: Mapping[Place, int]  # what each winning ticket wins

    @property
    def paid(self) -> int:
        return sum(self.prizes.values())


def outcome(draw: DrawOfTheDay, prices: Mapping[str, int], held: Found) -> Outcome:
    """What the draw came to, from the tickets that one place holds."""
    mine = {place: ticket for place, ticket in held.tickets.items() if place[0] == draw.name}
    live = {place: ticket for place, ticket in mine.items() if place not in held.voided}
    won = {place: _won(ticket, prices, draw.number) for place, ticket in live.items()}
    return Outcome(
        draw=draw,
        tickets=len(mine),
        voided=len(mine) - len(live),
        stake=_staked(mine.values()),
        counted=_staked(live.values()),
        prizes={place: amount for place, amount in won.items() if amount},
    )


def root_of(draw: str, held: Found) -> str:
    """The Merkle root over the draw's tickets in the order of their serials, in hex."""
    serials = sorted(serial for name, serial in held.tickets if name == draw)
    places = [(draw, serial) for serial in serials]
    leaves = [merkle.leaf_hash(leaf_text(held.tickets[place], place in held.voided)) for place in places]
    return merkle.root(leaves).hex()


def gaps_in(places: Iterable[Place]) -> int:
    """Serials between 1 and each draw's last that nobody holds."""
    serials: dict[str, set[int]] = {}
    for draw, serial in places:
        serials.setdefault(draw, set()).add(serial)
    return sum(max(numbers) - len(numbers) for numbers in serials.values())


def differing(mine: Found, theirs: Found) -> int:
    """Tickets that the two places do not have alike, in every field."""
    places = mine.tickets.keys() | theirs.tickets.keys()
    unlike = {place for place in places if mine.tickets.get(place) != theirs.tickets.get(place)}
    return len(unlike | (mine.voided ^ theirs.voided))


def exposures(held: Found) -> dict[str, dict[tuple[str, str], int]]:
    """Live stake by draw and bet, as the limits count it."""
    found: dict[str, dict[tuple[str, str], int]] = {}
    for place, ticket in held.tickets.items():
        if place in held.voided:
            continue
        exposure = found.setdefault(place[0], {})
        for play, number, amount in ticket.lines:
            bet = play, match_key(GAME, play, number)
            exposure[bet] = exposure.get(bet, 0) + amount
    return found


def _won(ticket: Ticket, prices: Mapping[str, int], result: str) -> int:
    return sum(prize(GAME, prices, b.play, b.number, b.stake, result) for b in ticket.lines)


def _staked(tickets: Iterable[Ticket]) -> int:
    return sum(stake(ticket.lines) for ticket in tickets)
