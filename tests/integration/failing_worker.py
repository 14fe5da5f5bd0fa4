"""The workers' application with one task more: it fails as it is told. Loaded by `celery -A`, in a process of its own.

FOLDER holds the file `runs`, a line for each run; while there is a file `wait`, runs wait; while there is `well`, what
would pass does.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from celery.exceptions import SoftTimeLimitExceeded

from rules.errors import IntakeUnavailable
from workers.app import app

FOLDER = Path(os.environ["FAILING_FOLDER"])

# A test does not wait as long as a lottery may.
app.conf.worker_lost_wait = 0.5
app.conf.broker_transport_options = {
    **app.conf.broker_transport_options,
    "visibility_timeout": int(os.environ["FAILING_VISIBILITY_S"]),
}


def passing() -> None:
    if not (FOLDER / "well").exists():
        raise RuntimeError("this passes")


def permanent() -> None:
    raise ValueError("this does not pass")


def away() -> None:
    if not (FOLDER / "well").exists():
        raise IntakeUnavailable


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def leave() -> None:
    sys.exit(3)


def hang() -> None:
    time.sleep(600)


def ignore() -> None:
    """Neither does the soft time limit end it."""
    while True:
        with suppress(SoftTimeLimitExceeded):
            time.sleep(600)


WAYS: dict[str, Callable[[], None]] = {
    way.__name__: way for way in (passing, permanent, away, kill, leave, hang, ignore)
} | {"succeed": lambda: None}


@app.task(name="test.fail")
def fail(way: str) -> None:
    with (FOLDER / "runs").open("a") as runs:
        runs.write(f"{way}\n")
    while (FOLDER / "wait").exists():
        time.sleep(0.02)
    WAYS[way]()
