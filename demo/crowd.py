"""Who buys what, where and how often: pure, every choice from the random generator that is handed in."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from random import Random
from typing import Any, Generic, TypeVar

from rules.games import outcomes, refusal
from rules.tickets import Line, stake

GAME = "3D"
PESO = 100  # centavos

# How often people play a number, against 1 for one that means nothing to anybody. A favourite's share falls with its
# rank as in Zipf's law; a birthday (month and day, 214) is played twice as often.
FAVOURITE_WEIGHT = 80.0
FAVOURITE_FALL = 1.3
BIRTHDAY_WEIGHT = 2.0
FAVOURITES = (
    "777", "888", "123", "168", "111", "007", "333", "999", "555", "911", "321", "143", "520", "000", "666", "369",
    "088", "018", "101", "222", "444", "789", "456", "234", "246", "808", "214", "225", "345", "108", "714", "118",
    "711", "131", "987", "313", "404", "626", "247", "028",
)  # fmt: skip

LINES_OF_A_TICKET = {1: 45, 2: 25, 3: 15, 4: 9, 5: 6}
PESOS = {1: 4, 2: 4, 5: 22, 10: 40, 20: 20, 50: 10}
PESOS_ON_A_FAVOURITE = {5: 10, 10: 30, 20: 35, 50: 25}
RAMBOLITO_SHARE = 0.25

LATE_SHARE = 0.02  # of a draw's tickets: customers who come at the moment of the cutoff
DRY_EVERY = 8  # one terminal in so many has too little credit …
DRY_CREDIT_SHARE = 0.45  # … so much of what it is going to be asked for; the others have twice that
PLENTY = 2.0

T = TypeVar("T")


class Weighted(Generic[T]):
    """Values to be picked by weight."""

    def __init__(self, weights: Iterable[tuple[T, float]]) -> None:
        pairs = list(weights)
        self.values = [value for value, _ in pairs]
        self._sums = list(accumulate(weight for _, weight in pairs))

    def pick(self, rng: Random) -> T:
        return rng.choices(self.values, cum_weights=self._sums)[0]


def popularity() -> dict[str, float]:
    """The weight of each of the thousand numbers."""
    birthdays = {f"{month}{day:02d}" for month in range(1, 10) for day in range(1, 32)}
    weights = {number: BIRTHDAY_WEIGHT if number in birthdays else 1.0 for number in outcomes(GAME)}
    for rank, number in enumerate(FAVOURITES, 1):
        weights[number] += FAVOURITE_WEIGHT / rank**FAVOURITE_FALL
    return weights


_NUMBERS = Weighted(popularity().items())
_FAVOURITES = frozenset(FAVOURITES)
_LINES = Weighted(LINES_OF_A_TICKET.items())
_PESOS = Weighted(PESOS.items())
_FAVOURITE_PESOS = Weighted(PESOS_ON_A_FAVOURITE.items())


def bet(rng: Random) -> Line:
    """One line as people play it."""
    number = _NUMBERS.pick(rng)
    pesos = (_FAVOURITE_PESOS if number in _FAVOURITES else _PESOS).pick(rng)
    any_order = rng.random() < RAMBOLITO_SHARE and refusal(GAME, "rambolito", number) is None
    return Line("rambolito" if any_order else "straight", number, pesos * PESO)


def slip(rng: Random) -> tuple[Line, ...]:
    """What one customer plays: one to five lines."""
    return tuple(bet(rng) for _ in range(_LINES.pick(rng)))


def second_choice(rng: Random, lines: Sequence[Line], sold_out: Iterable[tuple[str, str]]) -> tuple[Line, ...]:
    """The slip with other numbers in place of those (play, number) that cannot be had: any that nobody crowds on."""
    refused = set(sold_out)
    return tuple(
        line._replace(play="straight", number=f"{rng.randrange(1000):03d}")
        if (line.play, line.number) in refused
        else line
        for line in lines
    )


def new_id(rng: Random) -> str:
    """A ticket's id, as a terminal makes it."""
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


def sale_body(ticket_id: str, draw: str, lines: Sequence[Line]) -> dict[str, Any]:
    """The body of POST /v1/tickets."""
    return {
        "id": ticket_id,
        "draw_id": draw,
        "lines": [{"game": GAME, "play": b.play, "number": b.number, "stake": b.stake} for b in lines],
    }


# ── the day ───────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Counter:
    """One terminal's day: customers per draw, how many more come at each cutoff, and its credit in centavos."""

    index: int
    customers: tuple[int, ...]
    late: tuple[int, ...]
    credit: int

    @property
    def name(self) -> str:
        return f"terminal-{self.index + 1:03d}"


def shares(total: int, parts: int) -> list[int]:
    """`total` in `parts` whole shares that differ by one at most."""
    return [total // parts + (part < total % parts) for part in range(parts)]


def counters(tickets: int, terminals: int, draws: int) -> list[Counter]:
    """The day's customers, dealt out: together exactly `tickets`."""
    by_draw = [shares(total, terminals) for total in shares(tickets, draws)]
    expected = average_slip() * tickets / terminals
    found = []
    for index in range(terminals):
        # The remainders start elsewhere in each draw, so that no terminal gets all of them.
        mine = [dealt[(index + draw) % terminals] for draw, dealt in enumerate(by_draw)]
        late = [min(count, max(1, round(count * LATE_SHARE))) for count in mine]
        regular = [count - held_back for count, held_back in zip(mine, late, strict=True)]
        share = DRY_CREDIT_SHARE if index % DRY_EVERY == DRY_EVERY - 1 else PLENTY
        credit = round(expected * share / (100 * PESO)) * 100 * PESO
        found.append(Counter(index, tuple(regular), tuple(late), max(credit, 100 * PESO)))
    return found


def average_slip() -> float:
    """What a customer spends on average, in centavos; from a sample, always the same."""
    rng = Random(0)
    return sum(stake(slip(rng)) for _ in range(2000)) / 2000
