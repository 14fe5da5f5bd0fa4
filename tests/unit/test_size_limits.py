"""Shapes that are kept by a test: sizes, names, and a word in every room about what may be in it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = (
    "actions",
    "api",
    "bench",
    "cli",
    "demo",
    "faults",
    "intake",
    "live",
    "migrations",
    "models",
    "reports",
    "rules",
    "runtime",
    "tasks",
    "workers",
)
NOT_OURS = {".venv", "var", "build", "dist"}

FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 70
SAYS_NOTHING = {"utils", "util", "helpers", "helper", "common", "misc"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def python_files() -> list[Path]:
    found = (path.relative_to(ROOT) for path in ROOT.rglob("*.py"))
    return sorted(path for path in found if path.parts[0] not in NOT_OURS and not path.parts[0].startswith("."))


def functions(path: Path) -> Iterator[Function]:
    tree = ast.parse((ROOT / path).read_text(), str(path))
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def lines(function: Function) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def test_there_are_files_to_look_at() -> None:
    assert Path("runtime/settings.py") in python_files()


def test_no_file_is_too_long() -> None:
    sizes = {str(path): len((ROOT / path).read_text().splitlines()) for path in python_files()}
    assert {path: size for path, size in sizes.items() if size > FILE_LINES_MAX} == {}


def test_no_function_is_too_long() -> None:
    sizes = {
        f"{path}:{function.lineno} {function.name}": lines(function)
        for path in python_files()
        for function in functions(path)
    }
    assert {name: size for name, size in sizes.items() if size > FUNCTION_LINES_MAX} == {}


def test_every_modules_name_says_what_is_in_it() -> None:
    names = [(path, {*path.parts[:-1], path.stem}) for path in python_files()]
    assert [str(path) for path, parts in names if parts & SAYS_NOTHING] == []


@pytest.mark.parametrize("room", ROOMS)
def test_every_room_says_what_it_is_for(room: str) -> None:
    docstring = ast.get_docstring(ast.parse((ROOT / room / "__init__.py").read_text()))
    assert docstring
