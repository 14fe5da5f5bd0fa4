"""Tickets from end to end through HTTP: sold, repeated, refused, read, voided, cancelled, verified."""

from __future__ import annotations

import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from actions.resources import Resources
from rules.tickets import parse_number
from tests.api.conftest import Caller, People, sale

RECEIPT = {
    *("number", "draw_id", "serial", "id", "code", "agent_id", "lines", "stake", "accepted_at", "status", "qr"),
    "available",
}


def test_a_sale_gives_a_receipt_and_its_repeat_the_same(seller: Caller, draw_id: str) -> None:
    body = sale(draw_id, ("straight", "046", 1_000), ("rambolito", "123", 500))
    first = seller("POST /v1/tickets", body)
    assert first.status_code == 201
    assert first.json.keys() == RECEIPT
    assert parse_number(first.json["number"]) == (draw_id, 1)
    assert (first.json["stake"], first.json["available"]) == (1_500, 998_500)
    assert first.json["lines"] == body["lines"]
    again = seller("POST /v1/tickets", body | {"id": body["id"].upper()})
    assert (again.status_code, again.json) == (200, first.json)


def test_an_id_names_one_ticket(people: People, seller: Caller, draw_id: str) -> None:
    body = sale(draw_id, ("straight", "046", 1_000))
    seller("POST /v1/tickets", body)
    other = seller("POST /v1/tickets", sale(draw_id, ("straight", "047", 1_000), id=body["id"]))
    assert (other.status_code, other.json["code"]) == (409, "id_conflict")


def test_eight_at_once_with_one_id_sell_one_ticket(seller: Caller, draw_id: str) -> None:
    body = sale(draw_id, ("straight", "046", 1_000))
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: seller("POST /v1/tickets", body), range(8)))
    assert Counter(answer.status_code for answer in answers) == {201: 1, 200: 7}
    assert len({answer.data for answer in answers}) == 1


def test_refusals_say_what_is_left(people: People, seller: Caller, draw_id: str) -> None:
    seller("POST /v1/tickets", sale(draw_id, ("straight", "046", 90_000)))
    full = seller("POST /v1/tickets", sale(draw_id, ("straight", "046", 10_100)))
    assert (full.status_code, full.json["code"]) == (409, "sold_out")
    assert full.json["lines"] == [{"play": "straight", "number": "046", "left": 10_000}]
    dear = seller("POST /v1/tickets", sale(draw_id, *[("straight", f"{n:03}", 100_000) for n in range(100, 110)]))
    assert (dear.status_code, dear.json["code"], dear.json["available"]) == (409, "insufficient_credit", 910_000)
    nowhere = seller("POST /v1/tickets", sale("3D-20991231-1400", ("straight", "046", 100)))
    assert (nowhere.status_code, nowhere.json["code"]) == (404, "no_such_draw")


def test_a_draw_past_its_cutoff_sells_nothing(people: People, seller: Caller) -> None:
    now = datetime.now(UTC)
    times = {
        "opens_at": (now - timedelta(hours=2)).isoformat(),
        "cutoff_at": (now - timedelta(hours=1)).isoformat(),
        "draws_at": (now + timedelta(hours=1)).isoformat(),
    }
    made = people.admin("POST /v1/draws", {"game": "3D", "date": "2026-01-07", "time": "14:00", **times})
    assert made.json["status"] == "closed"
    answer = seller("POST /v1/tickets", sale(made.json["id"], ("straight", "046", 100)))
    assert (answer.status_code, answer.json["code"]) == (409, "cutoff_passed")


def test_each_ticket_of_a_batch_is_answered_as_if_sent_alone(seller: Caller, draw_id: str) -> None:
    known = sale(draw_id, ("straight", "046", 1_000))
    seller("POST /v1/tickets", known)
    new = sale(draw_id, ("straight", "047", 1_000))
    items = [
        known,
        new,
        {"id": "bad"},
        sale("3D-20991231-1400", ("straight", "046", 100)),
        new,
        sale(draw_id, ("straight", "111", 100_100)),
        "no ticket",
        known | {"lines": new["lines"]},
    ]
    results = seller("POST /v1/tickets/batch", {"tickets": items}).json["results"]
    assert [result["status"] for result in results] == [200, 201, 422, 404, 200, 409, 422, 409]
    assert [result["id"] for result in results[:2]] == [known["id"], new["id"]]
    assert results[1]["receipt"] == results[4]["receipt"]
    codes = [result["error"]["code"] for result in results if "error" in result]
    assert codes == ["invalid", "no_such_draw", "sold_out", "invalid", "id_conflict"]
    for item, result in zip(items, results, strict=True):
        alone = seller("POST /v1/tickets", item)
        if "error" in result:
            assert (alone.status_code, alone.json) == (result["status"], result["error"])
        else:
            assert (alone.status_code, alone.json) == (200, result["receipt"])


def test_a_full_batch_is_sold_in_order(seller: Caller, draw_id: str) -> None:
    items = [sale(draw_id, ("straight", f"{number:03}", 100)) for number in range(500)]
    results = seller("POST /v1/tickets/batch", {"tickets": items}).json["results"]
    assert [result["id"] for result in results] == [item["id"] for item in items]
    assert [result["receipt"]["serial"] for result in results] == list(range(1, 501))


