"""The comparison: reads what every place holds, looks for differences, shows them, and keeps them as summary.json."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from demo.calls import Caller
from demo.people import People
from demo.servers import Servers
from demo.sources import Place
from faults import money_check, tickets_check
from faults.book import read_book
from faults.held import Held, documented, read_held
from faults.money_check import Money
from faults.sales import Sales
from faults.sources import JournalCopy, read_database
from faults.tail import Cut
from faults.tickets_check import World

SHOWN_MAX = 20  # differences of one kind that the summary names
ERRORS_TABLE = Path(__file__).parents[1] / "docs" / "errors.md"

COMMANDS = (("books", "check"), ("audit", "verify"))


@dataclass(frozen=True)
class Finding:
    """One line of the table: what was looked at, and every difference in a sentence."""

    what: str
    where: str
    looked_at: int
    differences: list[str]


def held_by(sales: Sales, people: People) -> Held:
    """The terminals' books as they are now."""
    names = [terminal.counter.name for terminal in people.terminals]
    return read_held({name: read_book(sales.book(name)) for name in names}, documented(ERRORS_TABLE))


def look_around(
    servers: Servers, sales: Sales, people: People, journals: Mapping[str, JournalCopy], cuts: list[Cut]
) -> tuple[World, Money]:
    """Reads every place. Raises Unexpected, psycopg.Error."""
    held, stored = held_by(sales, people), read_database(servers)
    admin = Caller(servers.port, people.admins[0].username, people.admins[0].password)
    seals = {name: answer for name in stored.draws if (answer := _shown(admin, name, "seal")) is not None}
    world = World(held, stored, journals, seals, cuts)
    world.genuine = _genuine(servers, world)
    settlements = {
        name: {"winners": body["winners"], "prizes": body["prizes"]}
        for name in stored.draws
        if (body := _shown(admin, name, "settlement")) is not None
    }
    admin.close()
    office = read_book(sales.folder / "office.jsonl")
    return world, Money(people.terminals, office, _wallets_shown(servers, people), settlements)


def _shown(admin: Caller, draw: str, what: str) -> Any:
    answer = admin.ask("GET", f"/v1/draws/{draw}/{what}")
    return answer.body if answer.status == 200 else None


def _wallets_shown(servers: Servers, people: People) -> dict[int, tuple[int, int]]:
    found = {}
    for terminal in people.terminals:
        caller = Caller(servers.port, terminal.counter.name, terminal.password)
        wallet = caller.must("GET", "/v1/me")["wallet"]
        caller.close()
        found[terminal.user_id] = wallet["balance"], wallet["available"] - wallet["credit_limit"]
    return found


def _genuine(servers: Servers, world: World) -> dict[Place, bool]:
    """What `drawbreak check-receipt` says of each receipt in a gap, and whether it refuses one that was altered."""
    places = sorted(world.lost)
    if not places:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, f"{number}.json") for number in range(len(places) + 1)]
        receipts = [world.held.receipts[place] for place in places]
        altered = {**receipts[0], "agent_id": receipts[0]["agent_id"] + 1}
        for file, receipt in zip(files, [*receipts, altered], strict=True):
            file.write_bytes(orjson.dumps(receipt))
        _, said = run_command(servers, "check-receipt", *map(str, files))
    refuses = said[-1:] == [f"{altered['number']}: NOT OURS, or altered"]
    return {
        place: refuses and f"{receipt['number']}: GENUINE" in said[:-1]
        for place, receipt in zip(places, receipts, strict=True)
    }


def run_command(servers: Servers, *words: str) -> tuple[int, list[str]]:
    """(exit code, what it said) of a `drawbreak` command."""
    command = [sys.executable, "-m", "cli.main", *words]
    environ = {**os.environ, "VAR": str(servers.var_dir)}
    done = subprocess.run(command, env=environ, capture_output=True, text=True)
    return done.returncode, (done.stdout + done.stderr).splitlines()


