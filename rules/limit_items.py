"""Limits and price lists as people write them: a list of {play, number?, max}, and pay by prize class."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rules.errors import FieldError, Invalid
from rules.games import DEFAULT_PRIZES, PLAYS, match_key, refusal
from rules.limits import Limits

# Pays at least its stake: a prize of nothing is none. The gate's doubles stay exact up to the most (rules/limits.py).
PAY_MIN, PAY_MAX = 1, 1_000


def limits_from_items(
    game: str, items: Iterable[Mapping[str, Any]], payout: int | None = None, path: str = "limits"
) -> dict[str, Any]:
    """What the items ask for, under the names of rules.limits; only what is there.

    [{"play": "straight", "max": 5}, {"play": "rambolito", "number": "640", "max": 7}] gives
    {"stake_straight": 5, "by_number": {"rambolito": {"046": 7}}}. Invalid: no such bet, or the same one twice.
    """
    found: dict[str, Any] = {}
    by_number: dict[str, dict[str, int]] = {}
    errors: list[FieldError] = []
    for index, item in enumerate(items):
        play, number = item["play"], item.get("number")
        if number is None:
            if f"stake_{play}" in found:
                errors.append({"path": path, "message": "each play once"})
            found[f"stake_{play}"] = item["max"]
        elif reason := refusal(game, play, number):
            errors.append({"path": f"{path}.{index}.number", "message": reason})
        else:
            key = match_key(game, play, number)
            if key in by_number.setdefault(play, {}):
                errors.append({"path": path, "message": f"each number once; {play} {key} is there twice"})
            by_number[play][key] = item["max"]
    if errors:
        raise Invalid(errors=errors)
    if by_number:
        found["by_number"] = by_number
    return found if payout is None else {**found, "payout": payout}


def play_items(limits: Limits) -> list[dict[str, Any]]:
    """Each play with the limit of its numbers that have none of their own."""
    return [{"play": play, "max": limits.stake(play)} for play in PLAYS]


def number_items(by_number: Mapping[str, Mapping[str, int]]) -> list[dict[str, Any]]:
    """The numbers (match keys) that have a limit of their own, by play and number."""
    return [
        {"play": play, "number": key, "max": amount}
        for play in PLAYS
        for key, amount in sorted(by_number.get(play, {}).items())
    ]


def prize_table_errors(game: str, prizes: Mapping[str, int]) -> Sequence[FieldError]:
    """What is wrong with a price list: it names every prize class of the game, and what 1 staked pays."""
    errors: list[FieldError] = []
    for name in sorted(DEFAULT_PRIZES[game].keys() | prizes.keys()):
        if name not in DEFAULT_PRIZES[game]:
            errors.append({"path": f"prize_table.{name}", "message": f"{game} has no such prize"})
        elif name not in prizes:
            errors.append({"path": f"prize_table.{name}", "message": "missing"})
        elif not PAY_MIN <= prizes[name] <= PAY_MAX:
            errors.append({"path": f"prize_table.{name}", "message": f"from {PAY_MIN} to {PAY_MAX}"})
    return errors
