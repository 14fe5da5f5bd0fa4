"""Guesses at a ticket's code: counted in both calls that take one, without locking out whoever holds the ticket."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from limits import RateLimitItemPerDay
from structlog.testing import capture_logs

from actions.resources import Resources
from api import rates
from models.claims import OldWinner
from models.ledger import post
from rules.tickets import old_code_digest
from tests.api.conftest import Caller, People, sale
from tests.api.logging_in import refusal
from tests.api.test_requests import is_problem

RIGHT, PRIZE = "0097", 100_000
WRONG_CODE, SLOW_DOWN = (403, "wrong_code"), (429, "slow_down")
# At one ticket, from one address or by one user.
A_MINUTE = rates.GUESSES.amount
Claiming = Callable[[Caller, str], Any]
Verifying = Callable[..., Any]


@pytest.fixture
def old_ticket(people: People, res: Resources) -> str:
    """The number of a winner of an older system, whose codes were short."""
    with res.sessions.begin() as session:
        digest = old_code_digest(res.settings.code_key, "OLD-1", RIGHT)
        until = res.clock.now() + timedelta(days=9)
        winner = OldWinner(number="OLD-1", code_digest=digest, agent_id=people.agent.id, prize=PRIZE, claim_until=until)
        session.add(winner)
        post(session, "opening", {}, {"prizes_owed": PRIZE, "opening": -PRIZE})
    return "OLD-1"


@pytest.fixture
def verify(nobody: Caller, old_ticket: str) -> Verifying:
    def asked(code: str, place: int = 1, number: str = old_ticket) -> Any:
        address = f"203.0.{place // 250}.{place % 250}"
        return nobody(f"GET /v1/verify/{number}?code={code}", environ_base={"REMOTE_ADDR": address})

    return asked


@pytest.fixture
def claim(old_ticket: str) -> Claiming:
    return lambda caller, code: caller(f"POST /v1/tickets/{old_ticket}/claim", {"code": code})


def guesses(count: int) -> list[str]:
    return [f"1{number:03}" for number in range(count)]


def test_wrong_codes_from_one_address_are_soon_told_to_wait_and_others_are_heard(verify: Verifying) -> None:
    assert [verify(code).json for code in guesses(A_MINUTE)] == [{"valid": False}] * A_MINUTE
    for code in ("1999", RIGHT):
        refused = verify(code)
        assert refusal(refused) == SLOW_DOWN
        assert is_problem(refused)
        assert 1 <= int(refused.headers["Retry-After"]) <= 61
    assert verify(RIGHT, place=2).json["valid"]


def test_a_ticket_takes_so_many_wrong_codes_a_day_from_wherever_they_come_also_at_once(
    verify: Verifying, claim: Claiming, people: People
) -> None:
    with ThreadPoolExecutor(8) as pool:
        asked = list(pool.map(lambda place: verify(f"1{place:03}", place).status_code, range(60)))
    assert asked.count(200) == rates.VERIFY_GUESSES.amount
    assert asked.count(429) == 60 - rates.VERIFY_GUESSES.amount
    assert int(verify(RIGHT, 99).headers["Retry-After"]) > 3_600
    assert claim(people.agent, RIGHT).json["paid"] == PRIZE, "the counter pays all the same"


def test_right_codes_are_no_guesses(verify: Verifying) -> None:
    assert all(verify(RIGHT).json["valid"] for _ in range(2 * rates.VERIFY_GUESSES.amount))


def test_a_number_is_one_ticket_however_it_is_typed(seller: Caller, draw_id: str, verify: Verifying) -> None:
    number = seller("POST /v1/tickets", sale(draw_id, ("straight", "046", 100))).json["number"]
    typed = [number, number.lower(), number.replace("-", ""), number.replace("0", "o"), number.replace("0", "O")]
    assert [verify("0" * 16, number=text).json for text in typed] == [{"valid": False}] * A_MINUTE
    assert verify("0" * 16, number=number).status_code == 429


def test_a_number_that_nobody_has_is_counted_like_any_other(verify: Verifying) -> None:
    found = [verify(code, number="OLD-2").status_code for code in guesses(A_MINUTE + 1)]
    assert found == [200] * A_MINUTE + [429]


def test_a_seller_who_guesses_at_a_claim_is_told_to_wait_and_the_holder_is_paid_next_door(
    claim: Claiming, verify: Verifying, people: People
) -> None:
    assert [refusal(claim(people.agent, code)) for code in guesses(A_MINUTE)] == [WRONG_CODE] * A_MINUTE
    assert [refusal(claim(people.agent, code)) for code in ("1999", RIGHT)] == [SLOW_DOWN] * 2
    assert verify(RIGHT).json["valid"], "a verification is counted apart"
    assert claim(people.coordinator, RIGHT).json["paid"] == PRIZE


def test_all_counters_together_guess_so_often_a_day_and_whoever_did_not_is_heard(
    claim: Claiming, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rates, "CLAIM_GUESSES", RateLimitItemPerDay(A_MINUTE + 2))
    for guesser, count in ((people.agent, A_MINUTE), (people.coordinator, 2)):
        assert [refusal(claim(guesser, code)) for code in guesses(count)] == [WRONG_CODE] * count
    assert refusal(claim(people.coordinator, RIGHT)) == SLOW_DOWN
    assert refusal(claim(people.superadmin, "1999")) == WRONG_CODE
    assert refusal(claim(people.superadmin, RIGHT)) == SLOW_DOWN, "once a day"
    assert claim(people.admin, RIGHT).json["paid"] == PRIZE


def test_guesses_are_counted_while_the_counter_is_away(
    app: Flask, verify: Verifying, claim: Claiming, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: Any, **__: Any) -> bool:
        raise ConnectionError("gone")

    strategy = app.extensions[rates.NAME].limiter.limiter
    for call in ("hit", "test"):
        monkeypatch.setattr(strategy, call, gone)
    assert [verify(code).status_code for code in guesses(A_MINUTE + 1)] == [200] * A_MINUTE + [429]
    assert [claim(people.agent, code).status_code for code in guesses(A_MINUTE + 1)] == [403] * A_MINUTE + [429]


def test_each_wrong_code_has_its_log_line_without_the_code(verify: Verifying) -> None:
    with capture_logs() as lines:
        verify("SECRET77", number="old-1")
        verify(RIGHT)
        verify("SECRET78", number="x" * 500)
    assert [(line["event"], line["number"], line["address"]) for line in lines] == [
        ("wrong_code", "OLD-1", "203.0.0.1"),
        ("wrong_code", "X" * 40, "203.0.0.1"),
    ]
    assert "SECRET" not in str(lines)
