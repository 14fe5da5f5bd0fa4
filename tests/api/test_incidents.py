"""Incidents that lotteries had, told in the docstrings and tried through HTTP (docs/incidents.md lists them)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy import func, select, update

from actions import claims
from actions.books import check
from actions.resources import Resources
from actions.statements import summary
from actions.stored_tickets import claim_until
from models.draws import Draw
from models.tickets import Ticket
from rules.errors import ClaimExpired
from rules.tickets import parse_number
from runtime.clock import FixedClock
from tasks.close_draws import close_draws
from tasks.open_draws import open_draws
from tasks.persist import persist
from tasks.schedule import schedule_draws
from tasks.seal import seal
from tasks.settle import settle
from tests.api.conftest import Caller, People, load, sale
from tests.api.logging_in import holder, log_in, refresh
from tests.api.test_statements import book, figures
from tests.conftest import Database

REBUILD_WAIT_S = 60


def make_draw(people: People, time_: str, *, opens_s: float = -60, cutoff_s: float = 3600, **more: Any) -> str:
    """A 3D draw of one date; its opening and its cutoff so many seconds from now."""
    now = datetime.now(UTC)
    times = {"opens_at": opens_s, "cutoff_at": cutoff_s, "draws_at": cutoff_s + 3600}
    body = {"game": "3D", "date": "2026-01-06", "time": time_}
    body |= {name: (now + timedelta(seconds=seconds)).isoformat() for name, seconds in times.items()}
    answer = people.admin("POST /v1/draws", body | more)
    assert answer.status_code == 201, answer.text
    return str(answer.json["id"])


def refused(caller: Caller, body: dict[str, Any]) -> str:
    """The code with which a sale is refused, alone and in a batch alike."""
    alone = caller("POST /v1/tickets", body)
    (batched,) = caller("POST /v1/tickets/batch", {"tickets": [body]}).json["results"]
    assert (batched["status"], batched["error"]) == (alone.status_code, alone.json)
    return str(alone.json["code"])


def available(caller: Caller) -> int:
    return int(caller("GET /v1/me").json["wallet"]["available"])


def drawn(people: People, res: Resources, *names: str) -> None:
    """Closes and seals the draws, and lets the time of their drawing come."""
    for name in names:
        assert people.admin(f"POST /v1/draws/{name}/close").status_code == 202
        persist(res, name)
        assert seal(res, name)
    with res.sessions.begin() as session:
        past = func.now() - timedelta(seconds=1)
        session.execute(update(Draw).where(Draw.name.in_(names)).values(cutoff_at=past, draws_at=past))


def test_sold_to_a_draw_that_does_not_exist(seller: Caller, draw_id: str, res: Resources) -> None:
    """Terminals sold tickets for a draw that was in nobody's schedule; their holders could not win anything."""
    before = available(seller)
    ghosts = ("3D-20260105-1401", "2D-20260105-1400", "3D-20991231-1400", "3D-20260230-1400")
    bodies = [sale(ghost, ("straight", "08-20" if ghost[:2] == "2D" else "046", 1_000)) for ghost in ghosts]
    assert {refused(seller, body) for body in bodies} == {"no_such_draw"}
    assert refused(seller, sale("4D-20260105-1400", ("straight", "046", 1_000))) == "invalid"
    assert available(seller) == before
    assert not [key for ghost in ghosts for key in res.gate._client.keys(f"*{ghost}*")]
    # Nothing of it is remembered: the same ticket is sold to a draw that there is.
    assert seller("POST /v1/tickets", bodies[0] | {"draw_id": draw_id}).status_code == 201


def test_sold_outside_the_opened_range(people: People, seller: Caller, draw_id: str, res: Resources) -> None:
    """Tickets were sold before a draw had opened and after it had closed, and on numbers that it could not draw."""
    early = make_draw(people, "17:00", opens_s=1800)
    bet = ("straight", "046", 1_000)
    assert refused(seller, sale(early, bet)) == "draw_not_open"
    soon = make_draw(people, "21:00", cutoff_s=1.5)
    receipt = seller("POST /v1/tickets", sale(soon, bet)).json
    late = sale(soon, bet)
    while datetime.now(UTC) < datetime.fromisoformat(people.admin(f"GET /v1/draws/{soon}").json["cutoff_at"]):
        time.sleep(0.05)
    assert refused(seller, late) == "cutoff_passed"
    for play, number in (
        *(("straight", number) for number in ("46", "0046", "1000", "-46", "08-20", "04６", "046\n")),
        *(("rambolito", "111"), ("mixed", "046")),
    ):
        assert refused(seller, sale(draw_id, (play, number, 1_000))) == "invalid"
    other_game = sale(draw_id, ("straight", "08-20", 1_000))
    other_game["lines"][0]["game"] = "2D"
    assert refused(seller, other_game) == "invalid"
    persist(res, soon)
    with res.sessions() as session:
        assert session.scalars(select(Ticket.serial)).all() == [receipt["serial"]]
    assert available(seller) == receipt["available"]


