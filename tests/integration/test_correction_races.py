"""Corrections while others claim, approve, settle and void: one outcome each, and the books right."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select

from actions import claim_decisions, corrections, voiding
from models.ledger import Entry
from rules.errors import WrongState
from tasks.settle import settle
from tasks.void_draw import void_draw
from tests.integration.after_sales import at_once, read_draw, resulted, status
from tests.integration.conftest import Lottery
from tests.integration.correcting import REASON, ask, confirm, excesses
from tests.integration.counters import PAYEE, House, books_are_right, outcomes


@pytest.fixture
def house(lottery: Lottery) -> House:
    return House(lottery)


def test_confirming_at_once_makes_one_version(house: House) -> None:
    house.winner()
    ask(house, house.admin, "064")
    answers = at_once(lambda: confirm(house, house.other_admin, "064"))
    assert all(answer == answers[0] for answer in answers)
    assert isinstance(answers[0], dict)
    assert at_once(lambda: settle(house.res, house.draw)) == [True] * 4
    with house.res.sessions() as session:
        kinds = session.scalars(select(Entry.kind).where(Entry.version == 2)).all()
    assert kinds == ["prizes_reversed"]
    books_are_right(house.res)


@pytest.mark.parametrize("number", ["047", "064"])
def test_claims_by_the_hundred_while_the_result_is_corrected(house: House, number: str) -> None:
    """Each claim is paid under the old result, under the new one, or refused; never paid and then forgotten."""
    receipts = [house.sell("s046:1", "s064:2") for _ in range(100)]
    house.settle("046")
    row = read_draw(house.res, house.draw)
    entry = (number, row.date, row.time, REASON)
    corrections.ask(house.res, house.admin, house.draw, *entry)

    def correct() -> tuple[int, dict[str, Any]]:
        corrections.confirm(house.res, house.other_admin, house.draw, *entry)
        settle(house.res, house.draw)
        return 0, {}

    counters = [house.clerk, house.seller, house.coordinator]
    calls: list[Callable[[], tuple[int, dict[str, Any]]]] = [
        lambda receipt=receipt, who=counters[i % 3]: house.claim(who, receipt)  # type: ignore[misc]
        for i, receipt in enumerate(receipts * 2)
    ]
    random.Random(1).shuffle(calls)
    calls.insert(40, correct)
    answers = outcomes(calls)
    assert settle(house.res, house.draw)
    books_are_right(house.res)
    paid = {receipt["number"]: row.paid for receipt in receipts if (row := house.payout(receipt)) is not None}
    prize = {"047": 0, "064": 90_000}[number]
    assert set(paid.values()) <= {0, 45_000, prize}
    assert sum(answer[1]["prize"] for answer in answers if isinstance(answer, tuple) and answer[1]) == sum(
        paid.values()
    )
    assert excesses(house).keys() == {ticket for ticket, amount in paid.items() if amount > prize}
    assert any(isinstance(answer, tuple) and answer[0] == 200 for answer in answers)


def test_approvals_while_the_result_is_corrected_pay_or_are_dropped(house: House) -> None:
    receipts = [house.sell("s046:30") for _ in range(30)]
    house.settle("046")
    waiting = [house.claim(house.clerk, receipt, PAYEE)[1]["claim_id"] for receipt in receipts]
    ask(house, house.admin, "064")

    def correct() -> None:
        confirm(house, house.other_admin, "064")

    calls: list[Callable[[], Any]] = [
        lambda claim=claim: claim_decisions.approve(house.res, house.admin, claim)  # type: ignore[misc]
        for claim in waiting
    ]
    calls.insert(10, correct)
    outcomes(calls)
    assert settle(house.res, house.draw)
    books_are_right(house.res)
    statuses = [claim.status for receipt in receipts for claim in house.claims_of(receipt)]
    assert set(statuses) <= {"paid", "dropped"}
    assert "paid" in statuses
    assert len(excesses(house)) == statuses.count("paid")


def test_correcting_and_settling_at_once_ends_settled_under_the_last_version(house: House) -> None:
    house.sell("s046:10")
    house.sell("s064:20")
    house.res = resulted(house.lottery, house.draw, "046")
    over = threading.Event()

    def settle_on_and_on() -> None:
        while not over.is_set():
            settle(house.res, house.draw)

    workers = [threading.Thread(target=settle_on_and_on) for _ in range(3)]
    for worker in workers:
        worker.start()
    try:
        for number in ("064", "046", "731", "064", "046", "064"):
            house.correct(number, settled=False)
    finally:
        over.set()
        for worker in workers:
            worker.join()
    assert settle(house.res, house.draw)
    books_are_right(house.res)
    assert house.account("prizes_owed") == 900_000
    assert read_draw(house.res, house.draw).result_version == 7


def test_a_correction_and_a_void_confirmed_at_once_have_one_outcome(house: House) -> None:
    house.sell("s046:10")
    house.res = resulted(house.lottery, house.draw, "046")
    ask(house, house.admin, "064")
    voiding.ask(house.res, house.admin, house.draw, "the machine broke")
    turns = iter(
        [
            lambda: confirm(house, house.other_admin, "064"),
            lambda: voiding.confirm(house.res, house.other_admin, house.draw),
        ]
    )
    answers = at_once(lambda: next(turns)(), times=2)
    refused = [answer for answer in answers if isinstance(answer, WrongState)]
    assert len(refused) == 1
    settle(house.res, house.draw)
    void_draw(house.res, house.draw)
    assert status(house.res, house.draw) in ("settled", "void")
    assert house.account("sales") == (1_000 if status(house.res, house.draw) == "settled" else 0)
    books_are_right(house.res)
