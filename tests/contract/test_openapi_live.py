"""The running service against its own OpenAPI document: every operation, with valid and with broken input."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service import Service

# Small where a person waits, larger where a machine does.
EXAMPLES = 25 if os.environ.get("CI") else 8

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
    "negative_data_rejection",
    "missing_required_header",
    "unsupported_method",
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def service(servers_dir: Path) -> Iterator[Service]:
    running = Service(servers_dir / "contract", ACCESS_TOKEN_MINUTES="60")
    yield running
    running.stop()


@pytest.mark.parametrize("role", ["superadmin", "agent", None])
def test_every_operation_answers_as_documented(service: Service, role: str | None, tmp_path: Path) -> None:
    admin = service.login("superadmin")
    service.draw(admin, {"superadmin": "14:00", "agent": "17:00"}.get(role or "", "21:00"))
    token = {"superadmin": lambda: admin, "agent": lambda: service.person(admin, "agent", 1_000_000)[1]}.get(role or "")
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", f"http://127.0.0.1:{service.port}/v1/openapi.json"),
        *("--checks", ",".join(CHECKS), "--max-examples", str(EXAMPLES), "--phases", "examples,coverage,fuzzing"),
        *("--generation-database", "none", "--no-color", "--seed", "20261122"),
        # It ends the session that all other calls are made with.
        *("--exclude-path", "/v1/auth/logout"),
    ]
    if token:
        command += ["--header", f"Authorization: Bearer {token()}"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-8000:] + run.stderr[-2000:]