def test_a_draw_closed_early_by_mistake_is_not_reopened(
    people: People, seller: Caller, draw_id: str, res: Resources
) -> None:
    """A draw was closed an hour early by mistake and opened again: tickets came in behind a count already taken."""
    body = sale(draw_id, ("straight", "046", 1_000))
    receipt = seller("POST /v1/tickets", body).json
    assert people.admin(f"POST /v1/draws/{draw_id}/close").status_code == 202
    now = datetime.now(UTC)
    later = {name: (now + timedelta(hours=h)).isoformat() for name, h in (("cutoff_at", 5), ("draws_at", 6))}
    again = {"game": "3D", "date": "2026-01-05", "time": "14:00", "opens_at": now.isoformat(), **later}
    moved = later | {"reason": "closed by mistake"}
    for who in (people.admin, people.other_admin, people.superadmin):
        assert who(f"PATCH /v1/draws/{draw_id}", moved).json["code"] == "cutoff_passed"
        assert who("POST /v1/draws", again).json["code"] == "draw_exists"
        assert refused(seller, sale(draw_id, ("straight", "046", 1_000))) == "draw_not_open"
    persist(res, draw_id)
    res.gate._client.flushall()
    deadline = time.monotonic() + REBUILD_WAIT_S
    while seller("POST /v1/tickets", body).status_code == 503:
        assert time.monotonic() < deadline, "the gate was not rebuilt"
        time.sleep(0.05)
    for sweep in (open_draws, close_draws):
        sweep(res)
    assert refused(seller, sale(draw_id, ("straight", "046", 1_000))) == "draw_not_open"
    # What was sold stays sold; whoever wants to sell on makes another draw, or voids this one.
    assert people.admin(f"GET /v1/draws/{draw_id}").json["status"] == "closed"
    assert seller(f"GET /v1/tickets/{receipt['number']}").json["status"] == "accepted"


def test_the_result_of_another_draw_is_entered_twice_alike(
    people: People, seller: Caller, draw_id: str, res: Resources
) -> None:
    """Two persons read the same line of a list of results, that of another draw, and entered it alike."""
    afternoon = make_draw(people, "17:00")
    early, late = (
        seller("POST /v1/tickets", sale(name, ("straight", number, 1_000))).json
        for name, number in ((draw_id, "046"), (afternoon, "123"))
    )
    wrongly = seller("POST /v1/tickets", sale(afternoon, ("straight", "046", 1_000))).json
    drawn(people, res, draw_id, afternoon)
    of_early = {"number": "046", "date": "2026-01-05", "time": "14:00"}
    url = f"POST /v1/draws/{afternoon}"
    # Entered as it was read, with its date and time: refused, for either of them.
    for who, call in ((people.admin, "result"), (people.other_admin, "result/confirm")):
        for change in ({}, {"date": "2026-01-06"}, {"time": "17:00"}):
            answer = who(f"{url}/{call}", of_early | change)
            assert (answer.status_code, answer.json["code"]) == (422, "other_draw")
    # Entered by both with the right date and time: it counts, and one holder is paid on it.
    mixed = {"number": "046", "date": "2026-01-06", "time": "17:00"}
    assert people.admin(f"{url}/result", mixed).status_code == 202
    assert people.other_admin(f"{url}/result/confirm", mixed).status_code == 202
    assert settle(res, afternoon)
    claim = "POST /v1/tickets/{number}/claim"
    assert seller(claim.format(**wrongly), {"code": wrongly["code"]}).json["prize"] == 450_000
    assert seller(claim.format(**late), {"code": late["code"]}).json["code"] == "not_a_winner"
    # The correction pays who won, and names what was paid in error; the other draw is untouched.
    right = mixed | {"number": "123", "reason": "the line of 14:00 was read"}
    assert people.admin(f"{url}/correction", right | {"date": "2026-01-05"}).json["code"] == "other_draw"
    assert people.admin(f"{url}/correction", right).status_code == 202
    assert people.other_admin(f"{url}/correction/confirm", right).status_code == 202
    assert settle(res, afternoon)
    assert seller(claim.format(**late), {"code": late["code"]}).json["prize"] == 450_000
    items = people.superadmin(f"GET /v1/draws/{afternoon}/paid-in-error").json["items"]
    assert [(item["number"], item["excess"]) for item in items] == [(wrongly["number"], 450_000)]
    assert seller(claim.format(**early), {"code": early["code"]}).json["code"] == "not_settled"
    with res.sessions() as session:
        assert check(session) == []


