"""What all processes of this machine count, and how `GET /metrics` shows it in one.

Where PROMETHEUS_MULTIPROC_DIR is set (`drawbreak serve` does), each process counts into mapped files of its own there
and any of them can show the sums; elsewhere a process counts for itself. To add a metric, add it below with the one
function that others call.
"""

from __future__ import annotations

import fcntl
import itertools
import json
import logging
import os
import struct
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest, multiprocess, values
from prometheus_client.mmap_dict import MmapedDict

FOLDER = "PROMETHEUS_MULTIPROC_DIR"

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# The library's files of one process, by the kind of metric; a gauge shows what was set last, by whomever.
LATEST: Final = "mostrecent"
KINDS = ("counter", "histogram", f"gauge_{LATEST}")
FILE_BYTES = 256 * 1024  # some 1,500 series

_log = logging.getLogger(__name__)


class Slot:
    """Names this process's files: the first number whose lock is free, so that there are as many files as processes.

    By process id, as the library does it, every process that ever ran would leave its files, and containers that
    share the folder would write into one another's. A successor goes on counting where the last one ended.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pid, self._file, self._number = 0, -1, -1

    def __call__(self) -> int:
        """This process's number; a forked process takes one of its own. Raises OSError."""
        if self._pid != os.getpid():
            if self._file >= 0:
                os.close(self._file)  # our copy of the parent's; its lock stays
                self._file = -1
            self._take()
            self._pid = os.getpid()
        return self._number

    def _take(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for number in itertools.count():
            file = os.open(self._folder / f"slot-{number}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                for kind in KINDS:
                    _prepare(self._folder / f"{kind}_{number}.db")
            except BlockingIOError:
                os.close(file)
                continue
            except BaseException:
                os.close(file)
                raise
            self._file, self._number = file, number
            return


def _prepare(path: Path) -> None:
    """Makes the file whole: a crash of the machine may have left it torn, and nobody could read any of them then."""
    try:
        if (used := int.from_bytes(path.read_bytes()[:4], sys.byteorder, signed=True)) < 0:
            raise ValueError(used)
        for key, *_ in MmapedDict.read_all_values_from_file(path):  # type: ignore[no-untyped-call]
            json.loads(key)
    except FileNotFoundError:
        pass
    except (RuntimeError, ValueError, struct.error):
        _log.warning("counts were lost: %s was torn", path)
        path.unlink()
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        # Its space is taken now: a write into a hole of the map would kill the process on a full disk.
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file, 0, FILE_BYTES)
        elif os.fstat(file).st_size < FILE_BYTES:
            os.ftruncate(file, FILE_BYTES)
    finally:
        os.close(file)


def _share() -> Path | None:
    """Makes this process count into files, before the first metric is made; None: it counts for itself."""
    if not os.environ.get(FOLDER):
        return None
    folder = Path(os.environ[FOLDER])
    try:
        values.ValueClass = values.MultiProcessValue(Slot(folder))  # type: ignore[no-untyped-call]
    except OSError:
        _log.warning("counting for this process alone: %s cannot be used", folder, exc_info=True)
        values.ValueClass = values.MutexValue
        return None
    return folder


_SHARED = _share()

REGISTRY = CollectorRegistry()

# Held around every change, and around every fork: a child forked while another thread counts would find the library's
# lock taken for ever.
_changing = threading.RLock()
os.register_at_fork(before=_changing.acquire, after_in_parent=_changing.release, after_in_child=_changing.release)


def exposition() -> bytes:
    """All metrics in the text format of Prometheus, of all processes where they share a folder. Raises OSError."""
    registry = REGISTRY
    if _SHARED is not None:
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry, str(_SHARED))  # type: ignore[no-untyped-call]
    return generate_latest(registry)


def _counter(name: str, what: str, *labels: str) -> Counter:
    return Counter(name, what, labels, registry=REGISTRY)


def _gauge(name: str, what: str, *labels: str) -> Gauge:
    return Gauge(name, what, labels, registry=REGISTRY, multiprocess_mode=LATEST)


def _inc(counter: Counter, *labels: str, by: int = 1) -> None:
    with _counting():
        counter.labels(*labels).inc(by)


def _set(gauge: Gauge, *labels: str, to: float) -> None:
    with _counting():
        gauge.labels(*labels).set(to)


@contextmanager
def _counting() -> Iterator[None]:
    """What cannot be counted must not fail because of that."""
    try:
        with _changing:
            yield
    except Exception:
        _log.warning("not counted", exc_info=True)


# ── the metrics ─────────────────────────────────────────────────────────────────────────────────────────────

_FOUND = _counter("drawbreak_sweep_found", "what sweeps found undone, and did", "sweep", "what")
_RUN = _gauge("drawbreak_task_last_success_timestamp_seconds", "when the task last succeeded", "task")
_FAILURES = _counter("drawbreak_task_failures", "tasks that failed, by kind of failure", "task", "kind")
_LETTERS = _counter("drawbreak_dead_letters", "dead letters written or added to", "kind")
_RESTARTS = _counter("drawbreak_worker_restarts", "workers that restarted themselves for being deaf", "worker")
_BREAKERS = _counter("drawbreak_breaker_openings", "times that a part did not answer and was asked no more", "part")
_BEHIND = _gauge("drawbreak_journal_stuck_seconds", "how long a journal has waited with nobody storing it", "worker")
_STUCK = _gauge("drawbreak_draws_stuck", "draws that have been in a state for too long", "state")
_WAITING = _gauge("drawbreak_waiting", "what waits for a person or for its next try", "what")


_CLIENTS = _gauge("drawbreak_live_clients", "clients that are told events live, by the process's port", "port")
_TOLD = _counter("drawbreak_live_events", "events told to the clients of this machine's processes", "event")


def set_live_clients(port: int, count: int) -> None:
    """How many clients the process on that port has."""
    _set(_CLIENTS, str(port), to=count)


def note_told(event: str) -> None:
    """A process has told its clients an event."""
    _inc(_TOLD, event)


def note_found(sweep: str, what: str, count: int) -> None:
    """A sweep found `count` of something undone."""
    _inc(_FOUND, sweep, what, by=count)


def note_success(task: str) -> None:
    """A task has succeeded now."""
    _set(_RUN, task, to=time.time())


def note_failure(task: str, kind: str) -> None:
    """A task failed; `kind` as in actions.failures."""
    _inc(_FAILURES, task, kind)


def note_dead_letter(kind: str) -> None:
    """A dead letter was written, or added to: record, task or message."""
    _inc(_LETTERS, kind)


def note_restart(worker: str) -> None:
    """A worker is about to restart itself."""
    _inc(_RESTARTS, worker)


def note_breaker_opened(part: str) -> None:
    """The breaker around a part has opened: database, gate or counters."""
    _inc(_BREAKERS, part)


def set_journal_stuck(worker: str, seconds: float) -> None:
    """For how long this worker's watchdog has seen a journal wait; 0: none does."""
    _set(_BEHIND, worker, to=seconds)


def set_waiting(draws: Mapping[str, int], waiting: Mapping[str, int]) -> None:
    """How many draws are stuck by state, and how much waits by name; every name each time, or it keeps its value."""
    for state, count in draws.items():
        _set(_STUCK, state, to=count)
    for what, count in waiting.items():
        _set(_WAITING, what, to=count)
