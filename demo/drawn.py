"""Winning numbers that were really drawn: from the file that DRAW_RESULTS names, else the few that are kept here."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from datetime import date, time
from pathlib import Path
from random import Random

from rules.draws import SCHEDULE_TIMES

GAME = "3D"

# Results of the Philippine PCSO 3D game.
KEPT = {
    date(2024, 2, 14): ("361", "077", "230"),
    date(2024, 6, 12): ("837", "760", "332"),
    date(2025, 1, 1): ("578", "342", "645"),
    date(2025, 8, 21): ("959", "368", "114"),
}

Days = dict[date, dict[time, str]]


def kept_days() -> Days:
    """The results kept here."""
    return {day: dict(zip(SCHEDULE_TIMES, numbers, strict=True)) for day, numbers in KEPT.items()}


def read_days(path: Path) -> Days:
    """Results of 3D by date and time, numbers as they are bet ("046"). Raises OSError, ValueError."""
    with path.open(newline="") as file:
        return parsed(csv.DictReader(file))


def parsed(rows: Iterable[dict[str, str]]) -> Days:
    """As `read_days`, from rows with game, draw_date, draw_time, number. Raises ValueError."""
    days: Days = {}
    for row in rows:
        try:
            if row["game"] == GAME:
                day, at = date.fromisoformat(row["draw_date"]), time.fromisoformat(row["draw_time"])
                days.setdefault(day, {})[at] = row["number"].replace("-", "")
        except KeyError as error:
            raise ValueError(f"no column {error} in the results") from error
    return days


def whole_day(days: Days, seed: int) -> tuple[date, list[tuple[time, str]]]:
    """One date on which all three draws were held, picked by the seed; its (time, number) in order.

    ValueError: there is no such date.
    """
    whole = sorted(day for day, numbers in days.items() if set(SCHEDULE_TIMES) <= numbers.keys())
    if not whole:
        raise ValueError("no date with all three draws among the results")
    day = Random(seed).choice(whole)
    return day, [(at, days[day][at]) for at in SCHEDULE_TIMES]
