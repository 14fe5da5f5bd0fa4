"""However the fault suite ends, nothing of it runs on: not even what it has stopped, or what is in its namespace."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from faults.plan import make_plan
from runtime.process import spawn_options

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]


# Whose plan begins with a server that is stopped, and cannot end when it is told to.
SEED, FAULT = next(
    (seed, fault)
    for seed, fault in ((seed, make_plan(seed, 1, 8).faults[0]) for seed in range(1000))
    if (fault.kind, fault.target) == ("stop", "postgres")
)


def processes_of(var_dir: Path) -> list[psutil.Process]:
    """Whatever runs and names that directory, in its command or its environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() == psutil.STATUS_ZOMBIE or process.pid == os.getpid():
                continue
            told = [*process.cmdline(), process.environ().get("VAR", "")]
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        if any(str(var_dir) in word for word in told):
            found.append(process)
    return found


def wait_for(what: str, output: Path, suite: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 150
    while what not in (text := output.read_text()):
        assert suite.poll() is None, text
        assert time.monotonic() < deadline, text
        time.sleep(0.2)


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_running(servers_dir: Path, tmp_path: Path, sig: signal.Signals) -> None:
    var, output = servers_dir / f"ends{sig}", tmp_path / "output"
    environ = {**os.environ, "VAR": str(var), "SEED": str(SEED), "MINUTES": "1"}
    with output.open("wb") as file:
        suite = subprocess.Popen(
            [sys.executable, "-m", "faults"], stdout=file, stderr=file, env=environ, **spawn_options(signal.SIGTERM)
        )
    try:
        wait_for(f"stop postgres for {FAULT.seconds:.1f} s (", output, suite)
        # Their names tell nothing, nor does their environment.
        servers = [child for process in processes_of(var) for child in process.children()]
    finally:
        suite.send_signal(sig)
        suite.wait(60)
    assert suite.returncode == (130 if sig == signal.SIGTERM else -signal.SIGKILL)
    deadline = time.monotonic() + 60
    while left := [*processes_of(var), *(server for server in servers if server.is_running())]:
        assert time.monotonic() < deadline, left
        time.sleep(0.2)
