"""A large report behind the real server: sent bit by bit, and its file closed whatever the caller does."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import subprocess
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

import psutil
import pytest
from sqlalchemy import insert, text

from models.reports import Report
from models.session import make_sessions
from reports.folder import ReportFolder, new_name
from runtime.settings import Settings
from tests.api.conftest import PASSWORD
from tests.api.test_over_granian import Server, _ready, started

SIZE_MB = 40
WAIT_S = 20

Running = tuple[subprocess.Popen[bytes], Server]


@pytest.fixture
def running(settings: Settings, redis_url: str, tmp_path: Path) -> Iterator[Running]:
    with started(settings, redis_url, tmp_path) as (process, port):
        server = _ready(Server(port), process)
        body = json.loads(server("POST /v1/auth/login", {"username": "superadmin", "password": PASSWORD})[2])
        server.token = body["access_token"]
        yield process, server


def large_report(settings: Settings) -> tuple[str, str]:
    """(id, SHA-256) of a ready report of the superadmin's."""
    report_id, part = uuid.uuid4(), os.urandom(1024 * 1024)

    def fill(file: BinaryIO, _: Path) -> None:
        for _ in range(SIZE_MB):
            file.write(part)

    name, now = new_name(report_id), datetime.now(UTC)
    written = ReportFolder(settings.reports_dir).write(name, fill)
    values: dict[str, Any] = {"id": report_id, "kind": "audit", "format": "csv", "digest": b"x" * 32, "lasting": False}
    values |= {"status": "ready", "started_at": now, "finished_at": now, "expires_at": now + timedelta(days=1)}
    values |= {"file": name, "size_bytes": written.size_bytes, "sha256": written.sha256}
    sessions = make_sessions(settings.database_url, pool_size=1)
    with sessions.begin() as session:
        owner = session.execute(text("SELECT id FROM users")).scalar_one()
        session.execute(insert(Report).values(**values, owner_id=owner, top_id=owner))
    sessions.kw["bind"].dispose()
    return str(report_id), written.sha256.hex()


def open_reports(process: subprocess.Popen[bytes], settings: Settings) -> list[str]:
    """Files of reports that the server's processes have open."""
    found = []
    for each in [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]:
        found += [file.path for file in each.open_files() if file.path.startswith(str(settings.reports_dir))]
    return found


def resident_mb(process: subprocess.Popen[bytes]) -> float:
    children = psutil.Process(process.pid).children(recursive=True)
    return float(max(child.memory_info().rss for child in children)) / 1024**2


def test_a_large_report_arrives_whole_and_is_never_held_in_memory(running: Running, settings: Settings) -> None:
    process, server = running
    report, digest = large_report(settings)
    before = resident_mb(process)
    for _ in range(3):
        status, headers, raw = server(f"GET /v1/reports/{report}/download")
        assert (status, len(raw)) == (200, SIZE_MB * 1024 * 1024)
        assert (
            hashlib.sha256(raw).hexdigest() == digest == {k.lower(): v for k, v in headers.items()}["x-checksum-sha256"]
        )
    assert resident_mb(process) < before + SIZE_MB / 2
    assert open_reports(process, settings) == []


def test_a_caller_who_leaves_half_way_leaves_no_file_open(running: Running, settings: Settings) -> None:
    process, server = running
    report, _ = large_report(settings)
    for _ in range(5):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        connection.request("GET", f"/v1/reports/{report}/download", headers={"Authorization": f"Bearer {server.token}"})
        assert len(connection.getresponse().read(1000)) == 1000
        connection.close()
    deadline = time.monotonic() + WAIT_S
    while open_reports(process, settings):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert server(f"GET /v1/reports/{report}")[0] == 200
