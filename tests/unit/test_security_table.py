"""docs/security.md: its table names every item of the chapters that it covers, and only tests that are there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WITHOUT_A_TEST = ("Documented", "Not applicable", "Not met", "Outside")

# How many items each section of OWASP ASVS 5.0.0 has.
SECTIONS = {
    **{"6.1": 3, "6.2": 12, "6.3": 8, "6.4": 6, "6.5": 8, "6.6": 4, "6.7": 2, "6.8": 4},
    **{"7.1": 3, "7.2": 4, "7.3": 2, "7.4": 5, "7.5": 3, "7.6": 2},
    **{"8.1": 4, "8.2": 4, "8.3": 3, "8.4": 2},
    **{"9.1": 3, "9.2": 4},
    **{"16.1": 1, "16.2": 5, "16.3": 4, "16.4": 3, "16.5": 4},
}


def rows() -> list[tuple[str, str, list[str]]]:
    """(items, how, tests) of each row."""
    table = (ROOT / "docs" / "security.md").read_text().partition("## OWASP ASVS 5.0")[2]
    found = []
    for line in table.splitlines():
        if re.match(r"\| [0-9]", line):
            items, how, tests = (cell.strip() for cell in line.strip("|").split("|"))
            found.append((items, how, re.findall(r"`(test_\w+)`", tests)))
    return found


def named(items: str) -> list[str]:
    """The items that "9.2.3, 9.2.4" or "6.6.1 – 6.6.4" stands for."""
    if " – " not in items:
        return items.split(", ")
    first, last = items.split(" – ")
    section, _, number = first.rpartition(".")
    return [f"{section}.{n}" for n in range(int(number), int(last.rpartition(".")[2]) + 1)]


def test_every_test_that_the_table_names_is_there() -> None:
    there = {
        node.name
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
    }
    assert {name for _, _, tests in rows() for name in tests} - there == set()


def test_the_table_names_every_item_once() -> None:
    items = [item for row, _, _ in rows() if not row.startswith("10.") for item in named(row)]
    assert items == [f"{section}.{n}" for section, count in SECTIONS.items() for n in range(1, count + 1)]


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_an_item_that_is_met_names_its_test(row: tuple[str, str, list[str]]) -> None:
    _, how, tests = row
    assert tests or how.startswith(WITHOUT_A_TEST)
