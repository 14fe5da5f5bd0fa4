"""A worker that is alive and deaf restarts itself.

Workers have been seen to stay connected and take nothing up any more after their server was reset, and a pool whose
processes hang takes nothing up either. Each worker looks from a thread of its main process. It ends after WATCHDOG_S in
which it took nothing up, and either messages lay in its queues while it had a process free for them; or, if it drains
journals, one waited, no position moved, and the worker was rung for it. Whoever supervises it starts it again.

What else keeps a journal waiting is not the worker's fault, and no restart would mend it: see `_waiting`.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any, NamedTuple, NoReturn

import structlog
from celery.worker import state
from sqlalchemy import exists, func, select
from sqlalchemy.orm import Session

from actions.resources import Resources, open_resources
from actions.store_records import PERSIST
from intake.doorbell import DEFAULT_QUEUE, EXPIRES_S, QUEUES, producer
from intake.journal import START
from intake.records import Position
from models.dead_letters import TASK, DeadLetter, Retry
from models.draws import Draw
from models.draws import Position as PositionRow
from rules.draws import LIVE
from runtime.clock import Clock
from runtime.in_time import InTime
from runtime.metrics import note_restart, set_journal_stuck
from runtime.process import ENDS_IN_S
from runtime.settings import Settings

# What a worker of the queue is rung for, and whether by draw.
RINGS = {QUEUES[PERSIST]: (PERSIST, True), DEFAULT_QUEUE: ("sweep.journals", False)}

LOOKS = 5  # within WATCHDOG_S
STARTING = 6  # times WATCHDOG_S: a worker that has not taken anything up yet may still be starting, on a busy machine
# A failed drain is tried again within a minute; one that nobody has tried for longer does not excuse the worker.
TRIED_LATELY = timedelta(seconds=90)

HARD_AFTER_S = ENDS_IN_S - 1

_log = structlog.get_logger()


class Judge:
    """For how long nothing has moved; seconds of any one clock are handed in."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begins anew: what was seen so far says nothing."""
        self._waiting: Mapping[str, Position] = {}
        self._taken = -1
        self._still_since = self._taken_since = 0.0

    def still(self, behind: Mapping[str, Position]) -> list[str]:
        """Which of these draws waited at the same position at the last look."""
        return [name for name, position in behind.items() if self._waiting.get(name) == position]

    def look(self, now: float, waiting: Mapping[str, Position], taken: int) -> tuple[float, float]:
        """(seconds in which no journal moved, seconds in which the worker took nothing up) while journals waited.

        `waiting`: where the journals that wait are stored up to; `taken`: how many tasks the worker ever took up. Any
        journal that moved counts: a worker with two draws at once is not deaf to the third.
        """
        if not self._waiting or len(self.still(waiting)) < len(self._waiting):
            self._still_since = self._taken_since = now
        if taken != self._taken:
            self._taken_since = now
        self._waiting, self._taken = dict(waiting), taken
        return (now - self._still_since, now - self._taken_since) if waiting else (0.0, 0.0)


class Idleness:
    """For how long a worker has taken nothing up while messages lay there for it; seconds as with `Judge`."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begins anew."""
        self._since: float | None = None
        self._taken = -1

    def look(self, now: float, messages: int, taken: int) -> float:
        """`messages`: how many lie there that it could take up now; `taken`: how many tasks it ever took up."""
        if not messages:
            self._since = None
        elif self._since is None or taken != self._taken:
            self._since = now
        self._taken = taken
        return 0.0 if self._since is None else now - self._since


class _Seen(NamedTuple):
    journals: Mapping[str, Position]  # that wait for this worker, if it stores any
    messages: int  # that it could take up


