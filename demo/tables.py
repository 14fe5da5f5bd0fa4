"""The tables at the end; every figure is handed in as it was measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from demo.books import Held
from demo.check import SOURCES, Row
from demo.crowd import GAME
from demo.figures import Outcome
from demo.people import Terminal
from rules.games import match_key
from rules.limits import Limits, sold_out
from rules.tickets import stake

ROWS_MAX = 12


def pesos(centavos: int) -> str:
    """₱1,234.50, without decimals where there are none."""
    whole, rest = divmod(abs(centavos), 100)
    return f"{'-' if centavos < 0 else ''}₱{whole:,}" + (f".{rest:02d}" if rest else "")


def percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "–"


def _table(title: str, left: Sequence[str], right: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, show_edge=False)
    for name in left:
        table.add_column(name)
    for name in right:
        table.add_column(name, justify="right")
    return table


def sales_table(outcomes: Sequence[Outcome], held: Held) -> Table:
    """Sales, winners and payout of each draw, and of the day."""
    names = ("tickets", "voided", "sales", "refused", "winners", "prizes", "payout")
    table = _table("Draws", ("draw", "result"), names)
    totals = [0] * 6
    for found in outcomes:
        refused = sum(count for (draw, _), count in held.refused_by_draw.items() if draw == found.draw.name)
        figures = [found.tickets, found.voided, found.counted, refused, len(found.prizes), found.paid]
        totals = [total + figure for total, figure in zip(totals, figures, strict=True)]
        table.add_row(found.draw.name, found.draw.number, *_sales(figures))
    table.add_section()
    table.add_row("the day", "", *_sales(totals), style="bold")
    return table


def _sales(figures: Sequence[int]) -> list[str]:
    tickets, voided, sales, refused, winners, prizes = figures
    counts = [f"{tickets:,}", f"{voided:,}", pesos(sales), f"{refused:,}", f"{winners:,}", pesos(prizes)]
    return [*counts, percent(prizes, sales)]


def refusals_table(held: Held) -> Table:
    """Why tickets were refused, and what came of those who came at the cutoff."""
    table = _table("Refused tickets", ("code",), ("tickets", "of them at the cutoff"))
    for code, count in held.refusals.most_common():
        table.add_row(code, f"{count:,}", f"{held.late[code]:,}")
    table.add_row("(accepted at the cutoff)", "", f"{held.late['accepted']:,}", style="dim")
    return table


def sold_out_table(staked: Mapping[str, Mapping[tuple[str, str], int]], prices: Mapping[str, int], held: Held) -> Table:
    """The numbers that were full when their draw closed, those most asked for in vain first."""
    table = _table("Sold-out numbers", ("draw", "play", "number"), ("staked", "limit", "asked in vain"))
    limits = Limits()
    asked: Counter[tuple[str, str, str]] = Counter()
    for (draw, play, number), count in held.full.items():
        asked[draw, play, match_key(GAME, play, number)] += count
    full = [
        (draw, item["play"], item["number"])
        for draw, exposure in staked.items()
        for item in sold_out(GAME, prices, limits, exposure)
    ]
    full.sort(key=lambda bet: (-asked[bet], bet))
    for draw, play, number in full[:ROWS_MAX]:
        amount = staked[draw].get((play, number), 0)
        table.add_row(draw, play, number, pesos(amount), pesos(limits.stake(play)), f"{asked[draw, play, number]:,}")
    table.caption = f"{len(full)} numbers were full" + _shown_of(min(ROWS_MAX, len(full)), len(full))
    return table


def _shown_of(shown: int, of: int) -> str:
    return f"; {shown} shown" if shown < of else ""


def terminals_table(terminals: Sequence[Terminal], records: Sequence[Held], won: Mapping[int, int]) -> Table:
    """The best sellers, and those that ran out of credit. `won`: prizes by agent."""
    names = ("tickets", "sales", "prizes", "payout", "sold out", "no credit", "credit", "left")
    table = _table("Terminals", ("terminal", "under"), names)
    rows = [(_sold(held), terminal, held) for terminal, held in zip(terminals, records, strict=True)]
    rows.sort(key=lambda row: -row[0])
    dry = [row for row in rows if row[2].refusals["insufficient_credit"]]
    best = [row for row in rows if not row[2].refusals["insufficient_credit"]]
    shown = best[: max(ROWS_MAX - len(dry), ROWS_MAX // 2)] + dry[: ROWS_MAX // 2]
    for sales, terminal, held in shown:
        prizes, credit = won.get(terminal.user_id, 0), terminal.counter.credit
        refused = [f"{held.refusals[code]:,}" for code in ("sold_out", "insufficient_credit")]
        table.add_row(
            terminal.counter.name, terminal.coordinator, f"{len(held.tickets):,}", pesos(sales), pesos(prizes),
            percent(prizes, sales), *refused, pesos(credit), pesos(credit - sales),
        )  # fmt: skip
    table.caption = f"{len(rows)} terminals, {len(dry)} ran out of credit" + _shown_of(len(shown), len(rows))
    return table


def _sold(held: Held) -> int:
    return sum(stake(ticket.lines) for place, ticket in held.tickets.items() if place not in held.voided)


def check_table(rows: Sequence[Row]) -> Table:
    """The same figures as different places have them."""
    table = _table("Checked from the outside", ("figure",), (*SOURCES, "same"))
    for row in rows:
        values = [_shown(row.figure, row.values[source]) if source in row.values else "" for source in SOURCES]
        table.add_row(row.figure, *values, "yes" if row.holds else "NO", style="" if row.holds else "bold red")
    return table


def _shown(figure: str, value: object) -> str:
    if isinstance(value, str):
        return f"{value[:10]}…"
    assert isinstance(value, int)
    money = any(word in figure for word in ("stake of", "prizes", "sales", "postings", "money", "cash"))
    return pesos(value) if money else f"{value:,}"


def speed_table(found: Mapping[str, Any]) -> Table:
    """How fast it was, from the summary."""
    table = _table("Measured, on a machine that servers and terminals share", ("",), ("",))
    table.add_row("tickets accepted per second", f"{found['accepted_per_second']:,}")
    table.add_row("answer to an accepted ticket, median", f"{found['accept_ms_p50']} ms")
    table.add_row("answer to an accepted ticket, 99 of 100", f"{found['accept_ms_p99']} ms")
    table.add_row("requests sent twice, answered with the same receipt", f"{found['duplicates_replayed']:,}")
    table.add_row("cutoff to published seal, the slowest", f"{found['seal_seconds']} s")
    table.add_row("result confirmed to draw settled, the slowest", f"{found['settle_seconds']} s")
    for name, seconds in found["phase_seconds"].items():
        table.add_row(f"phase: {name}", f"{seconds} s")
    return table