def test_off_by_one_at_the_credit(people: People, draw_id: str) -> None:
    """An agent sold one ticket beyond his credit, because the last one of a batch was not counted yet."""
    agent = people.agent
    load(people.admin, agent.id, 100_050)
    stakes = (60_000, 40_100, 40_000, 100)
    bodies = [sale(draw_id, ("straight", f"{number:03}", stake)) for number, stake in enumerate(stakes)]
    results = agent("POST /v1/tickets/batch", {"tickets": bodies}).json["results"]
    assert [result["status"] for result in results] == [201, 409, 201, 409]
    assert [result["receipt"]["available"] for result in (results[0], results[2])] == [40_050, 50]
    assert [result["error"]["available"] for result in (results[1], results[3])] == [40_050, 50]
    load(people.admin, agent.id, 49)
    assert refused(agent, bodies[3]) == "insufficient_credit"
    load(people.admin, agent.id, 1)
    assert agent("POST /v1/tickets", bodies[3]).json["available"] == 0
    number = results[0]["receipt"]["number"]
    assert agent(f"POST /v1/tickets/{number}/void", {"reason": "left"}).status_code == 200
    assert refused(agent, sale(draw_id, ("straight", "046", 60_100))) == "insufficient_credit"
    assert agent("POST /v1/tickets", sale(draw_id, ("straight", "046", 60_000))).json["available"] == 0


def test_limits_of_a_future_day(people: People, seller: Caller, draw_id: str, res: Resources) -> None:
    """Limits set for the next day's draw cut off today's sales, and its tickets used up today's numbers."""
    tomorrow = make_draw(people, "14:00", opens_s=2)
    limits = [{"play": "straight", "max": 300}]
    assert people.admin(f"PUT /v1/draws/{tomorrow}/limits", {"limits": limits}).status_code == 200
    bet = ("straight", "046", 90_000)
    assert seller("POST /v1/tickets", sale(draw_id, bet)).status_code == 201
    assert refused(seller, sale(tomorrow, bet)) == "draw_not_open"
    # In the evening before both sell side by side, each on its own account.
    while not open_draws(res):
        time.sleep(0.05)
    assert refused(seller, sale(tomorrow, ("straight", "046", 400))) == "sold_out"
    assert seller("POST /v1/tickets", sale(tomorrow, ("straight", "046", 300))).status_code == 201
    left = seller("POST /v1/tickets", sale(draw_id, ("straight", "046", 10_100))).json["lines"]
    assert left == [{"play": "straight", "number": "046", "left": 10_000}]
    assert seller("POST /v1/tickets", sale(draw_id, ("straight", "046", 10_000))).status_code == 201
    shown = {name: people.admin(f"GET /v1/draws/{name}").json for name in (draw_id, tomorrow)}
    assert [shown[name]["limits"][0]["max"] for name in (draw_id, tomorrow)] == [100_000, 300]
    for name in (draw_id, tomorrow):
        assert shown[name]["sold_out"] == [{"play": "straight", "number": "046", "left": 0}]