class Watchdog(threading.Thread):
    """Watches over the worker `name`, which consumes these queues with so many pool processes."""

    def __init__(self, settings: Settings, name: str, queues: Collection[str], processes: int) -> None:
        super().__init__(name="watchdog", daemon=True)
        self._worker = name
        self._queues, self._processes = tuple(queues), processes
        self._rings = [ring for queue, ring in RINGS.items() if queue in queues]
        self._deaf_after_s = settings.watchdog_s
        self._pause_s = settings.watchdog_s / LOOKS
        self._in_time = InTime(self._pause_s, at_once=2)
        self._publisher: Any = producer(settings.broker_url)
        self._res = open_resources(settings, self._publisher, Clock(), connections=2, witness=False)
        self._judge, self._idleness = Judge(), Idleness()
        self.ending = False

    def run(self) -> None:
        last = time.monotonic()
        while not self.ending:
            time.sleep(self._pause_s)
            seen = self._look()
            now = time.monotonic()
            if now - last > 3 * self._pause_s:  # it was stopped itself, and so was perhaps the whole machine
                seen = None
            last = now
            if seen is None:
                self._judge.forget()
                self._idleness.forget()
                continue
            taken = state.all_total_count[0]
            still_s, idle_s = self._judge.look(now, seen.journals, taken)
            set_journal_stuck(self._worker, still_s)
            deaf_s = max(min(still_s, idle_s), self._idleness.look(now, seen.messages, taken))
            if deaf_s >= self._deaf_after_s * (1 if taken else STARTING) and not self.ending:
                self._restart(deaf_s, seen)

    def _look(self) -> _Seen | None:
        """What waits; None: a part is away, which no restart brings back."""
        try:
            return self._in_time(self._ask)
        except Exception as error:  # whatever the parts' clients raise
            _log.info("watchdog_cannot_look", error=repr(error))
            return None

    def _ask(self) -> _Seen:
        try:
            journals = _waiting(self._res, self._judge)  # asked by all: without PostgreSQL letters pile up in a worker
            with self._publisher.connection_for_write() as connection:
                messages = self._count_messages(connection)
                if still := self._judge.still(journals):
                    self._ring(still, connection)
            return _Seen(journals if self._rings else {}, messages)
        finally:
            self._res.close()  # a pool process forked later must inherit no connection

    def _count_messages(self, connection: Any) -> int:
        """How many messages nobody has taken up, if this worker could: it has a process free. Raises if the broker is
        away."""
        working = len(state.active_requests)
        if working >= self._processes:
            return 0
        taken_in = max(0, len(state.reserved_requests) - working)
        return taken_in + sum(_length(connection, queue) for queue in self._queues)

    def _ring(self, draws: Collection[str], connection: Any) -> None:
        """Once more than everybody else, or a worker that nobody rings for would count as deaf. Raises if the broker
        is away."""
        for task, by_draw in self._rings:
            for arguments in [[draw] for draw in draws] if by_draw else [[]]:
                options = {"queue": QUEUES.get(task, DEFAULT_QUEUE), "expires": EXPIRES_S, "retry": False}
                self._publisher.send_task(task, args=arguments, connection=connection, **options)

    def _restart(self, seconds: float, seen: _Seen) -> NoReturn:
        draws = sorted(seen.journals)
        _log.error("worker_deaf", worker=self._worker, seconds=round(seconds), draws=draws, messages=seen.messages)
        note_restart(self._worker)
        os.kill(os.getpid(), signal.SIGTERM)  # in order: what it works on is finished or given back
        time.sleep(HARD_AFTER_S)
        end_hard()


def end_hard() -> NoReturn:
    """Its pool ends with the worker, stopped or not (workers/app.py). What it worked on comes back by itself."""
    os._exit(1)  # and not SIGKILL: a container's first process cannot be killed from within, but it can leave


def _length(connection: Any, queue: str) -> int:
    """Messages that lie in the queue; a queue that is not there has none."""
    channel = connection.channel()
    try:
        return int(channel.queue_declare(queue=queue, passive=True).message_count)
    except connection.channel_errors:
        return 0
    finally:
        channel.close()


def _waiting(res: Resources, judge: Judge) -> dict[str, Position]:
    """Where the journals are stored up to that have more, and that somebody should be storing.

    Not those of a stopped draw, nor where storing failed lately and waits for its next try or for a person, nor where
    somebody holds the position: a drain at its batch, a seal, a rebuild.
    """
    with res.sessions() as session:
        stored = {row.name: Position(row.serial, row.sub) for row in session.execute(_drained())}
    tops = res.journal.last(list(stored)) if stored else {}
    behind = {name: position for name, position in stored.items() if (tops[name] or START) > position}
    still = judge.still(behind)
    if not still:
        return behind
    with res.sessions() as session:
        held = set(still) - _free(session, still)
    return {name: position for name, position in behind.items() if name not in held}


def _drained() -> Any:
    """(name, serial, sub) of the draws whose journals should be drained."""
    arguments = func.jsonb_build_array(Draw.name)
    waits = (DeadLetter.kind == TASK, DeadLetter.status == "waiting")
    dead = exists().where(*waits, DeadLetter.task == PERSIST, DeadLetter.arguments == arguments)
    lately = func.now() - TRIED_LATELY
    tried = exists().where(Retry.task == PERSIST, Retry.arguments == arguments, Retry.last_at > lately)
    query = select(Draw.name, PositionRow.serial, PositionRow.sub).join(PositionRow, PositionRow.draw_id == Draw.id)
    return query.where(Draw.status.in_(LIVE), Draw.stopped.is_(None), ~dead, ~tried)


def _free(session: Session, names: Collection[str]) -> set[str]:
    """Those whose position nobody holds. Whoever comes at this very moment passes by, so it is asked only for those
    that nobody came for since the last look."""
    query = select(Draw.name).join(PositionRow, PositionRow.draw_id == Draw.id).where(Draw.name.in_(names))
    return set(session.scalars(query.with_for_update(read=True, skip_locked=True, of=PositionRow)))


_watchdogs: list[Watchdog] = []  # of this process: one, once the worker is ready


def watch(worker: str, queues: Collection[str], processes: int) -> None:
    """Starts the watchdog of a worker; one that connects anew keeps the one it has."""
    if _watchdogs:
        return
    _watchdogs.append(Watchdog(Settings.from_env(os.environ), worker, queues, processes))
    _watchdogs[0].start()


def end_watch() -> None:
    """The worker is about to end, and takes nothing up any more. Safe in a signal handler."""
    for watchdog in _watchdogs:
        watchdog.ending = True
