"""Dead letters as administrators' scripts meet them."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from sqlalchemy import insert, select

from actions.books import check
from actions.resources import Resources
from models.audit import AuditRow
from models.dead_letters import DeadLetter
from tasks.persist import persist
from tasks.seal import seal
from tests.api.conftest import Caller, People, sale

WHY = {"reason": "the database will never take it"}
TASK = {"kind": "task", "queue": "settle", "task": "draws.seal", "error": "no", "traceback": "Traceback"}


def letter(res: Resources, **columns: Any) -> int:
    with res.sessions.begin() as session:
        return int(session.execute(insert(DeadLetter).values(columns).returning(DeadLetter.id)).scalar_one())


@pytest.fixture
def refused(people: People, seller: Caller, draw_id: str, res: Resources) -> dict[str, Any]:
    """The receipt of a ticket that the database refused; its letter is number `letter`, its draw closed."""
    url = res.settings.owner_database_url
    assert url is not None
    with psycopg.connect(url.replace("+psycopg", "", 1)) as connection:
        connection.execute("ALTER TABLE ticket_lines ADD CONSTRAINT not_300 CHECK (number <> '300')")
    receipt: dict[str, Any] = seller("POST /v1/tickets", sale(draw_id, ("straight", "300", 1_000))).json
    assert seller("POST /v1/tickets", sale(draw_id, ("straight", "301", 100))).status_code == 201
    assert people.admin(f"POST /v1/draws/{draw_id}/close").status_code == 202
    persist(res, draw_id)
    (item,) = people.operator("GET /v1/dead-letters").json["items"]
    assert (item["draw_id"], item["record"]["number"], item["annul"]) == (draw_id, receipt["number"], None)
    return receipt | {"letter": item["id"]}


def test_two_administrators_annul_a_ticket(
    people: People, seller: Caller, refused: dict[str, Any], res: Resources
) -> None:
    url = f"/v1/dead-letters/{refused['letter']}"
    assert seller("GET /v1/me").json["wallet"]["available"] == 999_900, "the database has never booked it"
    asked = people.admin(f"POST {url}/annul", WHY)
    assert (asked.status_code, asked.json["status"]) == (202, "awaiting_confirmation")
    assert people.admin(f"POST {url}/annul", WHY).status_code == 202, "the same person is no second one"
    waits = people.operator(f"GET {url}").json["annul"]
    assert (waits["asked_by"], waits["reason"], waits["confirmed_by"]) == (people.admin.id, WHY["reason"], None)
    assert people.operator(f"POST {url}/annul", WHY).json["code"] == "forbidden"
    for _ in range(2):
        done = people.other_admin(f"POST {url}/annul", WHY)
        assert (done.status_code, done.json["status"]) == (200, "annulled")
    third = people.superadmin(f"POST {url}/annul", WHY)
    assert (third.status_code, third.json["code"]) == (409, "wrong_state")
    for verb, body in (("replay", None), ("discard", WHY)):
        answer = people.admin(f"POST {url}/{verb}", body)
        code = "ticket_not_discardable" if verb == "discard" else "wrong_state"
        assert (answer.status_code, answer.json["code"]) == (409, code)

    assert people.agent(f"GET /v1/tickets/{refused['number']}").json["status"] == "annulled"
    listed = people.agent("GET /v1/tickets?status=annulled").json["items"]
    assert [item["number"] for item in listed] == [refused["number"]]
    answer = people.agent(f"POST /v1/tickets/{refused['number']}/claim", {"code": refused["code"]})
    assert (answer.status_code, answer.json["code"]) == (409, "not_a_winner")
    assert seal(res, refused["draw_id"])
    assert seller(f"GET /v1/draws/{refused['draw_id']}/seal").json["annulled"] == 1
    proof = people.agent(f"GET /v1/verify/{refused['number']}?code={refused['code']}").json
    assert (proof["status"], proof["inclusion_proof"]["tree_size"]) == ("annulled", 2)
    with res.sessions() as session:
        assert check(session) == []
        rows = session.execute(select(AuditRow.actor, AuditRow.outcome).where(AuditRow.action == "dead_letters.change"))
        assert {("admin", "done"), ("other_admin", "done")} <= set(rows.all())


def test_another_reason_drops_both_requests(people: People, refused: dict[str, Any]) -> None:
    url = f"POST /v1/dead-letters/{refused['letter']}/annul"
    assert people.admin(url, WHY).status_code == 202
    differs = people.other_admin(url, {"reason": "something else"})
    assert (differs.status_code, differs.json["code"]) == (409, "contents_differ")
    assert people.other_admin(url, WHY).status_code == 202
    for body in ({}, {"reason": ""}, {"reason": "x", "more": 1}, {"reason": "a\u0000b"}, {"reason": 7}):
        assert people.admin(url, body).status_code == 422, body


def test_a_ticket_is_replayed_once_its_reason_is_gone_and_never_discarded(
    people: People, refused: dict[str, Any], res: Resources
) -> None:
    url = f"/v1/dead-letters/{refused['letter']}"
    discarded = people.admin(f"POST {url}/discard", WHY)
    assert (discarded.status_code, discarded.json["code"]) == (409, "ticket_not_discardable")
    still = people.admin(f"POST {url}/replay")
    assert (still.status_code, still.json["code"]) == (409, "wrong_state")
    assert "not_300" in still.json["detail"]
    owner = res.settings.owner_database_url
    assert owner is not None
    with psycopg.connect(owner.replace("+psycopg", "", 1)) as connection:
        connection.execute("ALTER TABLE ticket_lines DROP CONSTRAINT not_300")
    for _ in range(2):
        done = people.admin(f"POST {url}/replay")
        assert (done.status_code, done.json["status"], done.json["ended_by"]) == (200, "replayed", people.admin.id)
    assert people.agent(f"GET /v1/tickets/{refused['number']}").json["status"] == "accepted"
    assert seal(res, refused["draw_id"])


def test_tasks_are_listed_looked_at_replayed_and_discarded(people: People, res: Resources) -> None:
    ids = [letter(res, **TASK, arguments=[str(i)]) for i in range(3)]
    unread = letter(res, kind="message", queue="default", task=None, body=b"\xff\x00", error="no JSON")
    first = people.operator("GET /v1/dead-letters?limit=3").json
    assert [item["id"] for item in first["items"]] == [unread, ids[2], ids[1]]
    rest = people.operator(f"GET /v1/dead-letters?limit=3&cursor={first['next']}").json
    assert ([item["id"] for item in rest["items"]], rest["next"]) == ([ids[0]], None)
    body = people.operator(f"GET /v1/dead-letters/{unread}").json
    assert (body["kind"], body["body"], body["task"], body["draw_id"]) == ("message", "\\xff\x00", None, None)
    assert people.admin(f"GET /v1/dead-letters/{ids[0]}").json["traceback"] == "Traceback"

    replayed = people.admin(f"POST /v1/dead-letters/{ids[0]}/replay")
    assert (replayed.status_code, replayed.json["status"]) == (200, "replayed")
    discarded = people.admin(f"POST /v1/dead-letters/{ids[1]}/discard", {"reason": "an old draw"})
    assert (discarded.json["status"], discarded.json["reason"]) == ("discarded", "an old draw")
    annulled = people.admin(f"POST /v1/dead-letters/{ids[2]}/annul", WHY)
    assert (annulled.status_code, annulled.json["code"]) == (409, "wrong_state")
    assert people.admin(f"POST /v1/dead-letters/{unread}/replay").json["code"] == "wrong_state"

    def listed(query: str) -> list[int]:
        return [item["id"] for item in people.admin(f"GET /v1/dead-letters?{query}").json["items"]]

    assert listed("") == listed("status=waiting") == [unread, ids[2]]
    assert listed("status=all") == [unread, *reversed(ids)]
    assert (listed("status=replayed"), listed("status=discarded")) == ([ids[0]], [ids[1]])
    assert (listed("kind=message"), listed("draw_id=3D-20260105-1400")) == ([unread], [])


def test_what_is_not_there_and_what_is_no_query(people: People) -> None:
    for number in ("0", "7", str(2**63), "9" * 40):
        assert people.admin(f"GET /v1/dead-letters/{number}").json["code"] == "not_found", number
        for verb, body in (("replay", None), ("discard", WHY), ("annul", WHY)):
            answer = people.admin(f"POST /v1/dead-letters/{number}/{verb}", body)
            assert (answer.status_code, answer.json["code"]) == (404, "not_found"), (number, verb)
    for query in ("status=lost", "kind=ticket", "limit=0", "limit=501", "cursor=x", "cursor=", "draw_id=", "page=1"):
        answer = people.admin(f"GET /v1/dead-letters?{query}")
        assert (answer.status_code, answer.json["code"]) == (422, "invalid"), query
