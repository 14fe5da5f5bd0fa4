"""Servers that are killed and come back with less, and terminals that sell on."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from actions.reconcile import reconcile
from rules import errors
from runtime.embedded_valkey import Valkey
from tests.integration.conftest import Lottery, new_id

ATTEMPTS = 5


def kill(server: Valkey) -> None:
    """As `kill -9` does it."""
    assert server.process is not None
    server.process.kill()
    server.process.wait()
    server.stop()


def cut_tail(server: Valkey, count: int) -> int:
    """Cuts the last bytes of the append-only file, as a disk that lied about its last writes would."""
    (newest,) = sorted(server.home.glob("data/appendonlydir/*.incr.aof"))[-1:]
    size = newest.stat().st_size
    os.truncate(newest, size - count)
    return size


def copy_data(server: Valkey) -> Path:
    """A copy of what the server has on its disk now."""
    copy = server.home / "older"
    shutil.copytree(server.home / "data", copy)
    return copy


def come_back_as(server: Valkey, copy: Path) -> None:
    """Kills the server and starts it on an older copy of its data."""
    kill(server)
    shutil.rmtree(server.home / "data")
    shutil.copytree(copy, server.home / "data")
    server.start()


def sell_on(lottery: Lottery, draw: str, agent: int, *lines: str) -> dict[str, object]:
    """As a terminal does: asks again with the same id after a reconcile."""
    ticket_id = new_id()
    for _ in range(ATTEMPTS):
        try:
            return lottery.sell(draw, agent, *lines, ticket_id=ticket_id)
        except errors.IntakeUnavailable:
            reconcile(lottery.res)
    raise AssertionError("never sold")
