"""Shortcuts for tests of corrections: the two persons' calls, and what was paid in error."""

from __future__ import annotations

from typing import Any

from actions import corrections
from tests.integration.after_sales import read_draw
from tests.integration.counters import House

REASON = "the ball was misread"


def ask(house: House, actor: int, number: str, **more: Any) -> dict[str, Any]:
    row = read_draw(house.res, house.draw)
    entry = {"number": number, "date": row.date, "time": row.time, "reason": REASON} | more
    return corrections.ask(house.res, actor, house.draw, **entry)


def confirm(house: House, actor: int, number: str, **more: Any) -> dict[str, Any]:
    row = read_draw(house.res, house.draw)
    entry = {"number": number, "date": row.date, "time": row.time, "reason": "seen on the film"} | more
    return corrections.confirm(house.res, actor, house.draw, **entry)


def excesses(house: House) -> dict[str, tuple[int, int, int]]:
    """(paid, prize, excess) of what was paid in error, by ticket."""
    body = corrections.paid_in_error(house.res, house.draw, 500, None)
    return {item["number"]: (item["paid"], item["prize"], item["excess"]) for item in body["items"]}
