"""Live sales and exposure: the house's at once, a branch's as far as it is stored, and nobody else's."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from actions.resources import Resources
from rules.errors import IntakeUnavailable
from runtime.fresh import TIMES_ITS_MAKING, Fresh
from tasks.persist import persist
from tests.api.conftest import Caller, People, load, sale

NOTHING = {"tickets": 0, "stake": 0, "voids": 0, "voided_stake": 0, "net": 0}


def figures(body: dict[str, int]) -> dict[str, int]:
    return {name: body[name] for name in NOTHING}


def sold(tickets: int, stake: int, voids: int = 0, voided: int = 0) -> dict[str, int]:
    return {"tickets": tickets, "stake": stake, "voids": voids, "voided_stake": voided, "net": stake - voided}


def test_the_house_is_counted_at_the_gate_and_a_branch_as_stored(
    res: Resources, people: People, seller: Caller, draw_id: str
) -> None:
    numbers = [seller("POST /v1/tickets", sale(draw_id, ("straight", "123", 1000))).json["number"] for _ in range(3)]
    assert seller(f"POST /v1/tickets/{numbers[0]}/void", {"reason": "slip"}).status_code == 200
    path = f"GET /v1/draws/{draw_id}/sales"
    for caller in (people.superadmin, people.operator):
        body = caller(path).json
        assert figures(body) == sold(3, 3000, 1, 1000)
        assert body["counted"] == "at the gate"
        assert body["journal"]["records"] == 3
    body = people.coordinator(path).json
    assert figures(body) == NOTHING
    assert body["counted"] == "as stored"
    assert body["journal"]["records"] == 3
    persist(res, draw_id)
    for caller in (people.superadmin, people.admin, people.coordinator):
        body = caller(path).json
        assert figures(body) == sold(3, 3000, 1, 1000)
        assert body["journal"] == {"records": 0, "seconds": 0.0}
    assert figures(people.other_admin(path).json) == NOTHING
    assert people.agent(path).status_code == 403


def test_a_day_by_draw_by_game_and_by_branch(
    res: Resources, people: People, hire: Callable[..., Caller], seller: Caller, draw_id: str
) -> None:
    second = hire(people.coordinator, "second", "agent")
    far = hire(people.other_admin, "far", "agent")
    for caller, count in ((seller, 2), (second, 3), (far, 1)):
        assert load(people.superadmin, caller.id, 100_000).status_code == 201 or caller is seller
        for _ in range(count):
            assert caller("POST /v1/tickets", sale(draw_id, ("straight", "777", 500))).status_code == 201
    persist(res, draw_id)
    day = "GET /v1/sales?date=2026-01-05"
    house = people.superadmin(day).json
    assert figures(house["total"]) == sold(6, 3000)
    assert [(one["game"], one["net"]) for one in house["games"]] == [("3D", 3000)]
    assert [(one["draw_id"], one["net"]) for one in house["draws"]] == [(draw_id, 3000)]
    assert {one["username"]: one["net"] for one in house["below"]} == {"admin": 2500, "other_admin": 500}
    below = people.coordinator(day).json
    assert {one["username"]: one["tickets"] for one in below["below"]} == {"agent": 2, "second": 3}
    assert figures(below["total"]) == sold(5, 2500)
    one = people.coordinator(f"{day}&user_id={second.id}").json
    assert figures(one["total"]) == sold(3, 1500)
    assert [branch["username"] for branch in one["below"]] == ["second"]
    assert people.coordinator(f"{day}&user_id={far.id}").status_code == 404
    assert figures(people.superadmin("GET /v1/sales?date=2026-01-05&game=2D").json["total"]) == NOTHING
    assert people.superadmin("GET /v1/sales?date=2026-13-05").status_code == 422


def test_an_operator_is_no_way_around_the_tree(
    res: Resources, people: People, hire: Callable[..., Caller], seller: Caller, draw_id: str
) -> None:
    spy = hire(people.other_admin, "spy", "operator")
    assert seller("POST /v1/tickets", sale(draw_id, ("straight", "123", 1000))).status_code == 201
    persist(res, draw_id)
    path = f"GET /v1/draws/{draw_id}/sales"
    assert figures(people.other_admin(f"{path}?user_id={spy.id}").json) == NOTHING
    assert figures(spy(path).json) == sold(1, 1000)


def test_exposure_shows_stakes_to_those_who_answer_for_the_house(
    res: Resources, people: People, seller: Caller, draw_id: str
) -> None:
    assert seller("POST /v1/tickets", sale(draw_id, ("straight", "123", 100_000))).status_code == 201
    assert seller("POST /v1/tickets", sale(draw_id, ("rambolito", "321", 2_000))).status_code == 201
    path = f"GET /v1/draws/{draw_id}/exposure"
    full = {"play": "straight", "number": "123", "left": 0}
    house = people.admin(path).json
    # ₱1,000 at 450 to 1, and ₱20 of the rambolito that covers it at 75 to 1.
    payout = 100_000 * 450 + 2_000 * 75
    assert house["items"] == [
        {**full, "stake": 100_000, "limit": 100_000, "payout": payout},
        {"play": "rambolito", "number": "123", "left": 148_000, "stake": 2_000, "limit": 150_000, "payout": payout},
    ]
    assert house["sold_out"] == [full]
    items = people.coordinator(path).json["items"]
    assert items[0] == full
    assert all(item.keys() == full.keys() for item in items)
    assert people.agent(path).status_code == 403
    assert people.admin("GET /v1/draws/3D-20260106-1400/exposure").status_code == 404


def test_without_the_gate_sales_are_the_stored_ones_and_exposure_is_not_told(
    res: Resources, people: People, seller: Caller, draw_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert seller("POST /v1/tickets", sale(draw_id, ("straight", "123", 1000))).status_code == 201
    persist(res, draw_id)

    def away(*_: object) -> None:
        raise IntakeUnavailable(retry_after=1)

    monkeypatch.setattr(type(res.gate), "counts", away)
    monkeypatch.setattr(type(res.gate), "exposures", away)
    body = people.superadmin(f"GET /v1/draws/{draw_id}/sales").json
    assert figures(body) == sold(1, 1000)
    assert (body["counted"], body["journal"]) == ("as stored", None)
    assert people.superadmin(f"GET /v1/draws/{draw_id}/exposure").status_code == 503


def test_what_was_slow_to_make_is_shared_for_a_while_and_no_longer() -> None:
    made: list[int] = []
    fresh = Fresh(60, 2)

    def make() -> int:
        made.append(1)
        time.sleep(0.05)
        return len(made)

    assert [fresh.get("a", make) for _ in range(3)] == [1, 1, 1]
    assert [fresh.get(key, make) for key in ("b", "c")] == [2, 3]
    assert fresh.get("a", make) == 4, "two are kept, and the oldest goes"
    time.sleep(0.05 * TIMES_ITS_MAKING * 2)
    assert fresh.get("a", make) == 5
