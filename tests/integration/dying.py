"""Processes that die: at a chosen place between two lines, or killed at any moment in a process of their own."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any

import redis
from sqlalchemy import event, text

from actions.reconcile import reconcile
from actions.resources import Resources, open_resources
from runtime.clock import Clock
from runtime.settings import Settings
from tasks.persist import persist
from tasks.settle import settle
from tasks.void_draw import void_draw
from tests.integration.after_sales import later
from tests.integration.conftest import Rings

WORK: dict[str, Callable[[Resources, str], Any]] = {
    "persist": persist,
    "settle": lambda res, draw: settle(later(res), draw),
    "void": void_draw,
}

_DOOMED = "doomed"
# One process that has imported everything; each worker is forked from it in milliseconds.
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload([__name__])


class Died(BaseException):
    """Here the process dies."""


class Deaths:
    """Counts the places at which dying makes a difference: around each commit, each call of the gate, and before each
    write of a rebuild. Or lets another process rebuild the gate there, where this one holds nothing that it needs."""

    def __init__(self, res: Resources) -> None:
        self._res = res
        self._left = self._rebuilt_in = 0
        self.disturbed = False  # whether anything has happened since `at`
        event.listen(res.sessions, "before_commit", lambda _: self._pass())
        event.listen(res.sessions, "after_commit", lambda _: self._pass())
        gate: Any = res.gate
        gate._run = self._around(gate._run)
        for name in ("rewrite", "append", "write_draw", "write_wallets", "switch_on"):
            setattr(res.rebuild, name, self._around(getattr(res.rebuild, name)))

    @contextmanager
    def at(self, place: int) -> Iterator[None]:
        """Dies at the `place`-th of these places, if there are so many; below 0: the gate is rebuilt there."""
        self._left, self._rebuilt_in, self.disturbed = max(0, place), max(0, -place), False
        try:
            yield
        finally:
            self._left = self._rebuilt_in = 0

    def _pass(self) -> None:
        if self._rebuilt_in and self._holds_nothing():
            self._rebuilt_in -= 1
            if not self._rebuilt_in:
                self.disturbed = True
                self._res.rebuild.fence()
                reconcile(self._res)
        if self._left:
            self._left -= 1
            if not self._left:
                self.disturbed = True
                raise Died

    def _holds_nothing(self) -> bool:
        witness: Any = self._res.witness
        return self._res.sessions.kw["bind"].pool.checkedout() == 0 and witness._calls == 0

    def _around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def passing(*args: Any, **kwargs: Any) -> Any:
            self._pass()
            answer = call(*args, **kwargs)
            self._pass()
            return answer

        return passing


def kill_at_work(res: Resources, work: Sequence[tuple[str, str]], after_s: float) -> bool:
    """Has a worker process do `work` (names of WORK, draws) and kills it so long after it began; False: it was faster.

    Comes back when the servers have noticed.
    """
    client = redis.Redis.from_url(res.settings.redis_url)
    before = _clients(client)
    ours, theirs = _PROCESSES.Pipe()
    worker = _PROCESSES.Process(target=_work, args=(res.settings, work, theirs), daemon=True)
    worker.start()
    theirs.close()
    assert ours.recv() == "begun"
    time.sleep(after_s)
    with suppress(ProcessLookupError):
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGKILL)
    worker.join()
    killed = worker.exitcode == -signal.SIGKILL
    assert killed or worker.exitcode == 0, f"the worker ended with {worker.exitcode}"
    _wait_until(lambda: _clients(client) <= before)
    _wait_until(lambda: not _doomed_sessions(res))
    client.close()
    ours.close()
    return killed


def _work(settings: Settings, work: Sequence[tuple[str, str]], begun: Connection) -> None:
    mark = "&" if "?" in settings.database_url else "?"
    doomed = replace(settings, database_url=f"{settings.database_url}{mark}application_name={_DOOMED}")
    res = open_resources(doomed, Rings(), Clock(), connections=2, witness=False)
    begun.send("begun")
    reconcile(res)
    for name, draw in work:
        WORK[name](res, draw)
    res.close()


def _clients(client: redis.Redis) -> set[str]:
    answer: Any = client.client_list()
    return {row["id"] for row in answer}


def _doomed_sessions(res: Resources) -> int:
    query = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = :name"
    )
    with res.sessions() as session:
        return int(session.scalar(query, {"name": _DOOMED}) or 0)


def _wait_until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not done():
        assert time.monotonic() < deadline, "a killed worker's connection is still there"
        time.sleep(0.005)
