"""The games: data, and pure functions over them.

A number is made of places, each showing one symbol: three digits in 3D ("046"), two of 01..31 in 2D
("08-20"). An outcome is a number that can be drawn; a bet is a play and a number. A play covers the outcomes
that make the bet win: the number itself, or every order of it. How many outcomes it covers names its prize
class, so a new game, or a play in it, is a new entry in GAMES and DEFAULT_PRIZES.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import permutations, product

PLAYS = ("straight", "rambolito")


@dataclass(frozen=True)
class Play:
    """`classes` gives the prize class by the number of outcomes covered; a count not in it cannot be bet."""

    any_order: bool
    classes: Mapping[int, str]


@dataclass(frozen=True)
class Game:
    code: str
    letter: str  # the first character of its ticket numbers, one of Crockford's base32
    symbols: tuple[str, ...]
    places: int
    separator: str
    plays: Mapping[str, Play]
    shape: str  # what a number looks like, for people
    symbol_set: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "symbol_set", frozenset(self.symbols))

    def split(self, number: str) -> list[str]:
        return number.split(self.separator) if self.separator else list(number)

    def join(self, parts: tuple[str, ...] | list[str]) -> str:
        return self.separator.join(parts)


_STRAIGHT = Play(any_order=False, classes={1: "straight"})

_ALL_GAMES = (
    Game(
        code="3D",
        letter="3",
        symbols=tuple("0123456789"),
        places=3,
        separator="",
        plays={
            "straight": _STRAIGHT,
            "rambolito": Play(any_order=True, classes={3: "rambolito_pair", 6: "rambolito_distinct"}),
        },
        shape="three digits, 000 to 999",
    ),
    Game(
        code="2D",
        letter="2",
        symbols=tuple(f"{number:02d}" for number in range(1, 32)),
        places=2,
        separator="-",
        plays={"straight": _STRAIGHT, "rambolito": Play(any_order=True, classes={2: "rambolito"})},
        shape="two numbers from 01 to 31 with a dash between them, such as 08-20",
    ),
)

GAMES: dict[str, Game] = {game.code: game for game in _ALL_GAMES}

# Centavos paid for each centavo staked, by game and prize class.
DEFAULT_PRIZES: dict[str, dict[str, int]] = {
    "3D": {"straight": 450, "rambolito_pair": 150, "rambolito_distinct": 75},
    "2D": {"straight": 400, "rambolito": 200},
}

for _game in _ALL_GAMES:
    assert set(_game.plays) <= set(PLAYS)
    assert {name for play in _game.plays.values() for name in play.classes.values()} == set(DEFAULT_PRIZES[_game.code])


def refusal(game: str, play: str, number: str) -> str | None:
    """Say why this bet cannot exist, or None if it can."""
    if game not in GAMES:
        return f"there is no such game; the games are {', '.join(GAMES)}"
    if play not in GAMES[game].plays:
        return f"there is no such play in {game}; the plays are {', '.join(GAMES[game].plays)}"
    if not is_outcome(game, number):
        return f"a number in {game} is {GAMES[game].shape}"
    if len(_orders(game, play, number)) not in GAMES[game].plays[play].classes:
        return f"a number whose parts are all equal cannot be played {play}"
    return None


def is_outcome(game: str, number: str) -> bool:
    """Whether the number can be drawn. Exact: ASCII digits only, nothing before or after them."""
    rules = GAMES[game]
    parts = rules.split(number)
    return len(parts) == rules.places and rules.symbol_set.issuperset(parts)


@cache
def outcomes(game: str) -> tuple[str, ...]:
    """Every number that can be drawn, in order: 1,000 in 3D, 961 in 2D."""
    rules = GAMES[game]
    return tuple(rules.join(parts) for parts in product(rules.symbols, repeat=rules.places))


@cache
def match_key(game: str, play: str, number: str) -> str:
    """The number under which equal bets are counted: itself, or its parts sorted where any order wins.

    ValueError: not a number of this game.
    """
    return _orders(game, play, number)[0]


def prize_class(game: str, play: str, number: str) -> str:
    """The line of the prize table that pays this bet. ValueError: `refusal` refuses the bet."""
    _must_exist(game, play, number)
    return GAMES[game].plays[play].classes[len(_orders(game, play, number))]


def covers(game: str, play: str, number: str) -> tuple[str, ...]:
    """The outcomes that make this bet win, in order. ValueError: `refusal` refuses the bet."""
    _must_exist(game, play, number)
    return _orders(game, play, number)


def winning_bets(game: str, result: str) -> list[tuple[str, tuple[str, ...]]]:
    """For each play of the game the numbers that win, as they may have been bet.

    3D 112: [("straight", ("112",)), ("rambolito", ("112", "121", "211"))]; with 111 rambolito has none.
    ValueError: not a number of this game.
    """
    bets = []
    for name, play in GAMES[game].plays.items():
        numbers = _orders(game, name, result)
        bets.append((name, numbers if len(numbers) in play.classes else ()))
    return bets


def anagrams(game: str, result: str) -> list[str]:
    """Every number with the same parts in whatever order, in order: no other bet can win. ValueError: as `covers`."""
    rules = GAMES[game]
    if not is_outcome(game, result):
        raise ValueError(f"not a number of {game}: {result!r}")
    parts = sorted(rules.split(result))
    return [number for number in outcomes(game) if sorted(rules.split(number)) == parts]


def prize(game: str, prizes: Mapping[str, int], play: str, number: str, stake: int, result: str) -> int:
    """What the bet wins, in centavos; 0 if it loses. `prizes` is the draw's frozen table of this game.

    ValueError: `refusal` refuses the bet, or the result is not a number of this game.
    """
    if not is_outcome(game, result):
        raise ValueError(f"not a number of {game}: {result!r}")
    if result not in covers(game, play, number):
        return 0
    return stake * prizes[prize_class(game, play, number)]


@cache
def _must_exist(game: str, play: str, number: str) -> None:
    reason = refusal(game, play, number)
    if reason is not None:
        raise ValueError(reason)


@cache  # bounded: what is not a number of a game raises, and raising is not remembered
def _orders(game: str, play: str, number: str) -> tuple[str, ...]:
    """The orders of the number that the play counts as the same, sorted, also where it cannot be bet."""
    if not is_outcome(game, number):
        raise ValueError(f"not a number of {game}: {number!r}")
    rules = GAMES[game]
    if not rules.plays[play].any_order:
        return (number,)
    return tuple(sorted({rules.join(parts) for parts in permutations(rules.split(number))}))
