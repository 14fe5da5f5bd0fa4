"""What the terminals hold after the day: their records, read back from their files."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from math import ceil
from pathlib import Path
from typing import Any

from rules.tickets import Line, Ticket


@dataclass
class Held:
    """One terminal's record, or several terminals' together."""

    tickets: dict[tuple[str, int], Ticket] = field(default_factory=dict)  # by (draw, serial)
    codes: dict[tuple[str, int], str] = field(default_factory=dict)
    numbers: dict[tuple[str, int], str] = field(default_factory=dict)
    voided: set[tuple[str, int]] = field(default_factory=set)
    receipts: int = 0
    refusals: Counter[str] = field(default_factory=Counter)
    refused_by_draw: Counter[tuple[str, str]] = field(default_factory=Counter)  # (draw, code)
    full: Counter[tuple[str, str, str]] = field(default_factory=Counter)  # (draw, play, number) refused as sold out
    void_refusals: Counter[str] = field(default_factory=Counter)
    late: Counter[str] = field(default_factory=Counter)  # what came of the late customers: accepted, or the code
    repeats: int = 0
    replayed: int = 0
    wrong_repeats: int = 0
    asked_again: int = 0
    ended: int = 0
    ms: list[float] = field(default_factory=list)
    regular_at: list[float] = field(default_factory=list)  # when regular customers were answered, since 1970
    accepted_at: list[float] = field(default_factory=list)  # those of them who got a receipt


def read_book(path: Path) -> Held:
    """One terminal's record. Raises ValueError for a line that is none."""
    held = Held()
    with path.open(encoding="utf-8") as file:
        for line in file:
            _take(held, json.loads(line))
    return held


def together(records: Iterable[Held]) -> Held:
    """All of them as one."""
    whole = Held()
    for held in records:
        for name, value in vars(held).items():
            mine = getattr(whole, name)
            if isinstance(value, int):
                setattr(whole, name, mine + value)
            elif isinstance(value, list):
                mine.extend(value)
            else:
                mine.update(value)  # counters add up
    return whole


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of them do not exceed; 0.0 if there are none."""
    if not values:
        return 0.0
    return sorted(values)[max(0, ceil(share * len(values)) - 1)]


def ticket_of(receipt: dict[str, Any]) -> Ticket:
    """The ticket that a receipt tells of."""
    lines = tuple(Line(item["play"], item["number"], item["stake"]) for item in receipt["lines"])
    accepted_ms = round(datetime.fromisoformat(receipt["accepted_at"]).timestamp() * 1000)
    draw, serial = receipt["draw_id"], receipt["serial"]
    return Ticket(draw, serial, receipt["id"], receipt["agent_id"], accepted_ms, lines, receipt["available"])


def _take(held: Held, entry: dict[str, Any]) -> None:
    what = entry["what"]
    if what == "receipt":
        _take_receipt(held, entry)
    elif what == "refusal":
        held.refusals[entry["code"]] += 1
        held.refused_by_draw[entry["draw"], entry["code"]] += 1
        held.full.update((entry["draw"], item["play"], item["number"]) for item in entry["lines"])
        if entry["late"]:
            held.late[entry["code"]] += 1
        else:
            held.regular_at.append(entry["at"])
    elif what == "repeat":
        held.repeats += 1
        held.replayed += entry["replayed"]
        held.wrong_repeats += entry["wrong"]
    elif what == "voided":
        held.voided.add(next(place for place, number in held.numbers.items() if number == entry["number"]))
    elif what == "void_refused":
        held.void_refusals[entry["code"]] += 1
    else:
        held.ended += 1
        held.asked_again += entry["asked_again"]


def _take_receipt(held: Held, entry: dict[str, Any]) -> None:
    receipt = entry["receipt"]
    place = receipt["draw_id"], receipt["serial"]
    held.receipts += 1
    held.tickets[place] = ticket_of(receipt)
    held.codes[place] = receipt["code"]
    held.numbers[place] = receipt["number"]
    if entry["ms"] is not None:
        held.ms.append(entry["ms"])
    if entry["late"]:
        held.late["accepted"] += 1
    else:
        held.regular_at.append(entry["at"])
        held.accepted_at.append(entry["at"])
