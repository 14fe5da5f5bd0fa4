"""Memory: of processes, and of a ticket in either server."""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil
import redis

from bench.ground import Ground

SAMPLE_S = 0.05
MB = 1024 * 1024


class Peak:
    """The most that processes with `word` in their command line held at a time, in MB, while this was open."""

    def __init__(self, var_dir: Path, word: str) -> None:
        self.mb = 0.0
        self._processes = [process for process in _ours(var_dir) if word in " ".join(process.cmdline())]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(SAMPLE_S):
            self.mb = max([self.mb, *(_resident(process) for process in self._processes)])


def _ours(var_dir: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("VAR") == str(var_dir):
                found.append(process)
        except psutil.Error:
            continue
    return found


def _resident(process: psutil.Process) -> float:
    try:
        return float(process.memory_info().rss) / MB
    except psutil.Error:
        return 0.0


def processes(ground: Ground) -> dict[str, float]:
    """Resident MB of each program, its processes added up."""
    found: dict[str, float] = {}
    for process in _ours(ground.servers.var_dir):
        name = _program(" ".join(process.cmdline()))
        found[name] = found.get(name, 0.0) + _resident(process)
    return found


def _program(command: str) -> str:
    names = {
        "granian": "api",
        "persist@": "worker-persist",
        "settle@": "worker-settle",
        "reports@": "worker-reports",
        "default@": "worker-default",
        "celery": "beat",
        "valkey-server": "valkey",
        "postgres": "postgres",
    }
    return next((name for word, name in names.items() if word in command), "other")


def ticket(ground: Ground, draw: str, tickets: int) -> dict[str, Any]:
    """Bytes of one of the draw's tickets in the Redis-compatible server and in PostgreSQL."""
    with redis.Redis.from_url(ground.servers.redis_url) as client:
        names = [f"draw:{draw}", *(f"draw:{draw}:{part}" for part in ("journal", "ids", "exposure"))]
        used = {name: int(client.memory_usage(name, samples=1000) or 0) for name in names}
    with ground.sql() as sql:
        query = (
            "SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c WHERE c.relkind = 'r' AND c.relname ~ '^ticket'"
        )
        stored = sql.execute(query).fetchone()
        all_ = sql.execute("SELECT count(*) FROM tickets").fetchone()
    assert stored is not None
    assert all_ is not None
    return {
        "redis_bytes": sum(used.values()) / tickets,
        "postgres_bytes": float(stored[0]) / max(1, all_[0]),
    }
