"""Reports over HTTP: who may ask for what, who may have it, and how the file comes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import text

from actions import reports as asking
from actions.resources import Resources
from reports.kinds import About
from reports.registry import KINDS
from rules.errors import NotSettled
from rules.reports import REPORT_KINDS
from rules.rights import Role
from tasks.make_report import make_report
from tests.api.conftest import Caller, People
from tests.reporting import in_place_of

PERIOD = {"from": "2026-11-01T00:00:00+08:00", "to": "2026-12-01T00:00:00+08:00"}
STATEMENT: dict[str, Any] = {"kind": "statement", "format": "json", **PERIOD}


@pytest.fixture(autouse=True)
def kinds() -> Iterator[None]:
    house = frozenset({Role.SUPERADMIN, Role.ADMIN, Role.OPERATOR})
    with (
        in_place_of("statement"),
        in_place_of("winners", about=About.DRAW),
        in_place_of("audit", about=About.PERIOD, roles=house),
        in_place_of("dead_letters", about=About.NOTHING, roles=house),
    ):
        yield


def asked(caller: Caller, **body: Any) -> str:
    answer = caller("POST /v1/reports", STATEMENT | body)
    assert answer.status_code == 202, answer.text
    return str(answer.json["id"])


def made(res: Resources, caller: Caller, **body: Any) -> str:
    report = asked(caller, **body)
    assert make_report(res, report)
    return report


@contextmanager
def over(res: Resources, report: str) -> Iterator[None]:
    """While it lasts, the report's time is over."""
    for span in ("- interval '1000 days'", "+ interval '1000 days'"):
        with res.sessions.begin() as session:
            session.execute(text(f"UPDATE reports SET expires_at = expires_at {span} WHERE id = :id"), {"id": report})
        if span.startswith("-"):
            yield


def code(caller: Caller, call: str, body: Any = None) -> tuple[int, str]:
    answer = caller(call, body)
    return answer.status_code, answer.json["code"]


def test_a_report_is_asked_for_followed_and_downloaded(people: People, res: Resources) -> None:
    answer = people.agent("POST /v1/reports", STATEMENT)
    assert (answer.status_code, answer.json["status"]) == (202, "waiting")
    report = answer.json["id"]
    waiting = f"GET /v1/reports/{report}/download"
    assert code(people.agent, waiting) == (409, "report_not_ready")
    assert make_report(res, report)
    body = people.agent(f"GET /v1/reports/{report}").json
    assert (body["status"], body["progress"]) == ("ready", {"rows": 3, "total": 3})
    assert body["parameters"] == {
        "draw_id": None,
        "from": "2026-10-31T16:00:00+00:00",
        "to": "2026-11-30T16:00:00+00:00",
        "agent_id": None,
    }
    file = people.agent(waiting)
    assert file.status_code == 200
    assert file.headers["Content-Type"] == "application/json"
    assert file.headers["Content-Disposition"] == 'attachment; filename="statement_2026-11-01_2026-12-01.json"'
    assert int(file.headers["Content-Length"]) == len(file.data) == body["bytes"]
    digest = hashlib.sha256(file.data).hexdigest()
    assert digest == file.headers["X-Checksum-SHA256"] == body["sha256"]
    assert file.headers["ETag"] == f'"{digest}"'
    assert file.json["facts"]["top"] == "agent"


def test_who_has_the_file_already_gets_it_not_again(people: People, res: Resources) -> None:
    call = f"GET /v1/reports/{made(res, people.agent)}/download"
    tag = people.agent(call).headers["ETag"]
    again = people.agent(call, headers={"If-None-Match": tag})
    assert (again.status_code, again.data) == (304, b"")
    assert people.agent(call, headers={"If-None-Match": '"another"'}).status_code == 200
    head = people.agent(call.replace("GET", "HEAD"))
    assert (head.status_code, head.data, head.headers["ETag"]) == (200, b"", tag)


@pytest.mark.parametrize("format", ["json", "csv", "xlsx", "pdf"])
def test_every_format_comes_as_what_it_is(people: People, res: Resources, format: str) -> None:
    file = people.agent(f"GET /v1/reports/{made(res, people.agent, format=format)}/download")
    kind = {"json": "json", "csv": "text/csv", "xlsx": "spreadsheetml", "pdf": "application/pdf"}[format]
    start = {"json": b"{", "csv": b"report,", "xlsx": b"PK", "pdf": b"%PDF-"}[format]
    assert kind in file.headers["Content-Type"]
    assert file.data.startswith(start)
    assert file.headers["X-Content-Type-Options"] == "nosniff"


def test_nobody_but_its_owner_sees_a_report(people: People, res: Resources) -> None:
    report = made(res, people.agent)
    for other in (people.superadmin, people.admin, people.coordinator, people.operator, people.other_admin):
        for call in (f"GET /v1/reports/{report}", f"GET /v1/reports/{report}/download"):
            assert code(other, call) == (404, "not_found")
        assert other("GET /v1/reports").json == {"items": [], "next": None}
    for nothing in ("x", "0190f7a2-7e1c-7abc-8def-0123456789ab", "0" * 5_000):
        assert code(people.agent, f"GET /v1/reports/{nothing}") == (404, "not_found")


def test_the_list_has_ones_own_newest_first(people: People) -> None:
    draws = [asked(people.agent, format=format) for format in ("json", "csv", "xlsx")]
    asked(people.admin)
    first = people.agent("GET /v1/reports?limit=2").json
    second = people.agent(f"GET /v1/reports?limit=2&cursor={first['next']}").json
    assert [item["id"] for item in first["items"] + second["items"]] == draws[::-1]
    assert second["next"] is None
    assert code(people.agent, "GET /v1/reports?cursor=x") == (422, "invalid")


