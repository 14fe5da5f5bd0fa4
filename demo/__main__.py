"""`python -m demo`: settings, the phases in their order, and an end that leaves nothing running."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from demo.calls import Unexpected
from demo.drawn import kept_days, read_days, whole_day
from demo.play import Wanted, invite, open_draws, play, start
from demo.screen import Screen
from demo.servers import Servers
from demo.verdict import Played, judge
from runtime.environment import Reader, SettingsError, directory, whole
from runtime.process import DIE_WITH_PARENT, Locked, die_with_parent, lock_directory

DAY_FOLDER = "day"  # of the last run, below VAR: the servers' data and logs, and the terminals' records
DIFFERS, INTERRUPTED = 1, 130


class _Phases:
    """How long each phase took, in seconds."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        started = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - started


def main() -> int:
    """0: every figure is the same everywhere. 1: one differs, or the day could not be played."""
    if os.environ.pop(DIE_WITH_PARENT, ""):
        die_with_parent()
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        var_dir, wanted = _settings(os.environ)
        return _run(var_dir, wanted)
    except (SettingsError, Unexpected, Locked, OSError) as error:
        print(f"NOT OK: {error}", file=sys.stderr)
        return DIFFERS
    except KeyboardInterrupt:
        print("interrupted; everything is stopped", file=sys.stderr)
        return INTERRUPTED


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _settings(environ: Mapping[str, str]) -> tuple[Path, Wanted]:
    """Raises SettingsError."""
    read = Reader(environ)
    var_dir = read("VAR", "var/demo", directory)
    tickets = read("TICKETS", "20000", whole(1, 1_000_000))
    terminals = read("TERMINALS", "50", whole(1, 500))
    seed = read("SEED", "1", whole(0, 2**63))
    results = read.optional("DRAW_RESULTS", Path)
    read.check()
    try:
        day, numbers = whole_day(read_days(results) if results else kept_days(), seed)
    except (OSError, ValueError) as error:
        raise SettingsError([f"DRAW_RESULTS {error}"]) from error
    return var_dir, Wanted(tickets, terminals, seed, day, numbers)


def _run(var_dir: Path, wanted: Wanted) -> int:
    var_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = lock_directory(var_dir)
    summary_file, folder = var_dir / "summary.json", var_dir / DAY_FOLDER
    summary_file.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    screen, servers, phases = Screen(), Servers(folder), _Phases()
    size = f"{wanted.tickets:,} tickets at {wanted.terminals} terminals"
    screen.console.print(f"{size}; numbers as drawn on {wanted.date}, picked by SEED={wanted.seed}")
    screen.console.print("every limit of calls, logins and sales per second is lifted: one machine plays everybody")
    started = time.monotonic()
    try:
        with screen.working():
            servers.start()
            played = _play(servers, wanted, screen, phases, folder / "terminals")
        fine = judge(servers, played, wanted, screen, phases.seconds, summary_file)
    finally:
        servers.stop()
        os.close(lock)
    took = f"{time.monotonic() - started:.0f} s, {summary_file}"
    screen.console.print(f"[bold green]OK[/]: every figure is the same everywhere; {took}" if fine
                         else f"[bold red]NOT OK[/]: see the figures marked NO; {took}", soft_wrap=True)  # fmt: skip
    return 0 if fine else DIFFERS


def _play(servers: Servers, wanted: Wanted, screen: Screen, phases: _Phases, records: Path) -> Played:
    with phases.phase("start"):
        superadmin = start(servers, screen)
    with phases.phase("people"):
        people = invite(superadmin, wanted, screen)
    with phases.phase("open"):
        day = open_draws(servers, people, wanted)
    with phases.phase("day"):
        doors_opened = play(servers, people, day, wanted, screen, records)
    return Played(superadmin, people, day, doors_opened, records)


if __name__ == "__main__":
    sys.exit(main())