# ── time zones ──────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(params=["Pacific/Kiritimati", "America/Los_Angeles"])
def elsewhere(request: pytest.FixtureRequest, database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process and its database in a time zone half a world away, 14 hours ahead of UTC or 8 behind."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    with psycopg.connect(database.owner_url.replace("+psycopg", "", 1), autocommit=True) as owner:
        owner.execute(f"ALTER DATABASE \"{database.name}\" SET timezone = '{request.param}'")
    yield
    monkeypatch.undo()
    time.tzset()


def test_wrong_time_zone_around_midnight(elsewhere: None, people: People, res: Resources) -> None:
    """A host kept another zone than Manila's: around midnight draws, sales and statements fell on the wrong day."""
    midnight = datetime(2026, 12, 31, 16, 0, tzinfo=UTC)  # 1 January in Manila begins
    for moment in (midnight - timedelta(seconds=1), midnight):
        schedule_draws(replace(res, clock=FixedClock(moment)))
    listed = people.agent("GET /v1/draws?date=2027-01-01&game=3D").json["items"]
    assert {draw["id"]: datetime.fromisoformat(draw["draws_at"]).astimezone(UTC).hour for draw in listed} == {
        "3D-20270101-1400": 6,
        "3D-20270101-1700": 9,
        "3D-20270101-2100": 13,
    }
    assert people.agent("GET /v1/draws?date=2026-12-31").json["items"] == []
    paid = {}
    for shift, amount in ((-1, 1), (0, 20), (86_399, 300), (86_400, 4_000)):
        book(res, "claim", people.agent.id, amount, midnight + timedelta(seconds=shift))
    for date in ("2026-12-31", "2027-01-01", "2027-01-02"):
        paid[date] = figures(people.agent, people.agent.id, date)[2]
    assert paid == {"2026-12-31": 1, "2027-01-01": 320, "2027-01-02": 4_000}
    for moment in (midnight - timedelta(seconds=1), midnight):
        body = summary(replace(res, clock=FixedClock(moment)), people.agent.id, people.agent.id, None)
        assert body["date"] == f"{moment + timedelta(hours=8):%Y-%m-%d}"


def test_a_ticket_of_the_last_draw_of_a_day_in_a_wrong_time_zone(
    elsewhere: None, people: People, nobody: Caller, res: Resources
) -> None:
    """The same for a ticket of 21:00: its number, its instants, its proof and the time to claim it."""
    load(people.admin, people.agent.id, 10_000)
    name = make_draw(people, "21:00")
    receipt = people.agent("POST /v1/tickets", sale(name, ("straight", "046", 1_000))).json
    accepted_at = datetime.fromisoformat(receipt["accepted_at"])
    assert abs(datetime.now(UTC) - accepted_at) < timedelta(minutes=1)
    assert parse_number(receipt["number"]) == (name, 1)
    drawn(people, res, name)
    entry = {"number": "046", "date": "2026-01-06", "time": "21:00"}
    assert people.admin(f"POST /v1/draws/{name}/result", entry).status_code == 202
    assert people.other_admin(f"POST /v1/draws/{name}/result/confirm", entry).status_code == 202
    assert settle(res, name)
    verified = nobody(f"GET /v1/verify/{receipt['number']}?code={receipt['code']}").json
    leaf = verified["inclusion_proof"]["leaf_text"].split("|")
    assert datetime.fromisoformat(leaf[3]) == accepted_at
    with res.sessions() as session:
        draw = session.scalars(select(Draw).where(Draw.name == name)).one()
    over = claim_until(res, draw)
    claim = {"number": receipt["number"], "code": receipt["code"], "payee": None}
    with pytest.raises(ClaimExpired):
        claims.claim(replace(res, clock=FixedClock(over)), people.agent.id, **claim)
    last = replace(res, clock=FixedClock(over - timedelta(microseconds=1)))
    assert claims.claim(last, people.agent.id, **claim)[1]["paid"] == 450_000


# ── sessions ────────────────────────────────────────────────────────────────────────────────────────


def test_a_token_refresh_in_flight_does_not_log_the_terminal_out(seller: Caller, nobody: Caller, draw_id: str) -> None:
    """A terminal refreshed its token twice at once, or lost the answer: each spent the other's, and it was out."""
    first = log_in(nobody, "agent")
    terminal = holder(nobody, first)
    body = sale(draw_id, ("straight", "046", 1_000))
    with ThreadPoolExecutor(5) as pool:
        refreshes = [pool.submit(refresh, nobody, first["refresh_token"]) for _ in range(4)]
        sold = pool.submit(terminal, "POST /v1/tickets", body)  # with the token that is being replaced
    pairs = [future.result() for future in refreshes]
    assert [(answer.status_code, answer.json) for answer in pairs] == [(200, pairs[0].json)] * 4
    assert sold.result().status_code == 201
    # The answers were lost: it asks once more with what it has, and goes on under the new pair.
    again = refresh(nobody, first["refresh_token"])
    assert (again.status_code, again.json) == (200, pairs[0].json)
    for pair in (first, again.json):
        repeated = holder(nobody, pair)("POST /v1/tickets", body)
        assert (repeated.status_code, repeated.json) == (200, sold.result().json)
        assert holder(nobody, pair)("POST /v1/tickets", sale(draw_id, ("straight", "047", 100))).status_code == 201
    assert refresh(nobody, again.json["refresh_token"]).status_code == 200
