"""How much may be staked on a number: the stake that it takes, and the payout that an outcome may cause.

Exposure is what a draw has sold: centavos by (play, match key), so a rambolito counts once, under its sorted
number. The worst case of an outcome is the straight stake on it times its pay plus the stake of the rambolito
that covers it times its pay; a rambolito bet therefore touches every order of its number.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypedDict

from rules.errors import FieldError, Invalid
from rules.games import GAMES, PLAYS, covers, match_key, prize_class, refusal
from rules.tickets import Line

STAKE_UNIT = 100  # whole pesos, in centavos
LINES_MAX = 10
# ₱100,000 on one line, far above the usual limits: it keeps a mistyped amount out of all sums.
STAKE_MAX = 100_000_00
# ₱10 billion. The gate computes in doubles: a stake at its limit times a pay must stay exact.
LIMIT_MAX = 1_000_000_000_000
_PAY_MAX = 1_000

assert STAKE_MAX % STAKE_UNIT == 0
assert (LIMIT_MAX + LINES_MAX * STAKE_MAX) * _PAY_MAX < 2**53

Exposure = Mapping[tuple[str, str], int]


@dataclass(frozen=True)
class Limits:
    """A draw's limits, in centavos."""

    stake_straight: int = 100_000  # per number
    stake_rambolito: int = 150_000  # per sorted number
    payout: int = 60_000_000  # the most that any one outcome may cost
    # Limits of stake of single numbers, by play and match key, instead of the play's.
    by_number: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def stake(self, play: str, key: str | None = None) -> int:
        """The most that may be staked on the number with that match key; without one, on any that has no own limit."""
        most = {"straight": self.stake_straight, "rambolito": self.stake_rambolito}[play]
        return most if key is None else self.by_number.get(play, {}).get(key, most)

    def to_dict(self) -> dict[str, object]:
        """As `from_dict` reads it; `by_number` only if there is any."""
        plain: dict[str, object] = {name: getattr(self, name) for name in _AMOUNTS}
        numbers = {play: dict(amounts) for play, amounts in self.by_number.items() if amounts}
        return {**plain, "by_number": numbers} if numbers else plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, object], game: str | None = None) -> "Limits":
        """Read limits, with defaults for what is not there.

        Invalid: an unknown name, an amount that is not within 0 and LIMIT_MAX, or in `by_number` what is no play, or no
        match key of the game if that is given.
        """
        amounts = {name: amount for name, amount in plain.items() if name != "by_number"}
        errors = list(_amount_errors(amounts))
        by_number = plain.get("by_number", {})
        errors += _number_errors(by_number, game)
        if errors:
            raise Invalid(errors=errors)
        return cls(**amounts, by_number=by_number)  # type: ignore[arg-type]

    @classmethod
    def frozen(
        cls,
        limits: Mapping[str, object],
        by_number: Mapping[str, Mapping[str, int]] | None = None,
        asked: Mapping[str, object] | None = None,
    ) -> "Limits":
        """Those of a draw: its game's `limits` and `by_number`, overruled one by one by what was `asked` for it."""
        game, own = cls.from_dict({**limits, "by_number": by_number or {}}), cls.from_dict(asked or {})
        numbers = {play: {**game.by_number.get(play, {}), **own.by_number.get(play, {})} for play in PLAYS}
        amounts = {name: getattr(own if name in (asked or {}) else game, name) for name in _AMOUNTS}
        return cls(**amounts, by_number={play: keys for play, keys in numbers.items() if keys})


_AMOUNTS = ("stake_straight", "stake_rambolito", "payout")


def _amount_errors(amounts: Mapping[str, object]) -> Iterable[FieldError]:
    for name, amount in amounts.items():
        if name not in _AMOUNTS:
            yield {"path": f"limits.{name}", "message": "there is no such limit"}
        elif not _is_amount(amount):
            yield {"path": f"limits.{name}", "message": _AMOUNT}


def _number_errors(by_number: object, game: str | None) -> Iterable[FieldError]:
    if not isinstance(by_number, Mapping):
        yield {"path": "limits.by_number", "message": "limits by play and number"}
        return
    for play, numbers in by_number.items():
        path = f"limits.by_number.{play}"
        if play not in PLAYS or not isinstance(numbers, Mapping):
            yield {"path": path, "message": "limits by play and number"}
            continue
        for key, amount in numbers.items():
            if game is not None and (refusal(game, play, key) is not None or match_key(game, play, key) != key):
                yield {"path": f"{path}.{key}", "message": "no number under which bets are counted"}
            elif not _is_amount(amount):
                yield {"path": f"{path}.{key}", "message": _AMOUNT}


