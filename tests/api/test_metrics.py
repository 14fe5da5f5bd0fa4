"""GET /metrics: what was counted, for those who may know."""

from __future__ import annotations

import dataclasses

from prometheus_client.parser import text_string_to_metric_families

from api.metrics import CONTENT_TYPE
from runtime.metrics import note_found
from runtime.settings import Settings
from tests.api.conftest import Caller, running, set_up


def test_what_was_counted_is_shown_in_the_format_of_prometheus(nobody: Caller) -> None:
    note_found("sweep.test", "things", 3)
    answer = nobody("GET /metrics")
    assert (answer.status_code, answer.content_type) == (200, CONTENT_TYPE)
    found = [s for family in text_string_to_metric_families(answer.text) for s in family.samples]
    mine = {"sweep": "sweep.test", "what": "things"}
    assert [s.value for s in found if s.name == "drawbreak_sweep_found_total" and s.labels == mine] == [3]


def test_only_the_listed_addresses_may_read_it(settings: Settings) -> None:
    set_up(settings)
    fenced = dataclasses.replace(settings, metrics_from=("10.1.0.0/16", "::1"), trusted_proxies=("10.0.0.1",))
    statuses = {}
    with running(fenced) as app:
        for address, forwarded in (
            ("10.1.2.3", ""),
            ("::ffff:10.1.2.3", ""),
            ("::1", ""),
            ("127.0.0.1", ""),
            ("203.0.113.9", "10.1.2.3"),
            ("10.0.0.1", "10.1.2.3"),
            ("10.0.0.1", "203.0.113.9"),
            ("10.0.0.1", "10.1.2.3, 203.0.113.9"),
        ):
            headers = {"X-Forwarded-For": forwarded} if forwarded else {}
            answer = Caller(app)("GET /metrics", headers=headers, environ_base={"REMOTE_ADDR": address})
            statuses[address, forwarded] = answer.status_code
    assert [where for where, status in statuses.items() if status == 200] == [
        ("10.1.2.3", ""),
        ("::ffff:10.1.2.3", ""),
        ("::1", ""),
        ("10.0.0.1", "10.1.2.3"),
    ]
    assert set(statuses.values()) == {200, 404}
