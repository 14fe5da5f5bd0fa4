"""Corrections, limits and games as administrators' scripts meet them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update

from actions.books import check
from actions.resources import Resources
from models.audit import AuditRow
from models.draws import Draw
from tasks.check_pool import check_draw
from tasks.persist import persist
from tasks.seal import seal
from tasks.settle import settle
from tests.api.conftest import Caller, People, sale

ENTRY = {"number": "046", "date": "2026-01-05", "time": "14:00"}
RIGHT = ENTRY | {"number": "064", "reason": "the ball was misread"}


@pytest.fixture
def settled(people: People, seller: Caller, draw_id: str, res: Resources) -> dict[str, Any]:
    """The receipt of a ticket on 046 and, for less, on 064, of a draw that is settled with 046."""
    receipt: dict[str, Any] = seller(
        "POST /v1/tickets", sale(draw_id, ("straight", "046", 1_000), ("straight", "064", 400))
    ).json
    assert people.admin(f"POST /v1/draws/{draw_id}/close").status_code == 202
    persist(res, draw_id)
    assert seal(res, draw_id)
    with res.sessions.begin() as session:
        past = func.now() - timedelta(seconds=1)
        session.execute(update(Draw).where(Draw.name == draw_id).values(cutoff_at=past, draws_at=past))
    assert people.admin(f"POST /v1/draws/{draw_id}/result", ENTRY).status_code == 202
    assert people.other_admin(f"POST /v1/draws/{draw_id}/result/confirm", ENTRY).status_code == 202
    assert settle(res, draw_id)
    assert check_draw(res, draw_id)
    return receipt


def test_a_correction_from_entry_to_the_list_of_what_was_paid_in_error(
    people: People, settled: dict[str, Any], draw_id: str, res: Resources
) -> None:
    claim, url = f"POST /v1/tickets/{settled['number']}/claim", f"/v1/draws/{draw_id}"
    assert people.agent(claim, {"code": settled["code"]}).json["prize"] == 450_000
    answer = people.admin(f"POST {url}/correction", RIGHT)
    assert (answer.status_code, answer.json["status"]) == (202, "awaiting_confirmation")
    same = people.admin(f"POST {url}/correction/confirm", RIGHT)
    assert (same.status_code, same.json["code"]) == (403, "same_person")
    done = people.other_admin(f"POST {url}/correction/confirm", RIGHT)
    assert (done.status_code, done.json["version"], done.json["result"]) == (202, 2, "064")
    assert people.superadmin(f"GET {url}/paid-in-error").json["code"] == "not_settled"
    body = people.admin(f"GET {url}/settlement").json
    assert (body["status"], body["version"]) == ("settling", 2)
    assert [step["name"] for step in body["steps"]] == ["winners", "prizes", "commissions", "report"]
    assert settle(res, draw_id)
    assert people.agent(f"GET {url}").json["result"] == "064"
    answer = people.superadmin(f"GET {url}/paid-in-error")
    item = {"number": settled["number"], "agent_id": people.agent.id}
    assert answer.json == {"items": [item | {"paid": 450_000, "prize": 180_000, "excess": 270_000}], "next": None}
    with res.sessions() as session:
        assert check(session) == []
        actions = session.execute(select(AuditRow.actor, AuditRow.outcome).where(AuditRow.action == "correction")).all()
    assert ("admin", "done") in actions
    assert ("other_admin", "done") in actions


def test_bad_corrections_are_refused(people: People, settled: dict[str, Any], draw_id: str) -> None:
    url = f"POST /v1/draws/{draw_id}/correction"
    changes: list[tuple[dict[str, Any], int, str]] = [
        ({"number": "046"}, 422, "invalid"),
        ({"number": "46"}, 422, "invalid"),
        ({"date": "2026-01-06"}, 422, "other_draw"),
        ({"reason": ""}, 422, "invalid"),
        ({"colour": "red"}, 422, "invalid"),
    ]
    for change, status, code in changes:
        answer = people.admin(url, RIGHT | change)
        assert (answer.status_code, answer.json["code"]) == (status, code), change
    for path in RIGHT:
        answer = people.admin(url, {name: value for name, value in RIGHT.items() if name != path})
        assert [error["path"] for error in answer.json["errors"]] == [path]
    people.admin(url, RIGHT)
    differs = people.other_admin(f"{url}/confirm", RIGHT | {"number": "640"})
    assert (differs.status_code, differs.json["code"]) == (409, "numbers_differ")
    assert people.other_admin(f"{url}/confirm", RIGHT).json["code"] == "wrong_state"
    for caller in (people.coordinator, people.agent, people.operator):
        assert caller(url, RIGHT).json["code"] == "forbidden"
        assert caller(f"{url}/confirm", RIGHT).json["code"] == "forbidden"
    for caller in (people.admin, people.coordinator, people.operator):
        assert caller(f"GET /v1/draws/{draw_id}/paid-in-error").json["code"] == "forbidden"


def test_a_correction_waits_for_the_seal(people: People, draw_id: str) -> None:
    for call in ("correction", "correction/confirm"):
        answer = people.admin(f"POST /v1/draws/{draw_id}/{call}", RIGHT)
        assert (answer.status_code, answer.json["code"]) == (409, "not_sealed")


# ── limits ──────────────────────────────────────────────────────────────────────────────────────────


def test_limits_of_an_open_draw_change_at_once(people: People, seller: Caller, draw_id: str) -> None:
    own = {"play": "rambolito", "number": "640", "max": 500}
    body = {"limits": [{"play": "straight", "max": 200}, own], "payout_limit": 10_000_000}
    answer = people.admin(f"PUT /v1/draws/{draw_id}/limits", body)
    assert answer.status_code == 200, answer.text
    assert answer.json["limits"] == [
        {"play": "straight", "max": 200},
        {"play": "rambolito", "max": 150_000},
        {"play": "rambolito", "number": "046", "max": 500},
    ]
    assert answer.json["payout_limit"] == 10_000_000
    assert seller(f"GET /v1/draws/{draw_id}").json["limits"] == answer.json["limits"]
    refused = seller("POST /v1/tickets", sale(draw_id, ("straight", "046", 300), ("rambolito", "460", 600)))
    assert (refused.status_code, refused.json["code"]) == (409, "sold_out")
    assert [line["left"] for line in refused.json["lines"]] == [200, 500]
    assert seller("POST /v1/tickets", sale(draw_id, ("straight", "046", 200))).status_code == 201
    assert people.admin(f"PUT /v1/draws/{draw_id}/limits", {"limits": []}).json["limits"][2:] == []


def test_bad_limits_are_refused_by_field(people: People, draw_id: str) -> None:
    url = f"PUT /v1/draws/{draw_id}/limits"
    bad: list[tuple[Any, str]] = [
        ({}, "limits"),
        ({"limits": [{"play": "straight"}]}, "limits.0.max"),
        ({"limits": [{"play": "chess", "max": 1}]}, "limits.0.play"),
        ({"limits": [{"play": "straight", "max": -1}]}, "limits.0.max"),
        ({"limits": [{"play": "straight", "max": 1, "number": "08-20"}]}, "limits.0.number"),
        ({"limits": [{"play": "straight", "max": 1}] * 2}, "limits"),
        ({"limits": [], "payout_limit": "1"}, "payout_limit"),
    ]
    for body, path in bad:
        answer = people.admin(url, body)
        assert (answer.status_code, answer.json["errors"][0]["path"]) == (422, path), body
    for caller in (people.coordinator, people.agent, people.operator):
        assert caller(url, {"limits": []}).json["code"] == "forbidden"
    assert people.admin("PUT /v1/draws/3D-20300101-1400/limits", {"limits": []}).json["code"] == "no_such_draw"
    people.admin(f"POST /v1/draws/{draw_id}/close")
    late = people.admin(url, {"limits": [{"play": "straight", "max": 100}]})
    assert (late.status_code, late.json["code"]) == (409, "cutoff_passed")


def test_a_draw_is_made_with_limits_of_numbers(people: People) -> None:
    limits = [{"play": "straight", "max": 700}, {"play": "straight", "number": "046", "max": 100}]
    body = {"game": "3D", "date": "2026-01-07", "time": "14:00", "limits": limits}
    answer = people.admin("POST /v1/draws", body)
    assert answer.status_code == 201, answer.text
    assert [item for item in answer.json["limits"] if item["play"] == "straight"] == limits
    body |= {"time": "17:00", "limits": [{"play": "rambolito", "number": "111", "max": 1}]}
    assert people.admin("POST /v1/draws", body).json["errors"][0]["path"] == "limits.0.number"


# ── games ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_game_read_can_be_put_back_changed_by_two_persons(people: People) -> None:
    game = people.operator("GET /v1/games/3D").json
    assert game["prize_table"] == {"straight": 450, "rambolito_pair": 150, "rambolito_distinct": 75}
    assert game["schedule"] == ["14:00", "17:00", "21:00"]
    wanted = {name: value for name, value in game.items() if name not in ("game", "changed_at")}
    wanted["prize_table"] = game["prize_table"] | {"straight": 500}
    wanted["cancelled_dates"] = [{"date": "2026-12-25", "reason": "Christmas"}]
    wanted["limits_by_number"] = [{"play": "straight", "number": "046", "max": 100}]
    first = people.superadmin("PUT /v1/games/3D", wanted)
    assert (first.status_code, first.json) == (202, {"status": "awaiting_confirmation", "game": "3D"})
    second = people.admin("PUT /v1/games/3D", wanted)
    assert second.status_code == 200, second.text
    assert {name: second.json[name] for name in wanted} == wanted
    assert people.superadmin("GET /v1/games/3D").json == second.json
    assert people.superadmin("PUT /v1/games/3D", wanted).status_code == 200
    other = wanted | {"payout_limit": 1}
    assert people.superadmin("PUT /v1/games/3D", other).status_code == 202
    differs = people.admin("PUT /v1/games/3D", other | {"payout_limit": 2})
    assert (differs.status_code, differs.json["code"]) == (409, "contents_differ")


def test_games_are_not_changed_by_others_or_by_nonsense(people: People) -> None:
    assert people.admin("PUT /v1/games/3D", {"payout_limit": 1}).json["code"] == "forbidden"
    for caller in (people.coordinator, people.agent, people.operator):
        assert caller("PUT /v1/games/3D", {"payout_limit": 1}).json["code"] == "forbidden"
    for caller in (people.coordinator, people.agent):
        assert caller("GET /v1/games/3D").json["code"] == "forbidden"
    for call in ("GET /v1/games/4D", "GET /v1/games/%00", "PUT /v1/games/4D", "PUT /v1/games/%00"):
        body = {"payout_limit": 1} if call.startswith("PUT") else None
        answer = people.superadmin(call, body)
        assert (answer.status_code, answer.json["code"]) == (404, "not_found"), call
    bad: list[tuple[Any, str]] = [
        ({"prize_table": {"straight": 1.5}}, "prize_table.straight.value"),
        ({"prize_table": {"straight": 450}}, "prize_table.rambolito_distinct"),
        ({"schedule": ["25:00"]}, "schedule.0"),
        ({"schedule": ["14:00", "21:00", "14:00"]}, "schedule"),
        ({"cancelled_dates": [{"date": "2026-12-25"}]}, "cancelled_dates.0.reason"),
        ({"limits_by_number": [{"play": "straight", "max": 1}]}, "limits_by_number"),
        ({"times": []}, "times"),
        ({}, ""),
    ]
    for body, path in bad:
        answer = people.superadmin("PUT /v1/games/3D", body)
        assert (answer.status_code, answer.json["errors"][0]["path"]) == (422, path), (body, answer.text)


# ── the audit log ───────────────────────────────────────────────────────────────────────────────────


def test_whatever_people_do_to_a_draw_is_on_record(people: People, draw_id: str, res: Resources) -> None:
    now, url = datetime.now(UTC), f"/v1/draws/{draw_id}"
    times = {"cutoff_at": now + timedelta(hours=3), "draws_at": now + timedelta(hours=4)}
    moved = {name: at.isoformat() for name, at in times.items()}
    assert people.admin(f"PATCH {url}", moved | {"reason": "storm"}).status_code == 200
    assert people.other_admin(f"PUT {url}/limits", {"limits": [{"play": "straight", "max": 500}]}).status_code == 200
    assert people.admin(f"POST {url}/close").status_code == 202
    assert people.admin(f"POST {url}/void", {"reason": "typhoon"}).status_code == 202
    assert people.other_admin(f"POST {url}/void/confirm").status_code == 202
    with res.sessions() as session:
        rows = session.scalars(select(AuditRow).where(AuditRow.object == f"draw:{draw_id}").order_by(AuditRow.id)).all()
    assert [(row.actor, row.role, row.action, row.outcome) for row in rows] == [
        ("admin", "admin", "draw.create", "done"),
        ("admin", "admin", "draw.move_cutoff", "done"),  # asked, then taken by the gate
        ("admin", "admin", "draw.move_cutoff", "done"),
        ("other_admin", "admin", "draw.limits", "done"),
        ("other_admin", "admin", "draw.limits", "done"),
        ("admin", "admin", "draw.close", "done"),
        ("admin", "admin", "draw.void", "done"),
        ("other_admin", "admin", "draw.void", "done"),
    ]
    assert rows[4].before is not None
    assert rows[4].after is not None
    assert (rows[4].before["limits"]["stake_straight"], rows[4].after["limits"]["stake_straight"]) == (100_000, 500)
    assert rows[6].after == {"reason": "typhoon"}