_AMOUNT = f"centavos, from 0 to {LIMIT_MAX}"


def _is_amount(amount: object) -> bool:
    return type(amount) is int and 0 <= amount <= LIMIT_MAX


class Refused(NamedTuple):
    """A bet that does not fit: its number as it stands first on the ticket, and what may still be staked."""

    play: str
    number: str
    left: int


class NumberLeft(TypedDict):
    """A number (its match key) and what may still be staked on it, as the API lists it."""

    play: str
    number: str
    left: int


def stake_refusal(stake: int) -> str | None:
    """Say why a line cannot have this stake, or None if it can."""
    if stake < STAKE_UNIT or stake % STAKE_UNIT:
        return f"a stake is whole pesos, a multiple of {STAKE_UNIT} centavos"
    if stake > STAKE_MAX:
        return f"a stake is at most {STAKE_MAX} centavos"
    return None


def left(game: str, prizes: Mapping[str, int], limits: Limits, exposure: Exposure, play: str, number: str) -> int:
    """What may still be staked on the bet under both kinds of limit: centavos, whole pesos, never below 0.

    ValueError: no such bet.
    """
    key = match_key(game, play, number)
    room = limits.stake(play, key) - exposure.get((play, key), 0)
    pay = prizes[prize_class(game, play, number)]
    if pay:
        worst = max(payout_of(game, prizes, exposure, outcome) for outcome in covers(game, play, number))
        room = min(room, (limits.payout - worst) // pay)
    return max(room, 0) // STAKE_UNIT * STAKE_UNIT


def summed(game: str, bets: Iterable[Line]) -> list[Line]:
    """Equal bets (of one play and match key) as one, in the order and under the number of the first of each.

    Checked one by one, each of two equal lines would be seen without the other.
    """
    first: dict[tuple[str, str], Line] = {}
    for play, number, stake in bets:
        key = (play, match_key(game, play, number))
        earlier = first.get(key)
        first[key] = Line(play, earlier.number, earlier.stake + stake) if earlier else Line(play, number, stake)
    return list(first.values())


def take(
    game: str, prizes: Mapping[str, int], limits: Limits, exposure: Exposure, bets: Iterable[Line]
) -> list[Refused]:
    """Try a ticket's bets in order; the ticket can be taken if nothing is refused. `exposure` stays as it is.

    Each bet is looked at after those before it that fit; one that does not fit takes no room from the next.
    This is the model that the gate's script is tested against. ValueError: no such bet.
    """
    sold = dict(exposure)
    refused = []
    for play, number, stake in summed(game, bets):
        room = left(game, prizes, limits, sold, play, number)
        if stake > room:
            refused.append(Refused(play, number, room))
            continue
        key = (play, match_key(game, play, number))
        sold[key] = sold.get(key, 0) + stake
    return refused


def sold_out(game: str, prizes: Mapping[str, int], limits: Limits, exposure: Exposure) -> list[NumberLeft]:
    """The numbers that sales or their own limit leave nothing of, sorted by play and number.

    A straight number can be filled up by the rambolito that covers it, and a rambolito by one of its straight
    numbers, so every bet is looked at that shares an outcome with something sold.
    """
    touched = {
        (play, match_key(game, play, outcome))
        for (sold_play, number), stake in exposure.items()
        if stake
        for outcome in covers(game, sold_play, number)
        for play in GAMES[game].plays
        if refusal(game, play, outcome) is None
    } | {(play, key) for play, keys in limits.by_number.items() for key in keys}
    return [
        {"play": play, "number": number, "left": 0}
        for play, number in sorted(touched)
        if left(game, prizes, limits, exposure, play, number) == 0
    ]


def payout_of(game: str, prizes: Mapping[str, int], exposure: Exposure, outcome: str) -> int:
    """What all that is sold would cost if this outcome were drawn, in centavos."""
    total = 0
    for play in GAMES[game].plays:
        stake = exposure.get((play, match_key(game, play, outcome)), 0)
        if stake:
            total += stake * prizes[prize_class(game, play, outcome)]
    return total
