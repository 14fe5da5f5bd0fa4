"""What a process may ask of the system, each tried in one of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

ALLOW = """
import resource
from runtime.process import allow_files
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
print(allow_files({wanted}), *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(
    ("soft", "hard", "wanted", "told"),
    [
        (64, 512, 256, "256 256 512"),
        (64, 128, 256, "128 128 128"),
        (256, 512, 128, "128 256 512"),
    ],
)
def test_files_are_allowed_as_far_as_the_system_allows_them(soft: int, hard: int, wanted: int, told: str) -> None:
    code = ALLOW.format(soft=soft, hard=hard, wanted=wanted)
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == told


def test_what_was_loaded_is_not_looked_at_again_and_new_objects_seldom() -> None:
    code = """
import gc
from runtime.process import COLLECT_AFTER, collect_seldom
collect_seldom()
print(gc.get_freeze_count() > 1_000, gc.get_threshold()[0] == COLLECT_AFTER, gc.isenabled())
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["True", "True", "True"]
