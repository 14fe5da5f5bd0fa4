"""The verdict: reads what every place holds, compares it, shows it, and keeps it as summary.json."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo.books import Held, percentile, read_book, together
from demo.calls import Caller
from demo.check import Row, check_proofs, compare_all, compare_draw, prices_of
from demo.day import Day
from demo.figures import Outcome, exposures, gaps_in, outcome
from demo.money import compare_money
from demo.paying import Paid, pay_winners
from demo.people import People
from demo.play import Wanted
from demo.screen import Screen
from demo.servers import Servers
from demo.sources import Books, Found, Place, from_database, from_journal
from demo.tables import check_table, refusals_table, sales_table, sold_out_table, speed_table, terminals_table


@dataclass(frozen=True)
class Played:
    """A day that is over. `doors_opened`: seconds since 1970; `records`: the terminals' folder."""

    superadmin: Caller
    people: People
    day: Day
    doors_opened: float
    records: Path


def judge(
    servers: Servers, played: Played, wanted: Wanted, screen: Screen, phases: Mapping[str, float], file: Path
) -> bool:
    """Whether every figure is the same everywhere. Raises Unexpected, OSError, and what the places raise."""
    began = time.monotonic()
    names = [draw.name for draw in played.day.draws]
    with screen.console.status("reading receipts, journals and tables"):
        records = [read_book(played.records / f"{t.counter.name}.jsonl") for t in played.people.terminals]
        held = together(records)
        paid = _pay(played, held, wanted.seed)
        database, books = from_database(servers, names)
        receipts = Found(held.tickets, held.voided)
        sources = {"receipts": receipts, "journal": from_journal(servers, names), "database": database}
        outcomes, rows = _compare(played, held, paid, sources, books, wanted.seed)
    seconds = {**phases, "check": time.monotonic() - began}
    config = {
        "tickets_asked_for": wanted.tickets,
        "terminals": wanted.terminals,
        "seed": wanted.seed,
        "date": f"{wanted.date}",
    }
    found = summary(config, outcomes, held, sources, books, rows, played.doors_opened, seconds) | paid.summary()
    won: dict[int, int] = {}
    for result in outcomes:
        for place, prize in result.prizes.items():
            agent = held.tickets[place].agent_id
            won[agent] = won.get(agent, 0) + prize
    prices = prices_of(played.people.admins[0], played.day.draws[0])
    screen.tables([
        sales_table(outcomes, held), refusals_table(held), sold_out_table(exposures(receipts), prices, held),
        terminals_table(played.people.terminals, records, won), speed_table(found), check_table(rows),
    ])  # fmt: skip
    file.write_text(json.dumps(found, indent=2) + "\n")
    return bool(found["ok"])


def _pay(played: Played, held: Held, seed: int) -> Paid:
    """Pays every winner that the receipts hold."""
    admin, receipts = played.people.admins[0], Found(held.tickets, held.voided)
    prizes: dict[Place, int] = {}
    for draw in played.day.draws:
        prizes |= outcome(draw, prices_of(admin, draw), receipts).prizes
    return pay_winners(played.people, prizes, held, seed)


def _compare(
    played: Played, held: Held, paid: Paid, sources: Mapping[str, Found], books: Books, seed: int
) -> tuple[list[Outcome], list[Row]]:
    admin = played.people.admins[0]
    outcomes, rows = [], []
    for draw in played.day.draws:
        prices = prices_of(admin, draw)
        result = outcome(draw, prices, sources["receipts"])
        rows += compare_draw(admin, draw, prices, sources)
        rows.append(check_proofs(admin, result, sources["receipts"], held, seed))
        outcomes.append(result)
    rows += compare_all(sources, held, outcomes, books)
    rows += compare_money(played.superadmin, played.people.terminals, outcomes, sources["receipts"], paid, books)
    return outcomes, rows


def selling(held: Held, started_at: float) -> tuple[float, int]:
    """(seconds of selling, tickets accepted in them): from the first customer to the last regular one.

    Afterwards the terminals wait for the last cutoff, which says nothing about how fast tickets are accepted.
    """
    return max(held.regular_at, default=started_at) - started_at, len(held.accepted_at)


def summary(
    config: Mapping[str, Any],
    outcomes: Sequence[Outcome],
    held: Held,
    sources: Mapping[str, Found],
    books: Books,
    rows: Sequence[Row],
    started_at: float,
    phases: Mapping[str, float],
) -> dict[str, Any]:
    """Money in centavos. `ok` is what the exit code says."""
    seconds, accepted = selling(held, started_at)
    differences = [{"figure": row.figure, **row.values} for row in rows if not row.holds]
    stake, prizes = sum(o.counted for o in outcomes), sum(o.paid for o in outcomes)
    return {
        "ok": not differences,
        "differences": differences,
        **config,
        "tickets_accepted": len(sources["journal"].tickets),
        "receipts_held": held.receipts,
        "tickets_in_database": len(sources["database"].tickets),
        "tickets_voided": sum(o.voided for o in outcomes),
        "serial_gaps": gaps_in(sources["receipts"].tickets),
        "requests_sent_twice": held.repeats,
        "duplicates_replayed": held.replayed,
        "requests_asked_again": held.asked_again,
        "refusals": dict(held.refusals.most_common()),
        "void_refusals": dict(held.void_refusals),
        "at_the_cutoff": dict(held.late),
        "stake": stake,
        "stake_voided": sum(o.stake - o.counted for o in outcomes),
        "prizes": prizes,
        "payout_ratio": round(prizes / stake, 4) if stake else None,
        "winning_tickets": sum(len(o.prizes) for o in outcomes),
        "ledger_sum": books.total,
        "draws_settled": sum(o.draw.stage == "settled" for o in outcomes),
        "draws": [_draw(o) for o in outcomes],
        "selling_seconds": round(seconds, 2),
        "accepted_per_second": round(accepted / seconds, 1) if seconds else None,
        "accept_ms_p50": round(percentile(held.ms, 0.50), 2),
        "accept_ms_p99": round(percentile(held.ms, 0.99), 2),
        "seal_seconds": round(max(o.draw.seal_seconds for o in outcomes), 2),
        "settle_seconds": round(max(o.draw.settle_seconds for o in outcomes), 3),
        "phase_seconds": {name: round(taken, 1) for name, taken in phases.items()},
    }


def _draw(found: Outcome) -> dict[str, Any]:
    return {
        "id": found.draw.name,
        "result": found.draw.number,
        "tickets": found.tickets,
        "voided": found.voided,
        "stake": found.counted,
        "winning_tickets": len(found.prizes),
        "prizes": found.paid,
        "sealed_late": found.draw.late,
        "seal_seconds": round(found.draw.seal_seconds, 2),
        "settle_seconds": round(found.draw.settle_seconds, 3),
    }
