"""A sale's own lane past the framework says what the framework's endpoint says, and takes only what is in order."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from api.served import served
from tests.api.conftest import Caller, People, sale

# What only the framework knows how to answer, so that the lane leaves it alone.
PAST_THE_LANE = {"Origin": "https://nobody.example"}
OWN_TO_EACH = {"X-Request-ID"}


def both(caller: Caller, body: Any, **options: Any) -> TestResponse:
    """The lane's answer, once it is seen to be the framework's as well."""
    taken = caller("POST /v1/tickets", body, **options)
    told = caller("POST /v1/tickets", body, PAST_THE_LANE, **options)
    assert (taken.status_code, taken.json) == (told.status_code, told.json)
    assert headers(taken) == headers(told)
    return taken


def headers(answer: TestResponse) -> list[tuple[str, str]]:
    return sorted((name, value) for name, value in answer.headers if name not in OWN_TO_EACH)


@pytest.fixture
def endpoint_calls(app: Flask) -> list[str]:
    """Which endpoints of the framework are called from now on."""
    called: list[str] = []
    view = app.view_functions["tickets.sell_ticket"]

    def counted(**path: Any) -> Any:
        called.append("sell_ticket")
        return view(**path)

    app.view_functions["tickets.sell_ticket"] = counted
    return called


def test_a_sale_in_order_never_comes_to_the_framework(seller: Caller, draw_id: str, endpoint_calls: list[str]) -> None:
    body = sale(draw_id, ("straight", "046", 1_000))
    assert [seller("POST /v1/tickets", body).status_code for _ in range(2)] == [201, 200]
    assert endpoint_calls == []
    assert seller("POST /v1/tickets", body, PAST_THE_LANE).status_code == 200
    assert endpoint_calls == ["sell_ticket"]


def test_repeats_and_refusals_are_answered_alike(
    seller: Caller, draw_id: str, without_gate: Callable[[], AbstractContextManager[None]]
) -> None:
    body = sale(draw_id, ("straight", "046", 90_000))
    assert seller("POST /v1/tickets", body).status_code == 201
    assert both(seller, body).status_code == 200
    assert both(seller, sale(draw_id, ("straight", "046", 20_000))).json["code"] == "sold_out"
    assert both(seller, body | {"lines": []}).json["code"] == "invalid"
    assert both(seller, sale(draw_id, ("straight", "047", 100), id=body["id"])).json["code"] == "id_conflict"
    assert both(seller, sale("3D-20991231-1400", ("straight", "046", 100))).json["code"] == "no_such_draw"
    with without_gate():
        away = both(seller, body)
    assert (away.status_code, away.headers["Retry-After"]) == (503, "1")


def test_what_is_not_plainly_in_order_is_answered_alike(people: People, seller: Caller, draw_id: str) -> None:
    body = sale(draw_id, ("straight", "046", 1_000))
    assert both(Caller(seller.app), body).json["code"] == "bad_token"
    assert both(people.coordinator, body).json["code"] == "forbidden"
    assert both(seller, None, data=b"{", content_type="application/json").json["code"] == "invalid"
    assert both(seller, None, data=b"{}", content_type="text/plain").json["code"] == "unsupported_media_type"
    assert both(seller, None, data=b" " * 70_000, content_type="application/json").json["code"] == "too_large"
    assert both(seller, None).json["code"] == "invalid"


def test_what_breaks_in_the_lane_is_sold_by_the_framework(
    seller: Caller, draw_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = served(seller.app).res.gate
    sell, broken = gate.sell, []

    def once(*arguments: Any) -> Any:
        answers = sell(*arguments)
        if not broken:
            broken.append(answers)
            raise RuntimeError("after the gate has sold it")
        return answers

    monkeypatch.setattr(gate, "sell", once)
    answer = seller("POST /v1/tickets", sale(draw_id, ("straight", "046", 1_000)))
    assert (answer.status_code, answer.json["serial"]) == (200, 1)
    assert broken
