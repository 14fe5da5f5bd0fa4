"""Draws: made, read with an ETag, moved, closed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.api.conftest import Caller, People, sale

BODY = {"game": "3D", "date": "2026-01-06", "time": "14:00"}


def test_a_draw_can_be_made_with_nothing_but_its_name(people: People) -> None:
    far = datetime.now(UTC).date() + timedelta(days=30)
    answer = people.admin("POST /v1/draws", BODY | {"date": far.isoformat()})
    assert answer.status_code == 201
    draw = answer.json
    assert draw["id"] == f"3D-{far:%Y%m%d}-1400"
    assert draw["status"] == "scheduled"
    assert datetime.fromisoformat(draw["draws_at"]).astimezone(UTC).hour == 6
    again = people.admin("POST /v1/draws", BODY | {"date": far.isoformat()})
    assert (again.status_code, again.json["code"]) == (409, "draw_exists")


def test_limits_are_given_as_they_are_shown(people: People) -> None:
    limits = [{"play": "rambolito", "max": 700_00}, {"play": "straight", "max": 500_00}]
    answer = people.admin("POST /v1/draws", BODY | {"limits": limits, "payout_limit": 1_000_000})
    assert answer.status_code == 201, answer.text
    assert sorted(answer.json["limits"], key=str) == sorted(limits, key=str)
    assert answer.json["payout_limit"] == 1_000_000


def test_a_bad_draw_is_refused_by_field(people: People) -> None:
    now = datetime.now(UTC)
    bad: list[tuple[str, Any]] = [
        ("game", "4D"),
        ("game", None),
        ("date", "2026-02-30"),
        ("date", "20260106"),
        ("date", "1999-01-01"),
        ("date", "٢٠٢٦-01-06"),
        ("time", "25:00"),
        ("time", "14:00:00"),
        ("time", "1400"),
        ("time", 14),
        ("opens_at", "2026-01-05T21:00:00"),
        ("opens_at", "yesterday"),
        ("opens_at", "0001-01-01T00:00:00+14:00"),
        ("draws_at", "9999-12-31T23:59:59-14:00"),
        ("cutoff_at", now.timestamp()),
        ("limits", {"straight": 1}),
        ("limits", [{"play": "straight", "max": 100}] * 2),
        ("payout_limit", -1),
        ("colour", "red"),
    ]
    for path, value in bad:
        answer = people.admin("POST /v1/draws", BODY | {path: value})
        assert (answer.status_code, answer.json["code"]) == (422, "invalid"), (path, value, answer.text)
        assert answer.json["errors"][0]["path"] == path
    order = {"opens_at": "2026-01-06T06:00:00Z", "cutoff_at": "2026-01-06T05:00:00Z"}
    assert people.admin("POST /v1/draws", BODY | order).status_code == 422


def test_an_etag_covers_all_but_now(people: People, seller: Caller, draw_id: str) -> None:
    for call in (f"GET /v1/draws/{draw_id}", "GET /v1/draws", "GET /v1/draws?status=open&game=3D"):
        first = seller(call)
        tag = first.headers["ETag"]
        again = seller(call, headers={"If-None-Match": tag})
        assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", tag)
        assert seller(call, headers={"If-None-Match": '"other"'}).status_code == 200
    tag = seller(f"GET /v1/draws/{draw_id}").headers["ETag"]
    full = sale(draw_id, ("straight", "046", 100_000))
    assert seller("POST /v1/tickets", full).status_code == 201
    changed = seller(f"GET /v1/draws/{draw_id}", headers={"If-None-Match": tag})
    assert changed.status_code == 200
    assert {"play": "straight", "number": "046", "left": 0} in changed.json["sold_out"]


def test_a_list_shows_the_time_and_takes_its_filters(people: People, draw_id: str) -> None:
    page = people.agent("GET /v1/draws?status=open&game=3D&date=2026-01-05").json
    assert [draw["id"] for draw in page["items"]] == [draw_id]
    assert datetime.fromisoformat(page["items"][0]["now"]) <= datetime.now(UTC)
    assert people.agent("GET /v1/draws?game=2D").json == {"items": [], "next": None}
    for query in ("status=ajar", "status=", "date=x", "date=", "game=5D", "limit=0", "colour=red", "cursor=x"):
        answer = people.agent(f"GET /v1/draws?{query}")
        assert (answer.status_code, answer.json["errors"][0]["path"]) == (422, query.partition("=")[0])


def test_a_draw_that_cannot_be_is_not_found(people: People) -> None:
    for draw_id in ("3D-20991231-1400", "3D-20261301-1400", "nope", "%00", "3D-20260105-1400%0A", "é"):
        for call in ("GET /v1/draws/{}", "GET /v1/draws/{}/seal", "POST /v1/draws/{}/close"):
            answer = people.admin(call.format(draw_id))
            assert (answer.status_code, answer.json["code"]) == (404, "no_such_draw"), (call, draw_id)


def test_a_cutoff_can_be_moved_until_it_comes(people: People, seller: Caller, draw_id: str) -> None:
    now = datetime.now(UTC)
    body = {
        "cutoff_at": (now + timedelta(hours=3)).isoformat(),
        "draws_at": (now + timedelta(hours=4)).isoformat(),
        "reason": "storm",
    }
    answer = people.admin(f"PATCH /v1/draws/{draw_id}", body)
    assert answer.status_code == 200, answer.text
    assert datetime.fromisoformat(answer.json["cutoff_at"]) == now + timedelta(hours=3)
    past = body | {"cutoff_at": (now - timedelta(minutes=1)).isoformat()}
    assert people.admin(f"PATCH /v1/draws/{draw_id}", past).json["code"] == "cutoff_passed"
    for path in body:
        left = {name: value for name, value in body.items() if name != path}
        answer = people.admin(f"PATCH /v1/draws/{draw_id}", left)
        assert [error["path"] for error in answer.json["errors"]] == [path]


def test_a_closed_draw_sells_nothing_more(people: People, seller: Caller, draw_id: str) -> None:
    sold = sale(draw_id, ("straight", "046", 100))
    first = seller("POST /v1/tickets", sold)
    assert people.admin(f"POST /v1/draws/{draw_id}/close").status_code == 202
    refused = seller("POST /v1/tickets", sale(draw_id, ("straight", "046", 100)))
    assert (refused.status_code, refused.json["code"]) == (409, "draw_not_open")
    again = seller("POST /v1/tickets", sold)
    assert (again.status_code, again.json) == (200, first.json)


def test_calls_without_a_body_take_none_or_an_empty_object(people: People, draw_id: str) -> None:
    call = f"POST /v1/draws/{draw_id}/close"
    answer = people.admin(call, {"reason": "why not"})
    assert (answer.status_code, answer.json["code"]) == (422, "invalid")
    assert people.admin(call, {}).status_code == 202


def test_voiding_takes_two_persons(people: People, draw_id: str) -> None:
    ask, confirm = f"POST /v1/draws/{draw_id}/void", f"POST /v1/draws/{draw_id}/void/confirm"
    assert people.admin(confirm).json["code"] == "wrong_state"
    answer = people.admin(ask, {"reason": "typhoon"})
    assert (answer.status_code, answer.json["status"]) == (202, "awaiting_confirmation")
    same = people.admin(confirm)
    assert (same.status_code, same.json["code"]) == (403, "same_person")
    assert people.other_admin(confirm).status_code == 202
    assert people.agent(f"GET /v1/draws/{draw_id}").json["status"] == "voiding"


def test_a_result_waits_for_the_seal(people: People, draw_id: str) -> None:
    body = {"number": "046", "date": "2026-01-05", "time": "14:00"}
    for call in ("result", "result/confirm"):
        answer = people.admin(f"POST /v1/draws/{draw_id}/{call}", body)
        assert (answer.status_code, answer.json["code"]) == (409, "not_sealed")
    for path in body:
        answer = people.admin(f"POST /v1/draws/{draw_id}/result", body | {path: 7})
        assert [error["path"] for error in answer.json["errors"]] == [path]
    for call in ("GET {}/seal", "GET {}/settlement", "POST {}/settle"):
        answer = people.admin(call.format(f"/v1/draws/{draw_id}"))
        assert (answer.status_code, answer.json["code"]) == (409, "not_sealed"), call
    late = people.superadmin(f"POST /v1/draws/{draw_id}/seal", {"reason": "late"})
    assert (late.status_code, late.json["code"]) == (409, "wrong_state")
    assert people.superadmin(f"POST /v1/draws/{draw_id}/seal/confirm").json["code"] == "wrong_state"


def test_a_seal_is_for_anyone_but_not_for_a_bad_token(people: People, nobody: Caller, draw_id: str) -> None:
    assert nobody(f"GET /v1/draws/{draw_id}/seal").json["code"] == "not_sealed"
    answer = nobody(f"GET /v1/draws/{draw_id}/seal", headers={"Authorization": "Bearer x"})
    assert answer.json["code"] == "bad_token"
