"""A ticket's lines as the gate counts them: equal bets summed, each with the outcomes that it could make dear."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache

from intake.records import PLAY_LETTERS
from rules import games
from rules.tickets import Line


def field(game: str, play: str, number: str) -> str:
    """The exposure field of a bet: "s046", or "r123" by its sorted number."""
    return PLAY_LETTERS[play] + games.match_key(game, play, number)


@lru_cache(maxsize=8192)
def _words(game: str, play: str, number: str) -> tuple[str | int, ...]:
    """What sell.lua is told of a bet behind its stake."""
    outcomes = games.covers(game, play, number)
    rambolito = ""
    rambolito_class = ""
    if games.refusal(game, "rambolito", number) is None:
        rambolito = field(game, "rambolito", number)
        rambolito_class = games.prize_class(game, "rambolito", number)
    own = field(game, play, number), games.prize_class(game, play, number)
    return *own, rambolito, rambolito_class, len(outcomes), *("s" + outcome for outcome in outcomes)


def summed(game: str, lines: Iterable[Line]) -> dict[tuple[str, str], int]:
    """Stake by (play, match key), in the order of first appearance."""
    found: dict[tuple[str, str], int] = {}
    for line in lines:
        bet = (line.play, games.match_key(game, line.play, line.number))
        found[bet] = found.get(bet, 0) + line.stake
    return found


def arguments(game: str, lines: Iterable[Line]) -> list[str | int]:
    """The words of sell.lua for each different bet, in the order of `summed`."""
    found: list[str | int] = []
    for (play, key), stake in summed(game, lines).items():
        found += (stake, *_words(game, play, key))
    return found


def fields(game: str, lines: Iterable[Line]) -> dict[str, int]:
    """Stake by exposure field."""
    return {field(game, play, key): stake for (play, key), stake in summed(game, lines).items()}


def limits_by_field(by_number: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """Limits of numbers (play → match key → centavos) by exposure field."""
    return {PLAY_LETTERS[play] + key: most for play, keys in by_number.items() for key, most in keys.items()}
