"""The whole system as it runs: what happens to a draw reaches a webhook."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.integration.hearing import office
from tests.service import Service

SECRET = "a secret of the house"
DEADLINE_S = 60


@pytest.mark.slow
def test_a_draw_that_opens_and_closes_is_told_to_the_webhook_within_seconds(servers_dir: Path) -> None:
    with office() as told:
        told.answers = [500, 200]
        service = Service(servers_dir / "told", WEBHOOK_URL=told.url, WEBHOOK_SECRET=SECRET, API_WORKERS="1")
        try:
            token = service.login("superadmin")
            draw = service.draw(token)
            assert service.call("POST", f"/v1/draws/{draw}/close", token=token)[0] == 202
            deadline = time.monotonic() + DEADLINE_S
            wanted = ["draw.opened", "draw.opened", "draw.closed", "draw.sealed"]
            while len(told.posts) < len(wanted) and time.monotonic() < deadline:
                time.sleep(0.2)
            items = service.call("GET", "/v1/notifications", token=token)[1]["items"]
        finally:
            service.stop()
    assert [json.loads(post.body)["kind"] for post in told.posts] == wanted
    assert all(post.verified(SECRET) for post in told.posts)
    assert [item["kind"] for item in reversed(items)] == wanted[1:]
