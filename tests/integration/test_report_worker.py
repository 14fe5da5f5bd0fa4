"""A real worker of the queue `reports`: asked by name over the broker, and killed."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from actions.resources import Resources
from cli.serve import COMMANDS
from intake.client import make_client
from intake.doorbell import QUEUES, Doorbell, producer
from runtime.process import spawn_options
from tasks.report_sweeps import sweep_reports
from tests.integration.conftest import Lottery
from tests.integration.making_reports import KIND, asked, change, content, status
from tests.integration.working import ROOT, Ground, kill
from tests.reporting import in_place_of

pytestmark = [pytest.mark.slow, pytest.mark.faults]


@pytest.fixture
def ringing(lottery: Lottery) -> Iterator[Lottery]:
    """The lottery with a doorbell that is heard."""
    settings = lottery.res.settings
    publisher = producer(settings.broker_url)
    client = make_client(settings.redis_url, timeout_s=5, connections=2)
    with in_place_of(KIND):
        yield Lottery(replace(lottery.res, doorbell=Doorbell(publisher, client)), lottery.rings)
    client.close()
    publisher.close()  # type: ignore[attr-defined]


def start(res: Resources, folder: Path) -> subprocess.Popen[bytes]:
    """As `drawbreak serve worker-reports` does, with the kind of the tests."""
    argv = COMMANDS["worker-reports"](res.settings)
    argv[argv.index("workers.app")] = "tests.integration.reporting_worker"
    environ = {
        "DATABASE_URL": res.settings.database_url,
        "REDIS_URL": res.settings.redis_url,
        "VAR": str(res.settings.var_dir),
    }
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            argv, env=os.environ | environ, cwd=ROOT, stdout=log, stderr=log, **spawn_options(signal.SIGKILL)
        )


def test_a_worker_makes_what_it_is_rung_for_and_another_what_it_left(
    ringing: Lottery, ground: Ground, tmp_path: Path
) -> None:
    assert QUEUES["reports.make"] == "reports"
    res, owner = ringing.res, ringing.person("admin")
    worker = start(res, tmp_path)
    try:
        first = asked(ringing, owner)
        ground.wait_for(lambda: status(res, first) == "ready")
        assert content(res, owner, first)["kind"] == "draw_sales"
    finally:
        kill(worker)
    second = asked(ringing, owner, "pdf")
    worker = start(res, tmp_path)
    try:
        change(res, second, "rung_at = NULL")
        assert sweep_reports(res) == 1
        ground.wait_for(lambda: status(res, second) == "ready")
    finally:
        kill(worker)
    assert "fontTools" not in (tmp_path / "log").read_text()