def test_a_kind_is_for_its_roles_only(people: People) -> None:
    body = STATEMENT | {"kind": "audit"}
    for role in Role:
        answer = people.of_role(role)("POST /v1/reports", body)
        allowed = role in KINDS["audit"].roles
        assert (answer.status_code, answer.json.get("code")) == ((202, None) if allowed else (403, "forbidden"))


def test_a_statement_is_ones_own_or_of_somebody_below(people: People, res: Resources) -> None:
    report = made(res, people.coordinator, agent_id=people.agent.id)
    file = people.coordinator(f"GET /v1/reports/{report}/download")
    assert file.json["facts"]["top"] == "agent"
    assert f"user-{people.agent.id}" in file.headers["Content-Disposition"]
    assert people.coordinator(f"GET /v1/reports/{report}").json["parameters"]["agent_id"] == people.agent.id
    for asker, agent in (
        (people.agent, people.coordinator.id),
        (people.other_admin, people.agent.id),
        (people.admin, 2**62),
    ):
        assert code(asker, "POST /v1/reports", STATEMENT | {"agent_id": agent}) == (404, "not_found")
    assert asked(people.agent, agent_id=people.agent.id) == asked(people.agent)


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        ({"kind": "nothing"}, "kind"),
        ({"kind": None}, "kind"),
        ({"format": "doc"}, "format"),
        ({"format": None}, "format"),
        ({"from": "2026-11-01"}, "from"),
        ({"from": "2026-11-01T00:00:00"}, "from"),
        ({"from": None}, "from"),
        ({"to": None}, "to"),
        ({"from": None, "to": None}, "draw_id"),
        ({"to": "2026-11-01T00:00:00+08:00"}, "to"),
        ({"to": "2027-11-03T00:00:00+08:00"}, "to"),
        ({"draw_id": "3D-20260105-1400"}, "draw_id"),
        ({"draw_id": 7}, "draw_id"),
        ({"agent_id": 0}, "agent_id"),
        ({"agent_id": 2**63}, "agent_id"),
        ({"agent_id": "7"}, "agent_id"),
        ({"kind": "winners"}, "draw_id"),
        ({"kind": "winners", "draw_id": "3D-20260105-1400"}, "from"),
        ({"kind": "audit", "draw_id": "3D-20260105-1400"}, "draw_id"),
        ({"kind": "audit", "agent_id": 1}, "agent_id"),
        ({"kind": "dead_letters"}, "from"),
        ({"more": 1}, "more"),
    ],
)
def test_what_cannot_be_reported_is_refused_by_its_path(people: People, wrong: dict[str, Any], path: str) -> None:
    answer = people.superadmin("POST /v1/reports", STATEMENT | wrong)
    assert (answer.status_code, answer.json["code"]) == (422, "invalid"), answer.text
    assert path in [error["path"] for error in answer.json["errors"]]


def test_a_draw_that_is_not_there_is_not_found(people: People, draw_id: str) -> None:
    of_draw = {"kind": "winners", "format": "json"}
    for name in ("3D-20260105-1500", "nothing", "3D-20260105-1400\0"):
        answer = people.admin("POST /v1/reports", of_draw | {"draw_id": name})
        assert answer.json["code"] in ("no_such_draw", "invalid")
    assert people.admin("POST /v1/reports", of_draw | {"draw_id": draw_id}).status_code == 202
    assert people.admin("POST /v1/reports", {"kind": "dead_letters", "format": "json"}).status_code == 202


def test_a_report_that_failed_or_expired_or_was_damaged_says_so(people: People, res: Resources) -> None:
    def fails(*_: Any) -> Any:
        raise NotSettled("The draw is open.")

    with in_place_of("statement", fails):
        failed = people.agent(f"GET /v1/reports/{made(res, people.agent)}/download")
    assert (failed.status_code, failed.json["code"]) == (409, "report_failed")
    assert (failed.json["reason"], failed.json["detail"]) == ("not_settled", "The draw is open.")
    report = made(res, people.agent)
    call = f"GET /v1/reports/{report}/download"
    with over(res, report):
        assert people.agent(f"GET /v1/reports/{report}").json["status"] == "expired"
        assert code(people.agent, call) == (410, "report_expired")
    for path in res.settings.reports_dir.iterdir():
        path.write_bytes(b"x")
    assert code(people.agent, call) == (409, "report_damaged")
    assert code(people.agent, call) == (409, "report_failed")


def test_too_many_reports_at_once_are_refused(people: People, res: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "UNFINISHED_MAX", 2)
    first = asked(people.agent)
    asked(people.agent, format="csv")
    assert code(people.agent, "POST /v1/reports", STATEMENT | {"format": "pdf"}) == (409, "too_many_reports")
    assert asked(people.agent) == first
    assert make_report(res, first)
    asked(people.agent, format="pdf")


def test_a_suspended_owner_downloads_nothing(people: People, res: Resources) -> None:
    call = f"GET /v1/reports/{made(res, people.agent)}/download"
    assert people.admin(f"POST /v1/users/{people.agent.id}/suspend", {"reason": "a test"}).status_code == 200
    assert code(people.agent, call) == (401, "token_revoked")


def test_every_kind_that_can_be_asked_for_has_a_name_of_the_contract() -> None:
    assert set(KINDS) <= set(REPORT_KINDS)
