"""docs/incidents.md: each incident names its tests, and all of them are there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def rows() -> list[tuple[str, list[str]]]:
    """(incident, tests) of each row."""
    table = (ROOT / "docs" / "incidents.md").read_text()
    cells = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ")][1:]
    return [(incident, re.findall(r"`(test_\w+)`", tests)) for incident, _, tests in cells]


@cache
def functions_of(pattern: str) -> set[str]:
    return {
        node.name
        for path in (ROOT / "tests").rglob(pattern)
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_an_incident_names_tests_that_are_there(row: tuple[str, list[str]]) -> None:
    assert row[1]
    assert set(row[1]) <= functions_of("test_*.py")


def test_no_test_of_an_incident_is_left_out() -> None:
    assert functions_of("test_incidents*.py") - functions_of("test_incidents_table.py") <= {
        name for _, tests in rows() for name in tests
    }
