"""Processes that count into one folder: what they sum to, and what happens to the files of those that are gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from runtime.process import spawn_options

# Counts 1 itself, 2 in a forked child, and waits to be told to go.
COUNTS = """
import os, sys
from runtime import metrics
metrics.note_found("sweep.test", "things", 1)
metrics.set_journal_stuck("worker@test", float(sys.argv[1]))
if not os.fork():
    metrics.note_found("sweep.test", "things", 2)
    os.kill(os.getpid(), 9)
os.wait()
print("counted", flush=True)
sys.stdin.read()
"""
SHOWS = "from runtime.metrics import exposition; print(exposition().decode())"

FOUND, STUCK = "drawbreak_sweep_found_total", "drawbreak_journal_stuck_seconds"


def start(folder: Path, code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        **spawn_options(signal.SIGKILL),
    )


def count(folder: Path, seconds: float) -> subprocess.Popen[str]:
    process = start(folder, COUNTS, str(seconds))
    assert process.stdout is not None
    assert process.stdout.readline() == "counted\n"
    return process


def shown(folder: Path) -> dict[str, float]:
    text, _ = start(folder, SHOWS).communicate()
    return {s.name: s.value for family in text_string_to_metric_families(text) for s in family.samples}


def test_counts_of_all_processes_are_one_sum_and_outlive_them(tmp_path: Path) -> None:
    first, second = count(tmp_path, 1.0), count(tmp_path, 2.0)
    assert shown(tmp_path) == {FOUND: 6, STUCK: 2.0}, "a gauge shows what was set last"
    first.kill()
    first.communicate()
    third = count(tmp_path, 3.0)
    assert shown(tmp_path) == {FOUND: 9, STUCK: 3.0}
    for process in (second, third):
        process.communicate("")


def test_there_are_no_more_files_than_processes_at_one_time(tmp_path: Path) -> None:
    for _ in range(4):
        count(tmp_path, 1.0).communicate("")
    assert len(list(tmp_path.glob("slot-*"))) == 2, "a process and its child"
    assert shown(tmp_path)[FOUND] == 12


@pytest.mark.parametrize("torn", [b"", b"\xff" * 500, (400).to_bytes(4, sys.byteorder) + b"\0" * 600])
def test_a_torn_file_is_made_anew(tmp_path: Path, torn: bytes) -> None:
    (tmp_path / "counter_0.db").write_bytes(torn)
    count(tmp_path, 1.0).communicate("")
    assert shown(tmp_path)[FOUND] == 3


def test_without_a_folder_a_process_counts_for_itself(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    process = count(tmp_path / "file" / "folder", 1.0)
    process.communicate("")
    assert process.returncode == 0
