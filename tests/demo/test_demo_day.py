"""The whole demo, small: as a visitor runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from runtime.process import spawn_options

TICKETS, TERMINALS = 400, 10


def processes_of(var_dir: Path) -> list[psutil.Process]:
    """Whatever runs and names that directory, in its command or its environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            told = [*process.cmdline(), process.environ().get("VAR", "")]
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        if process.pid != os.getpid() and any(str(var_dir) in word for word in told):
            found.append(process)
    return found


def gone_within(var_dir: Path, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while processes_of(var_dir):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


@pytest.fixture
def var_dir(servers_dir: Path, tmp_path: Path) -> Iterator[Path]:
    """A short path, so that sockets fit."""
    yield servers_dir / tmp_path.name
    assert gone_within(servers_dir / tmp_path.name, 60)


def start(var_dir: Path, output: Path) -> subprocess.Popen[bytes]:
    environ = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")}
    environ |= {"VAR": str(var_dir), "TICKETS": str(TICKETS), "TERMINALS": str(TERMINALS), "SEED": "5"}
    with output.open("wb") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "demo"], stdout=file, stderr=file, env=environ, **spawn_options(signal.SIGTERM)
        )


@pytest.mark.slow
def test_the_demo_plays_a_day_and_every_figure_is_the_same_everywhere(var_dir: Path, tmp_path: Path) -> None:
    output = tmp_path / "output"
    with start(var_dir, output) as demo:
        code = demo.wait(280)
    text = output.read_text()
    assert code == 0, text
    assert not processes_of(var_dir)
    found = json.loads((var_dir / "summary.json").read_text())
    assert found["ok"]
    assert found["tickets_accepted"] == found["receipts_held"] == found["tickets_in_database"] > TICKETS / 2
    assert found["serial_gaps"] == found["ledger_sum"] == 0
    assert found["draws_settled"] == 3
    assert found["duplicates_replayed"] > 0
    assert found["refusals"]["insufficient_credit"] > 0
    assert text.splitlines()[-1].startswith("OK:")
    assert str(var_dir / "summary.json") in text


@pytest.mark.slow
@pytest.mark.faults
@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_running_when_the_demo_is_ended_half_way(
    var_dir: Path, tmp_path: Path, sig: signal.Signals
) -> None:
    with start(var_dir, tmp_path / "output") as demo:
        deadline = time.monotonic() + 200
        while not list(var_dir.glob("day/terminals/*.jsonl")):
            assert demo.poll() is None, (tmp_path / "output").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        demo.send_signal(sig)
        assert demo.wait(60) != 0
    assert gone_within(var_dir, 60)
