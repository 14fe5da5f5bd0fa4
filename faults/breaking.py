"""Carrying out what the plan says: each fault with what it breaks, and how that is mended again."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg

from demo.servers import Servers
from faults.disk import Disk
from faults.plan import WORKERS, Fault
from faults.sales import Sales
from faults.tail import Cut, cut, newest
from faults.timeline import Timeline
from runtime.embedded_postgres import SUPERUSER, Postgres
from runtime.resp import ask

# What share of the requests fares badly while the line is torn.
TORN_SHARE = 0.5

TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename <> 'postgres'"

Mend = Callable[[], None]

# Orderly ends, as whoever restarts a program sends them. SIGINT is PostgreSQL's fast shutdown.
RESTART_SIGNALS = {"postgres": signal.SIGINT}


class NothingThere(Exception):
    """What was to be broken does not run at the moment."""


class Breaker:
    """Breaks things, and remembers what has to be mended."""

    def __init__(self, servers: Servers, sales: Sales, disk: Disk, timeline: Timeline) -> None:
        self.cuts: list[Cut] = []
        self._servers, self._sales, self._disk, self._timeline = servers, sales, disk, timeline
        self._weather: dict[str, float] = {}

    def carry_out(self, fault: Fault) -> Mend | None:
        """Breaks it; what mends it after `fault.seconds`, if anything has to. Never raises: what fails is noted."""
        ways: dict[str, Callable[[Fault], tuple[str, Mend | None]]] = {
            "kill": self._kill, "stop": self._stop, "restart": self._restart, "reboot": self._reboot,
            "tear": self._tear, "fill": self._fill, "cut": self._cut,
        }  # fmt: skip
        try:
            said, mend = ways[fault.kind](fault)
        except (NothingThere, psutil.Error, psycopg.Error, OSError) as problem:
            self._timeline.note(f"{fault.kind} {fault.target}: not now, {problem or type(problem).__name__}".strip())
            return None
        lasts = f" for {fault.seconds:.1f} s" if fault.seconds else ""
        self._timeline.note(f"{fault.kind} {fault.target}{lasts}{said}", count=f"{fault.kind} {fault.target}")
        return mend

    def processes(self, target: str) -> list[psutil.Process]:
        """The processes that a target of the plan names. Raises NothingThere."""
        name, _, part = target.partition(" ")
        if name in WORKERS:
            main, *pool = self._find("celery", f"{name}@") or [None]
            found = pool if part else [main] if main else []
        elif name == "api":
            master, *workers = self._find("granian") or [None]
            found = workers if part else [master] if master else []
        elif name == "postgres":
            found = self._find("postgres", "-D")[:1]
            if part:
                found = [p for p in found for p in p.children() if "drawbreak_app" in "".join(p.cmdline())]
        else:
            found = self._find({"valkey": "valkey-server", "beat": " beat "}[name])
        if not found:
            raise NothingThere("it does not run")
        return found

    def _find(self, *words: str) -> list[psutil.Process]:
        """The installation's processes whose command lines hold these words, the oldest first."""
        found = []
        for process in psutil.Process(self._servers.pid).children(recursive=True):
            with suppress(psutil.Error):
                if all(word in " ".join(process.cmdline()) for word in words):
                    found.append(process)
        return sorted(found, key=lambda process: process.create_time())

    # ── processes ─────────────────────────────────────────────────────────────────────────────────────────────

    def _kill(self, fault: Fault) -> tuple[str, None]:
        victims = self.processes(fault.target)
        if fault.target in ("api worker", "postgres backend"):
            victims = victims[-1:]
        for process in victims:
            process.kill()
        return _pids(victims), None

    def _stop(self, fault: Fault) -> tuple[str, Mend]:
        victims = self.processes(fault.target)
        if fault.target == "api worker":
            victims = victims[-1:]
        guards = []
        for process in victims:
            guards.append(_guard([process]))
            process.suspend()  # a server before its children, so that none is born behind our back
            children = process.children() if fault.target == "postgres" else []
            if children:
                guards.append(_guard(children))
            for child in children:
                with suppress(psutil.Error):
                    child.suspend()
        return _pids(victims), lambda: _resume(guards)

    def _restart(self, fault: Fault) -> tuple[str, None]:
        victims = self.processes(fault.target)
        for process in victims:
            process.send_signal(RESTART_SIGNALS.get(fault.target, signal.SIGTERM))
        return _pids(victims), None

    def _reboot(self, fault: Fault) -> tuple[str, None]:
        return f": {self._sales.reboot(fault.at)}", None

    # ── connections ───────────────────────────────────────────────────────────────────────────────────────────

    def _tear(self, fault: Fault) -> tuple[str, Mend | None]:
        if fault.target == "valkey connections":
            return f", {ask(self._servers.redis_url, 'CLIENT', 'KILL', 'TYPE', 'normal')[1:]} of them", None
        if fault.target == "postgres connections":
            with superuser(self._servers) as sql:
                ended = sql.execute(TERMINATE)
                return f", {ended.rowcount} of them", None
        self._weather[fault.target] = TORN_SHARE
        self._sales.weather(self._weather)
        return "", lambda: self._clear(fault.target)

    def _clear(self, fate: str) -> None:
        self._weather.pop(fate, None)
        self._sales.weather(self._weather)

    # ── disks ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _fill(self, fault: Fault) -> tuple[str, Mend | None]:
        if self._disk.missing:
            raise NothingThere(self._disk.missing)
        return f", {self._disk.fill() >> 20} MiB were free", self._disk.empty

    def _cut(self, fault: Fault) -> tuple[str, None]:
        """The supervisor starts the server again at once, so it is held back while its file is cut."""
        (server,) = self.processes("valkey")
        guard = _guard([server])
        server.suspend()
        wanted = {"records": fault.amount} if fault.target == "records" else {"bytes_": fault.amount}
        try:
            done = cut(newest(Path(self._servers.var_dir, "valkey/data/appendonlydir")), at=time.time(), **wanted)
        finally:
            server.kill()
            _resume([guard])
        self.cuts.append(done)
        return f": {done.bytes} bytes with {len(done.records)} records are gone", None


def superuser(servers: Servers) -> psycopg.Connection:
    """Raises psycopg.OperationalError."""
    url = Postgres(servers.var_dir / "postgres").url(SUPERUSER).replace("+psycopg", "", 1)
    return psycopg.connect(url, autocommit=True, connect_timeout=5)


def _pids(processes: Sequence[psutil.Process]) -> str:
    return f" ({', '.join(str(process.pid) for process in processes)})"


def _guard(processes: Sequence[psutil.Process]) -> subprocess.Popen[bytes]:
    """Lets them go on however this program ends: what is stopped does not see that those before it are gone."""
    pids = " ".join(str(process.pid) for process in processes)
    return subprocess.Popen(
        ["sh", "-c", f"read _; kill -CONT {pids}"],
        stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip


def _resume(guards: Sequence[subprocess.Popen[bytes]]) -> None:
    for guard in guards:
        guard.communicate()
