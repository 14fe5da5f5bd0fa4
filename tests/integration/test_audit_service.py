"""The whole system: its workers chain what its API writes, and no file under VAR/log holds a secret."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.service import PASSWORD, Service

CHAIN_WAIT_S = 60


def chained(service: Service, token: str) -> dict[str, Any]:
    """The newest row of the audit log, once it is a refusal's, which is written after the answer, and has its link."""
    deadline = time.monotonic() + CHAIN_WAIT_S
    while time.monotonic() < deadline:
        status, body = service.call("GET", "/v1/audit?limit=1", token=token)
        assert status == 200, body
        row: dict[str, Any] = body["items"][0]
        if row["link"] and row["outcome"] != "done":
            return row
        time.sleep(0.2)
    raise TimeoutError("nobody chained the audit log")


@pytest.mark.slow
def test_workers_chain_what_the_api_writes_and_logs_keep_no_secret(tmp_path: Path) -> None:
    service = Service(tmp_path)
    try:
        token = service.login("superadmin")
        agent_id, agent_token = service.person(token, "agent", 100_000)
        draw = service.draw(token)
        line = {"game": "3D", "play": "straight", "number": "046", "stake": 100}
        body = {"id": "0190f7a2-7e1c-7abc-8def-0123456789ab", "draw_id": draw, "lines": [line]}
        status, receipt = service.call("POST", "/v1/tickets", body, agent_token)
        assert status == 201, receipt
        assert service.call("POST", "/v1/users", {}, agent_token)[0] == 403
        row = chained(service, token)
        assert (row["actor_id"], row["action"], row["outcome"]) == (agent_id, "user.create", "forbidden")

        environ = os.environ | {"VAR": str(tmp_path)}
        command = [sys.executable, "-m", "cli.main", "audit", "verify"]
        verified = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
        assert verified.returncode == 0, verified.stdout + verified.stderr
        assert "kept heads agree" in verified.stdout
    finally:
        service.stop()
    logs = {path.name: path.read_text(errors="replace") for path in (tmp_path / "log").rglob("*") if path.is_file()}
    assert any("audit_head" in text for text in logs.values())
    keys = [path.read_text().strip().rpartition(":")[2] for path in (tmp_path / "keys").iterdir() if path.is_file()]
    secrets = [PASSWORD, receipt["code"], *(one.rpartition(".")[2] for one in (token, agent_token)), *keys]
    found = [name for name, text in logs.items() for secret in secrets if secret in text]
    assert found == [], json.dumps(found)
