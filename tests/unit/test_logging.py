"""What a log line may hold."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from runtime.logging import configure_logging


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    handlers = list(logging.getLogger().handlers)
    configure_logging("info", stream)
    yield stream
    logging.getLogger().handlers[:] = handlers
    structlog.reset_defaults()


def test_a_traceback_is_logged_without_the_variables_of_its_frames(lines: io.StringIO) -> None:
    def login(password: str) -> None:
        raise RuntimeError("no")

    try:
        login("hunter" + "2hunter2")
    except RuntimeError:
        structlog.get_logger().exception("failed", request_id="r1")
    (line,) = lines.getvalue().splitlines()
    written = json.loads(line)
    assert (written["event"], written["level"], written["request_id"]) == ("failed", "error", "r1")
    assert written["exception"][0]["exc_type"] == "RuntimeError"
    assert "hunter2hunter2" not in line
