"""The figures as one table, each beside what it is held against."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.table import Table

from runtime.settings import WIDE_LIMITS

Row = tuple[str, str, str, str]  # what, figure, ratio, goal


def show(console: Console, found: dict[str, Any]) -> None:
    """Prints the table, and what the machine had to do besides."""
    table = Table("what", "figure", "beside", "goal", title="drawbreak, three-line tickets")
    for row in rows(found):
        table.add_row(*row)
    console.print(table)
    lists = Table("first page over all tickets", "ms")
    for path, ms in found["lists"]["ms"].items():
        lists.add_row(path, f"{ms:.1f}")
    console.print(lists)
    console.print("limits lifted for this: " + ", ".join(sorted(WIDE_LIMITS)))
    machine = found["machine"]
    loads = " → ".join(f"{machine[when][0]:.1f}" for when in ("load_before", "load_after"))
    console.print(f"{machine['processors']} processors, load {loads}, the load generator among it")


def rows(found: dict[str, Any]) -> Iterator[Row]:
    """Every figure of one run, in the order of a ticket's way."""
    floor, accept = found["floor"]["per_s"], found["accept"]
    idle, running, paced = accept["idle"]["per_s"], accept["running"]["per_s"], accept["open_loop"]
    one_by_one = found["per_ticket"]["per_s"]
    yield _row("floor: constant answer", f"{floor:,.0f}/s")
    yield _row("gate alone, pipelined", f"{found['gate']['per_s']:,.0f}/s")
    yield _row("accept, persister idle", f"{idle:,.0f}/s", f"{idle / floor:.2f} of the floor", "≥ 0.40, ≥ 3,000/s")
    yield _row("accept, persister running", f"{running:,.0f}/s", f"{running / floor:.2f} of the floor", "≥ 0.32")
    yield _row("… beside (a)", "", f"{idle / one_by_one:.1f} × (a)", "≥ 16 ×")
    ms = paced["ms"]
    latency = f"p50 {ms['p50']:.1f}, p99 {ms['p99']:.1f}, p99.9 {ms['p99.9']:.1f} ms"
    yield _row("open-loop at 70% of that", latency, "", "p99 ≤ 40 ms")
    yield _row(
        "batches of 100, persister running", f"{found['batch']['tickets_per_s']:,.0f} tickets/s", "", "≥ 15,000/s"
    )
    yield _row("baseline (a): a transaction each", f"{one_by_one:,.0f}/s")
    queued = found["per_message"]
    yield _row("baseline (b): a message each", f"{queued['per_s']:,.0f}/s, stored {queued['stored_per_s']:,.0f}/s")
    yield _row("persist, one worker", f"{found['persist']['tickets_per_s']:,.0f} tickets/s", "", "≥ 20,000/s")
    lag = found["lag"]["ms"]
    yield _row(
        f"lag at {found['lag']['per_s']:,.0f}/s", f"p50 {lag['p50']:.0f}, p99 {lag['p99']:.0f} ms", "", "p99 ≤ 250 ms"
    )
    yield from _rush(found["rush"])
    yield from _live(found["live"])
    yield from _sizes(found)
    for report in found["reports"]:
        figure = f"{report['s']:.2f} s, worker's peak {report['worker_peak_mb']:.0f} MB"
        yield _row(f"{report['kind']} as {report['format']}, largest draw", figure)
    memory = found["memory"]["ticket"]
    yield _row("a ticket in Redis", f"{memory['redis_bytes']:.0f} bytes", "", "≤ 200")
    yield _row("a ticket in PostgreSQL", f"{memory['postgres_bytes']:.0f} bytes")
    held = ", ".join(f"{name} {mb:.0f}" for name, mb in sorted(found["memory"]["processes_mb"].items()))
    yield _row("resident MB", held)
    yield _row("tickets scanned end to end", f"{found['lists']['sequential_scans']} times", "", "0")


def _rush(rush: dict[str, Any]) -> Iterator[Row]:
    ms, plan = rush["rush"]["ms"], rush["typical_plan"]
    per_s = rush["rush"]["per_s"]
    beside = f"{per_s / plan['requests_per_s']:.0f} × a typical plan's {plan['requests_per_s']}/s"
    yield _row(f"rush: {rush['terminals']:,} terminals log in", f"{rush['logins_per_s']:.0f}/s")
    yield _row("rush: the last fifth", f"{per_s:,.0f}/s, p99 {ms['p99']:.1f} ms", beside)
    yield _row("rush: cutoff to sealed", f"{rush['sealed_after_s']:.1f} s")


def _live(live: dict[str, Any]) -> Iterator[Row]:
    alone, beside = live["alone"], live["beside"]
    ratio = beside["per_s"] / alone["per_s"]
    p99 = f"p99 {alone['ms']['p99']:.1f} → {beside['ms']['p99']:.1f} ms"
    figure = f"{alone['per_s']:,.0f} → {beside['per_s']:,.0f}/s, {p99}"
    yield _row(f"{live['clients']:,} live clients, half rate", figure, f"{ratio:.2f} of without", "≥ 0.90")
    most = live["most_beside"]["per_s"] / live["most_alone"]["per_s"]
    figure = f"{live['most_alone']['per_s']:,.0f} → {live['most_beside']['per_s']:,.0f}/s"
    yield _row("… as fast as it goes", figure, f"{most:.2f} of without")


def _sizes(found: dict[str, Any]) -> Iterator[Row]:
    smallest, largest = found["sizes"][0], found["sizes"][-1]
    for size in found["sizes"]:
        figure = f"{size['settle_proportional_s']:.2f} s, {size['settle_fixed_s']:.2f} s"
        goal = "proportional ≤ 2 s" if size is largest else ""
        yield _row(f"settle {size['tickets']:,}: proportional, fixed winners", figure, "", goal)
        yield _row("… of that the draw's report", f"{size['report_s']:.2f} s")
    ratio = found["in_python_s"] / largest["settle_proportional_s"]
    yield _row(
        f"baseline (c) at {largest['tickets']:,}", f"{found['in_python_s']:.1f} s", f"{ratio:.0f} × ours", "≥ 20 ×"
    )
    grown = largest["settle_fixed_s"] / smallest["settle_fixed_s"]
    yield _row("fixed winners, largest beside smallest", "", f"{grown:.2f} ×", "≤ 1.3 ×")
    for size in found["sizes"]:
        figure = f"{size['seal_s']:.1f} s, worker's peak {size['settle_worker_peak_mb']:.0f} MB"
        yield _row(f"seal {size['tickets']:,}", figure, "", "1,000,000 in ≤ 12 s" if size is largest else "")


def _row(what: str, figure: str, beside: str = "", goal: str = "") -> Row:
    return what, figure, beside, goal
