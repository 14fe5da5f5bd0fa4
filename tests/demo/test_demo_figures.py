"""What a day came to, and how it is shown: from tickets made by hand."""

from __future__ import annotations

import json
from datetime import date, time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from demo import books, drawn, figures, tables
from demo.check import Row
from demo.day import DrawOfTheDay
from demo.sources import Found
from rules.games import DEFAULT_PRIZES
from rules.merkle import leaf_hash, root
from rules.tickets import Line, Ticket, leaf_text, ticket_number

DRAW = "3D-20240214-1400"
PRICES = DEFAULT_PRIZES["3D"]


def ticket(serial: int, *lines: Line) -> Ticket:
    ticket_id = f"00000000-0000-4000-8000-{serial:012d}"
    return Ticket(DRAW, serial, ticket_id, 7, 1_700_000_000_000 + serial, lines, 90_000)


def held(*tickets: Ticket, voided: tuple[int, ...] = ()) -> Found:
    return Found({(t.draw, t.serial): t for t in tickets}, {(DRAW, serial) for serial in voided})


def draw(number: str = "361") -> DrawOfTheDay:
    return DrawOfTheDay(DRAW, date(2024, 2, 14), time(14), number, stage="settled")


THREE = (
    ticket(1, Line("straight", "361", 10_00), Line("straight", "777", 5_00)),
    ticket(2, Line("rambolito", "163", 20_00)),
    ticket(3, Line("straight", "361", 1_00)),
)


def test_prizes_are_recomputed_from_the_tickets_and_voided_ones_win_nothing() -> None:
    found = figures.outcome(draw(), PRICES, held(*THREE, voided=(3,)))
    assert (found.tickets, found.voided, found.stake, found.counted) == (3, 1, 36_00, 35_00)
    assert found.prizes == {(DRAW, 1): 4_500_00, (DRAW, 2): 1_500_00}
    assert found.paid == 6_000_00


def test_the_root_is_that_of_the_leaves_in_the_order_of_their_serials() -> None:
    leaves = [leaf_hash(leaf_text(t, voided=t.serial == 2)) for t in THREE]
    assert figures.root_of(DRAW, held(*reversed(THREE), voided=(2,))) == root(leaves).hex()


def test_a_serial_that_nobody_holds_is_a_gap() -> None:
    assert figures.gaps_in(held(*THREE).tickets) == 0
    assert figures.gaps_in([(DRAW, 1), (DRAW, 4), ("3D-20240214-1700", 2)]) == 3


def test_an_altered_ticket_a_missing_one_and_a_missing_void_are_each_noticed() -> None:
    mine = held(*THREE, voided=(2,))
    altered = THREE[0]._replace(lines=(Line("straight", "361", 20_00),))
    assert figures.differing(mine, mine) == 0
    assert figures.differing(mine, held(altered, *THREE[1:], voided=(2,))) == 1
    assert figures.differing(mine, held(*THREE[1:], voided=(2,))) == 1
    assert figures.differing(mine, held(*THREE)) == 1


def test_rambolito_stakes_are_exposed_under_the_sorted_number() -> None:
    assert figures.exposures(held(*THREE, voided=(1,))) == {
        DRAW: {("rambolito", "136"): 20_00, ("straight", "361"): 1_00}
    }


def test_a_figure_holds_only_if_everybody_says_the_same() -> None:
    assert Row("tickets", {"receipts": 3, "journal": 3}).holds
    assert not Row("tickets", {"receipts": 3, "journal": 2}).holds
    assert Row("missing", {"receipts": 0, "ledger": 0}, zero=True).holds
    assert not Row("missing", {"receipts": 1, "ledger": 1}, zero=True).holds


# ── the terminals' records ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("share", "expected"), [(0.5, 5), (0.99, 10), (0.1, 1), (0.0, 1)])
def test_a_percentile_is_a_measured_value(share: float, expected: int) -> None:
    assert books.percentile([3, 1, 2, 5, 4, 10, 9, 8, 7, 6], share) == expected


def test_there_is_no_percentile_of_nothing() -> None:
    assert books.percentile([], 0.5) == 0.0


def receipt(t: Ticket) -> dict[str, Any]:
    lines = [{"game": "3D", "play": b.play, "number": b.number, "stake": b.stake} for b in t.lines]
    return {
        "number": ticket_number(t.draw, t.serial), "draw_id": t.draw, "serial": t.serial, "id": t.id,
        "code": "0123456789ABCDEF", "agent_id": t.agent_id, "lines": lines, "available": t.available,
        "accepted_at": "2023-11-14T22:13:20.001Z",
    }  # fmt: skip


def test_a_record_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    entries = [
        {"what": "receipt", "ms": 12.5, "at": 10.0, "late": False, "receipt": receipt(THREE[0])},
        {"what": "repeat", "replayed": True, "wrong": False, "status": 200, "code": ""},
        {"what": "voided", "number": ticket_number(DRAW, 1)},
        {"what": "refusal", "code": "cutoff_passed", "draw": DRAW, "late": True, "at": 11.0, "lines": []},
        {"what": "end", "asked_again": 2},
    ]
    path = tmp_path / "t.jsonl"
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    found = books.together([books.read_book(path)] * 2)
    assert found.tickets == {(DRAW, 1): THREE[0]}
    assert found.voided == {(DRAW, 1)}
    assert (found.receipts, found.repeats, found.replayed, found.asked_again, found.ended) == (2, 2, 2, 4, 2)
    assert found.refusals == {"cutoff_passed": 2}
    assert found.late == {"cutoff_passed": 2}
    assert found.ms == [12.5, 12.5]


# ── results and tables ────────────────────────────────────────────────────────────────────────────────────


def test_a_day_with_a_cancelled_draw_is_not_picked() -> None:
    rows = [
        {"game": "3D", "draw_date": f"2024-01-0{day}", "draw_time": at, "number": "0-4-6"}
        for day in (1, 2) for at in ("14:00", "17:00", "21:00") if (day, at) != (1, "17:00")
    ]  # fmt: skip
    rows.append({"game": "2D", "draw_date": "2024-01-01", "draw_time": "17:00", "number": "15-29"})
    for seed in range(5):
        day, numbers = drawn.whole_day(drawn.parsed(rows), seed)
        assert day == date(2024, 1, 2)
        assert numbers == [(time(14), "046"), (time(17), "046"), (time(21), "046")]


def test_there_are_kept_results_and_the_seed_picks_among_them() -> None:
    picked = {drawn.whole_day(drawn.kept_days(), seed)[0] for seed in range(50)}
    assert picked == drawn.kept_days().keys()


@pytest.mark.parametrize(
    ("centavos", "text"), [(0, "₱0"), (1_234_50, "₱1,234.50"), (-100_00, "-₱100"), (60_000_000, "₱600,000")]
)
def test_money_is_shown_in_pesos(centavos: int, text: str) -> None:
    assert tables.pesos(centavos) == text


def test_the_sales_table_adds_the_draws_up() -> None:
    outcome = figures.outcome(draw(), PRICES, held(*THREE, voided=(3,)))
    console = Console(width=120)
    with console.capture() as capture:
        console.print(tables.sales_table([outcome, outcome], books.Held()))
    total = capture.get().splitlines()[-1].split()
    assert total == ["the", "day", "6", "2", "₱70", "0", "4", "₱12,000", "17142.9", "%"]