def compare(world: World, money: Money) -> list[Finding]:
    """Every check that works on what was read."""
    held, stored = world.held, world.stored
    receipts, tickets, draws = len(held.tickets), len(stored.tickets), len(stored.draws)
    entries = sum(held.answers.values()) + len(held.unanswered)
    t, m = tickets_check, money_check
    of_world: list[tuple[str, str, int, Callable[[World], Iterator[str]]]] = [
        ("receipts lost", "receipts, database", receipts, t.lost),
        ("tickets unlike their receipt", "receipts, database", receipts, t.unlike),
        ("tickets without a receipt", "database, receipts", tickets, t.without_receipt),
        ("ids sold twice", "database, receipts", tickets, t.doubled),
        ("serials missing or used twice", "database", tickets, t.serials),
        ("receipts in a gap for no reason", "receipts, cuts", len(world.lost), t.in_gaps),
        ("tickets not found", "receipts, database", len(held.not_found), t.not_found),
        ("accepted after the cutoff", "receipts, database", tickets, t.too_late),
        ("refused as too late too early", "receipts", len(held.too_late), t.too_early),
        ("voids and cancels that differ", "receipts, database", len(held.voided) + len(held.cancelled), t.voids),
        ("journals that differ", "journal, database", len(t.whole_journals(world)), t.journals),
        ("seals that differ", "receipts, seal", len(world.seals), t.seals),
        ("prizes paid twice or too high", "receipts", sum(map(len, held.paid.values())), m.paid_twice),
        ("winners not paid", "receipts, database", len(stored.payouts), m.unpaid),
    ]
    of_money: list[tuple[str, str, int, Callable[[World, Money], Iterator[str]]]] = [
        ("winners and prizes that differ", "receipts, database", len(stored.winners), m.winners),
        ("claims that differ", "receipts, database", len(stored.claims), m.claims),
        ("wallets that differ", "receipts, ledger, gate", len(money.terminals), m.wallets),
        ("accounts that differ", "receipts, ledger", len(stored.accounts), m.accounts),
    ]
    return [
        *(Finding(what, where, count, list(check(world))) for what, where, count, check in of_world),
        *(Finding(what, where, count, list(check(world, money))) for what, where, count, check in of_money),
        Finding("answers not in the contract", "receipts", entries, held.wrong),
        Finding("requests without an answer", "receipts", entries, held.unanswered),
        *(_leftover(what, count, draws) for what, count in stored.leftovers.items()),
    ]


def _leftover(what: str, count: int, draws: int) -> Finding:
    return Finding(what, "database", draws, [f"{count} {what}"] if count else [])


def commands(servers: Servers) -> Iterator[Finding]:
    """What the installation's own checks say."""
    for words in COMMANDS:
        code, said = run_command(servers, *words)
        yield Finding(f"drawbreak {' '.join(words)}", "its own", 1, said or ["no word"] if code else [])


def show(findings: list[Finding], console: Console) -> None:
    """The table: the number of differences is the last column, and all of them are zero."""
    table = Table(title="Compared from outside", title_justify="left", box=SIMPLE_HEAD, show_edge=False)
    table.add_column("what differs")
    table.add_column("between")
    table.add_column("looked at", justify="right")
    table.add_column("differences", justify="right")
    for found in findings:
        style = "bold red" if found.differences else ""
        row = (found.what, found.where, f"{found.looked_at:,}", f"{len(found.differences):,}")
        table.add_row(*row, style=style)
    console.print(table)
    for found in findings:
        for difference in islice(found.differences, SHOWN_MAX):
            console.print(f"{found.what}: {difference}", style="red", soft_wrap=True, markup=False)


def summary(world: World, findings: list[Finding]) -> dict[str, Any]:
    """What the JSON file says of the comparison."""
    held, stored = world.held, world.stored
    return {
        "tickets_accepted": len(stored.tickets),
        "receipts": len(held.tickets),
        "receipts_in_declared_gaps": len(world.lost),
        "sold_to_duplicates_after_a_refusal": len(world.after_refusal),
        "records_cut": sum(len(cut.records) for cut in world.cuts),
        "gaps": {name: draw.gaps for name, draw in stored.draws.items() if draw.gaps},
        "voided": sum(len(world.taken_back(draw)) for draw in stored.draws.values()),
        "claims_paid": len(stored.claims),
        "draws": {name: draw.status for name, draw in stored.draws.items()},
        "journals_compared": len(tickets_check.whole_journals(world)),
        "sealed_late": sum(bool(seal["late"]) for seal in world.seals.values()),
        "restored": sum(seal["restored"] for seal in world.seals.values()),
        "answers": dict(held.answers.most_common()),
        "before_an_answer": dict(held.tries.most_common()),
        "comparison": {found.what: len(found.differences) for found in findings},
        "differences": {found.what: found.differences[:SHOWN_MAX] for found in findings if found.differences},
    }
