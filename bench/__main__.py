"""`make bench`: one run of everything, one table of figures and ratios. QUICK=1: the same, shorter and smaller.
LONG=30: instead of it a sale of so many minutes."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from bench import chart, draining, live, long_sale, memory, reporting, rush, selling, settling, tables
from bench.ground import Ground
from demo.calls import Unexpected
from demo.servers import FOREIGN
from runtime.settings import WIDE_LIMITS

VAR = Path("var/bench")


@dataclass(frozen=True)
class Plan:
    """How long, and how large."""

    seconds: float
    drained: int
    sizes: tuple[int, ...]
    terminals: int
    rush_s: float


FULL = Plan(12.0, 150_000, (100_000, 300_000, 1_000_000), 1_000, 60.0)
QUICK = Plan(1.2, 15_000, (3_000, 10_000), 30, 5.0)


def main() -> int:
    """Measures, prints, writes VAR/result.json and VAR/result.svg."""
    plan = QUICK if os.environ.get("QUICK") else FULL
    console = Console(highlight=False)
    shutil.rmtree(VAR, ignore_errors=True)
    (VAR / "service").mkdir(parents=True)
    ground = Ground((VAR / "service").resolve())
    for name in FOREIGN:
        os.environ.pop(name, None)
    os.environ |= {"VAR": str(ground.servers.var_dir), **WIDE_LIMITS}  # for the measures that need no HTTP
    began, load = time.monotonic(), os.getloadavg()
    minutes = int(os.environ.get("LONG") or 0)

    def say(what: str) -> None:
        console.print(f"{time.monotonic() - began:5.0f} s  {what}")

    found: dict[str, Any]
    try:
        ground.start()
        if minutes:
            found = {"long_sale": long_sale.sell(ground, plan.seconds, minutes, say)}
        else:
            found = measure(ground, plan, say)
    except (Unexpected, ConnectionError, TimeoutError) as problem:
        console.print(f"[red]ended early:[/red] {problem}; see {ground.servers.var_dir}")
        return 1
    finally:
        ground.servers.stop()
    found["machine"] = {"processors": os.cpu_count(), "load_before": load, "load_after": os.getloadavg()}
    found["seconds"] = time.monotonic() - began
    (VAR / "result.json").write_text(json.dumps(found, indent=2))
    if not minutes:
        (VAR / "result.svg").write_text(chart.draw(found))
        tables.show(console, found)
    console.print(f"{found['seconds']:.0f} s; figures and a chart in {VAR}")
    shutil.rmtree(ground.servers.var_dir, ignore_errors=True)
    return 0


def measure(ground: Ground, plan: Plan, say: Callable[[str], None]) -> dict[str, Any]:
    """Every figure, by name."""
    found: dict[str, Any] = {}
    say("floor: the same server, a constant answer")
    found["floor"] = selling.floor(ground, plan.seconds)
    say("gate alone")
    found["gate"] = selling.gate_alone(ground, plan.seconds / 2)
    say("accept: one by one, persister idle, running, open-loop")
    found["accept"] = selling.accept(ground, plan.seconds)
    say("accept: batches of 100")
    found["batch"] = selling.batches(ground, plan.seconds)
    say("baseline (a): one transaction per ticket")
    found["per_ticket"] = selling.per_ticket(ground, plan.seconds)
    say("baseline (b): one message per ticket")
    found["per_message"] = selling.per_message(ground, plan.seconds)
    say("persist: one worker, a full journal")
    found["persist"] = draining.drain(ground, plan.drained)
    say("lag at half of the accept rate")
    found["lag"] = draining.lag(ground, found["accept"]["running"]["per_s"] * draining.LAG_SHARE, plan.seconds)
    say("the rush before a draw")
    peak = found["accept"]["running"]["per_s"] * selling.OPEN_LOOP_SHARE
    callers = rush.terminals(ground, plan.terminals)
    found["rush"] = rush.play(ground, callers, peak, plan.rush_s)
    say(f"selling while {plan.terminals} listen")
    found["live"] = live.listening(ground, callers, found["accept"]["running"]["per_s"], plan.seconds)
    say("seal and settle: " + ", ".join(f"{size:,}" for size in plan.sizes))
    found["sizes"] = settling.sizes(ground, list(plan.sizes))
    largest = found["sizes"][-1]
    say("reports of the largest draw")
    found["reports"] = reporting.make(ground, largest["draw"])
    say("baseline (c): settlement in Python")
    found["in_python_s"] = settling.in_plain_python(ground, largest["draw"])
    say("lists, memory")
    found["lists"] = settling.lists(ground, largest["draw"])
    found["memory"] = {
        "ticket": memory.ticket(ground, largest["draw"], largest["tickets"]),
        "processes_mb": memory.processes(ground),
    }
    return found


if __name__ == "__main__":
    sys.exit(main())