def test_a_ticket_is_read_at_once_by_id_and_by_number(people: People, seller: Caller, draw_id: str) -> None:
    body = sale(draw_id, ("straight", "046", 1_000))
    receipt = seller("POST /v1/tickets", body).json
    assert seller(f"GET /v1/tickets/by-id/{body['id']}?draw_id={draw_id}").json == receipt
    assert seller(f"GET /v1/tickets/{receipt['number'].lower()}").json == receipt
    above = people.coordinator(f"GET /v1/tickets/{receipt['number']}").json
    assert above == {name: value for name, value in receipt.items() if name not in ("code", "qr")}
    assert people.other_admin(f"GET /v1/tickets/{receipt['number']}").status_code == 404
    for unknown in (uuid.uuid4(), "x", "%00"):
        assert seller(f"GET /v1/tickets/by-id/{unknown}?draw_id={draw_id}").status_code == 404
    assert seller(f"GET /v1/tickets/by-id/{body['id']}").json["errors"][0]["path"] == "draw_id"


def test_a_void_gives_the_stake_back_once(seller: Caller, draw_id: str) -> None:
    receipt = seller("POST /v1/tickets", sale(draw_id, ("straight", "046", 1_000))).json
    call = f"POST /v1/tickets/{receipt['number']}/void"
    assert seller(call, {}).json["errors"][0]["path"] == "reason"
    assert seller(call, {"reason": "nul\u0000"}).status_code == 422
    voided = seller(call, {"reason": "wrong | number,\nsorry"})
    assert (voided.status_code, voided.json["status"]) == (200, "voided")
    again = seller(call, {"reason": "again"})
    assert (again.status_code, again.json["code"]) == (409, "already_voided")
    next_one = seller("POST /v1/tickets", sale(draw_id, ("straight", "046", 1_000)))
    assert next_one.json["available"] == receipt["available"]
    assert seller("POST /v1/tickets/nothing/void", {"reason": "x"}).status_code == 404


def test_a_cancel_kills_an_id_sold_or_not(seller: Caller, draw_id: str) -> None:
    body = sale(draw_id, ("straight", "046", 1_000))
    seller("POST /v1/tickets", body)
    for ticket_id, status in ((body["id"], "voided"), (str(uuid.uuid4()), "never_sold")):
        for _ in range(2):
            answer = seller(f"POST /v1/tickets/by-id/{ticket_id}/cancel", {"draw_id": draw_id})
            assert (answer.status_code, answer.json) == (200, {"status": status})
        dead = seller("POST /v1/tickets", body | {"id": ticket_id})
        assert (dead.status_code, dead.json["code"]) == (409, "id_cancelled")
    bad = seller("POST /v1/tickets/by-id/x/cancel", {"draw_id": draw_id})
    assert (bad.status_code, bad.json["errors"][0]["path"]) == (422, "id")


def test_whoever_holds_the_code_can_verify(nobody: Caller, seller: Caller, draw_id: str) -> None:
    receipt = seller("POST /v1/tickets", sale(draw_id, ("straight", "046", 1_000))).json
    number, code = receipt["number"], receipt["code"]
    by_query = nobody(f"GET /v1/verify/{number}?code={code.lower()}")
    assert by_query.json["valid"] is True
    assert by_query.json["stake"] == 1_000
    assert nobody(f"GET /v1/verify/{number}", headers={"X-Ticket-Code": code}).json == by_query.json
    for wrong in ("0" * 16, "x", "é", "%00"):
        assert nobody(f"GET /v1/verify/{number}?code={wrong}").json == {"valid": False}
    for other in ("303EMB8-0000H-B", "nothing", "%00"):
        assert nobody(f"GET /v1/verify/{other}?code={code}").json == {"valid": False}
    assert nobody(f"GET /v1/verify/{number}").json["errors"][0]["path"] == "code"


def test_lists_take_their_filters_and_refuse_bad_ones(people: People, res: Resources, draw_id: str) -> None:
    good = (
        f"draw_id={draw_id}&status=accepted&agent_id={people.agent.id}&played=046&stake=1000"
        "&from=2026-01-01T00:00:00Z&to=2027-01-01T00:00:00%2B08:00&limit=500"
    )
    for caller in (people.agent, people.coordinator, people.operator, people.superadmin):
        assert caller(f"GET /v1/tickets?{good}").json == {"items": [], "next": None}
    for query, status in (
        ("draw_id=3D-20991231-1400", 404),
        ("draw_id=nope", 404),
        (f"agent_id={people.admin.id}", 404),
        (f"agent_id={2**64}", 404),
        ("status=eaten", 422),
        ("agent_id=x", 422),
        ("from=yesterday", 422),
        ("to=2026-01-01", 422),
        ("played=%00", 422),
        ("cursor=x", 422),
        ("cursor=1e999_1_1", 422),
        ("cursor=1_99999999999_99999999999999999999", 422),
        ("cursor=nan_1_1", 422),
        ("cursor=1764000000.000000_1_0_1", 422),
        ("cursor=1764000000.000000_%D9%A1_1", 422),
        ("cursor=1764000000.000000_1_1", 200),
        ("colour=red", 422),
    ):
        answer = people.coordinator(f"GET /v1/tickets?{query}")
        assert answer.status_code == status, (query, answer.text)
    assert people.coordinator(f"GET /v1/tickets?stake={2**64}").json["items"] == []
