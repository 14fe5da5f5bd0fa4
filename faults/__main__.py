"""`python -m faults`: settings, the plan, the run, the calm after it, the comparison."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import orjson
from rich.console import Console

from demo.calls import Unexpected
from faults.disk import Disk, enter_namespace
from faults.plan import Plan, make_plan
from faults.run import Run
from faults.verdict import commands, compare, look_around, show, summary
from runtime.environment import Reader, SettingsError, directory, whole
from runtime.process import DIE_WITH_PARENT, Locked, die_with_parent, lock_directory

LAST_LINES, LINE_CHARS = 3, 300  # of each program's log that are shown when something differs

RUN_FOLDER = "run"  # of the last run, below VAR: the installation's VAR, and everybody's books
DIFFERS, INTERRUPTED = 1, 130
WIDTH = 140


@dataclass(frozen=True)
class Wanted:
    """What is asked for."""

    var_dir: Path
    seed: int
    minutes: float
    terminals: int


def main() -> int:
    """0: nothing differs. 1: something does, or the run could not be made."""
    if os.environ.get(DIE_WITH_PARENT):
        die_with_parent()
    missing = enter_namespace()
    os.environ.pop(DIE_WITH_PARENT, "")
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        if missing and os.environ.get("CI"):
            raise Unexpected(f"the database's disk cannot be filled: {missing}")
        return _run(_settings(os.environ), missing)
    except (SettingsError, Unexpected, Locked, OSError) as error:
        print(f"NOT OK: {error}", file=sys.stderr)
        return DIFFERS
    except KeyboardInterrupt:
        print("interrupted; everything is stopped", file=sys.stderr)
        return INTERRUPTED


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _settings(environ: Mapping[str, str]) -> Wanted:
    """Raises SettingsError."""
    read = Reader(environ)
    var_dir = read("VAR", "var/faults", directory)
    seed = read("SEED", "1", whole(0, 2**63))
    minutes = read("MINUTES", "10", _minutes)
    terminals = read("TERMINALS", "8", whole(2, 100))
    read.check()
    return Wanted(var_dir, seed, minutes, terminals)


def _minutes(text: str) -> float:
    minutes = float(text)
    if not 0.2 <= minutes <= 600:
        raise ValueError("must be from 0.2 to 600")
    return minutes


def _run(wanted: Wanted, missing: str) -> int:
    wanted.var_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = lock_directory(wanted.var_dir)
    folder, summary_file = wanted.var_dir / RUN_FOLDER, wanted.var_dir / "summary.json"
    summary_file.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    plan, console, started = make_plan(wanted.seed, wanted.minutes, wanted.terminals), Console(width=WIDTH), time.time()
    _show_plan(plan)
    disk, fine = Disk(folder / "postgres", missing), False
    if missing:
        print(f"the database's disk will not be filled: {missing}")
    run = Run(folder, plan, disk)
    try:
        run.play(wanted.terminals)
        fine = _judge(run, console, summary_file)
    finally:
        run.stop()
        if not fine:
            disk.keep()
        os.close(lock)
    took = f"{time.time() - started:.0f} s, {summary_file}"
    if fine:
        print(f"OK: nothing differs; {took}")
        return 0
    _show_last_words(folder / "log")
    print(f"NOT OK: see above; {took}; everything is kept in {folder}")
    return DIFFERS


def _show_last_words(logs: Path) -> None:
    """Where nobody can look into the folder later, this says at least who was doing what in the end."""
    for file in sorted(logs.glob("*.log")):
        for line in file.read_text(errors="replace").splitlines()[-LAST_LINES:]:
            print(f"{file.name}: {line[:LINE_CHARS]}")


def _show_plan(plan: Plan) -> None:
    counts = f"{len(plan.faults)} faults, {len(plan.draws)} draws"
    print(f"SEED={plan.seed}, {plan.seconds / 60:g} minutes: {counts}. The plan:")
    lines = [(item.at, str(item)) for item in plan.faults] + [(draw.opens, str(draw)) for draw in plan.draws]
    print("\n".join(line for _, line in sorted(lines)), end="\n\nWhat happens:\n", flush=True)


def _judge(run: Run, console: Console, file: Path) -> bool:
    world, money = look_around(run.servers, run.sales, run.people, run.office.journals, run.breaker.cuts)
    findings = [*compare(world, money), *commands(run.servers), *run.findings()]
    print("\nWhat was broken:")
    for what, count in sorted(run.timeline.counts.items()):
        print(f"{count:5}  {what}")
    requests = ", ".join(f"{count} {fate}" for fate, count in sorted(run.sales.fates.items()))
    print(f"requests by fate: {requests}\n")
    show(findings, console)
    fine = not any(found.differences for found in findings)
    body = {
        "ok": fine,
        "seed": run.plan.seed,
        "seconds": run.plan.seconds,
        "faults": dict(run.timeline.counts),
        "requests": run.sales.fates,
        **summary(world, findings),
        "timeline": run.timeline.lines,
    }
    file.write_bytes(orjson.dumps(body, option=orjson.OPT_INDENT_2))
    lost, cut = body["receipts_in_declared_gaps"], body["records_cut"]
    print(f"{body['tickets_accepted']:,} tickets accepted, {lost} receipts in declared gaps ({cut} records were cut)")
    return fine


if __name__ == "__main__":
    sys.exit(main())
