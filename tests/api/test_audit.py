"""Reading the audit log: who sees which rows, and how they are found."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from actions.audit import record
from actions.resources import Resources
from runtime.origin import SYSTEM, Origin, set_origin
from tasks.audit import chain
from tests.api.conftest import Caller, People


def deed(res: Resources, person: Caller | None, about: str, **after: Any) -> None:
    by = Origin(person.id, person.user["username"], person.user["role"], "203.0.113.7", "r-1") if person else SYSTEM
    set_origin(by)
    try:
        with res.sessions.begin() as session:
            record(session, "user.change", about, None, after or None)
    finally:
        set_origin(SYSTEM)


def objects(caller: Caller, query: str = "") -> list[str]:
    answer = caller(f"GET /v1/audit?limit=500{query}")
    assert answer.status_code == 200, answer.text
    return [item["object"] for item in answer.json["items"] if item["object"].startswith("test:")]


@pytest.fixture
def deeds(people: People, res: Resources) -> People:
    for name in ("superadmin", "admin", "other_admin", "coordinator", "agent"):
        deed(res, people.of_role(name), f"test:{name}")
    deed(res, None, "test:system")
    return people


def test_an_administrator_sees_the_deeds_of_his_own_subtree_newest_first(deeds: People) -> None:
    assert objects(deeds.admin) == ["test:agent", "test:coordinator", "test:admin"]
    assert objects(deeds.other_admin) == ["test:other_admin"]


def test_superadmins_and_operators_see_everything(deeds: People) -> None:
    everything = [f"test:{name}" for name in ("system", "agent", "coordinator", "other_admin", "admin", "superadmin")]
    assert objects(deeds.superadmin) == objects(deeds.operator) == everything


def test_coordinators_and_agents_do_not_read_it(deeds: People, nobody: Caller) -> None:
    for caller in (deeds.coordinator, deeds.agent):
        assert caller("GET /v1/audit").json["code"] == "forbidden"
    assert nobody("GET /v1/audit").status_code == 401


def test_rows_are_found_by_actor_object_and_time(deeds: People) -> None:
    see = deeds.superadmin
    assert objects(see, f"&actor={deeds.agent.id}") == ["test:agent"]
    assert objects(see, "&actor=AGENT") == ["test:agent"]
    assert objects(see, f"&actor={'9' * 30}") == objects(see, "&actor=nobody") == []
    assert objects(see, "&object=test:admin") == ["test:admin"]
    assert objects(see, f"&object=test:admin&actor={deeds.agent.id}") == []
    assert objects(deeds.admin, "&object=test:superadmin") == []
    now = datetime.now(UTC)
    before, after = ((now + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ") for minutes in (-5, 5))
    assert len(objects(see, f"&from={before}&to={after}")) == 6
    assert objects(see, f"&from={after}") == objects(see, f"&to={before}") == []


def test_pages_go_on_where_the_last_one_ended(deeds: People) -> None:
    whole = deeds.superadmin("GET /v1/audit?limit=500").json["items"]
    found, cursor = [], ""
    for _ in itertools.count():
        answer = deeds.superadmin(f"GET /v1/audit?limit=2{cursor}").json
        found += answer["items"]
        if answer["next"] is None:
            break
        cursor = f"&cursor={answer['next']}"
    assert found == whole
    assert [item["id"] for item in whole] == sorted((item["id"] for item in whole), reverse=True)


@pytest.mark.parametrize("query", ["cursor=x", "cursor=-1", "from=yesterday", "to=2026-01-01", "limit=0", "color=red"])
def test_a_query_that_makes_no_sense_is_invalid(people: People, query: str) -> None:
    answer = people.superadmin(f"GET /v1/audit?{query}")
    assert (answer.status_code, answer.json["code"]) == (422, "invalid")


def test_a_row_shows_what_was_written_and_its_place_in_the_chain(people: People, res: Resources) -> None:
    deed(res, people.agent, "test:one", phone="0917", nested=[{"a": None}])
    call = "GET /v1/audit?object=test:one"
    row = people.superadmin(call).json["items"][0]
    assert (
        row.items()
        >= {
            "actor_id": people.agent.id,
            "actor": "agent",
            "role": "agent",
            "action": "user.change",
            "object": "test:one",
            "before": None,
            "after": {"phone": "0917", "nested": [{"a": None}]},
            "address": "203.0.113.7",
            "request_id": "r-1",
            "outcome": "done",
            "link": None,
        }.items()
    )
    chain(res)
    link = people.superadmin(call).json["items"][0]["link"]
    assert link["seq"] >= 1
    assert len(bytes.fromhex(link["hash"])) == 32
