"""The checking script, run as its users run it, against the project's own tree."""

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rules.merkle import audit_path, leaf_hash, root

SCRIPT = Path(__file__).parents[2] / "docs" / "check_proof.py"


def proof(size: int, index: int) -> dict[str, Any]:
    texts = [f"303EMB8-{number:05d}-X|₱ {number}|accepted" for number in range(size)]
    leaves = [leaf_hash(text) for text in texts]
    return {
        "leaf_text": texts[index],
        "index": index,
        "tree_size": size,
        "path": [step.hex() for step in audit_path(leaves, index)],
        "root": root(leaves).hex(),
    }


def run(answer: object, *arguments: str) -> subprocess.CompletedProcess[str]:
    text = answer if isinstance(answer, str) else json.dumps(answer)
    command = [sys.executable, "-I", "-X", "utf8", str(SCRIPT), "-", *arguments]
    return subprocess.run(command, input=text, capture_output=True, encoding="utf-8", check=False, timeout=60)


def refused(result: subprocess.CompletedProcess[str]) -> bool:
    line = result.stderr.strip()
    return result.returncode == 1 and not result.stdout and line.startswith("NOT PROVEN: ") and "\n" not in line


@pytest.mark.parametrize(("size", "index"), [(1, 0), (2, 1), (7, 6), (70, 0), (70, 65)])
def test_a_true_proof_holds_alone_and_inside_a_verify_answer(size: int, index: int) -> None:
    alone = proof(size, index)
    result = run(alone)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("OK: ")
    assert alone["leaf_text"] in result.stdout
    published = str(alone["root"]).upper()
    assert run({"valid": True, "inclusion_proof": alone}, published).returncode == 0


def test_a_file_is_read_as_well_as_standard_input(tmp_path: Path) -> None:
    file = tmp_path / "answer.json"
    file.write_text(json.dumps(proof(5, 2)), encoding="utf-8")
    done = subprocess.run([sys.executable, str(SCRIPT), str(file)], capture_output=True, check=False, timeout=60)
    assert done.returncode == 0


@pytest.mark.parametrize(
    "change",
    [
        {"leaf_text": "another"},
        {"index": 3},
        {"index": -1},
        {"index": 7},
        {"tree_size": 70},
        {"path": []},
        {"path": [*proof(7, 2)["path"], "00"]},
        {"path": ["zz"]},
        {"root": "00" * 32},
        {"index": "2"},
        {"path": None},
    ],
)
def test_an_altered_proof_is_refused(change: dict[str, object]) -> None:
    assert refused(run(proof(7, 2) | change))


def test_the_published_root_counts_and_not_the_answers_own() -> None:
    assert refused(run(proof(7, 2), proof(8, 2)["root"]))


@pytest.mark.parametrize(
    "answer", [{"valid": False}, {"inclusion_proof": None}, {}, [], 5, "", "{", '{"leaf_text": "x"}']
)
def test_an_answer_without_a_proof_is_refused_in_one_line(answer: object) -> None:
    assert refused(run(answer))


def test_the_script_is_short_and_needs_only_the_standard_library() -> None:
    source = SCRIPT.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 60
    imported = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            imported |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(str(node.module))
    assert imported <= sys.stdlib_module_names
