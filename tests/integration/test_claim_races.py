"""Claims at many counters at once, against holds, corrections, expiry and each other: one winner, and right books."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from actions import claim_decisions, holds
from actions.reprints import reprint
from actions.tickets import by_number
from models.claims import lock_payout
from models.draws import draw_by_name
from tasks.claims import expire_claims
from tasks.settle import settle
from tests.integration.conftest import Lottery
from tests.integration.counters import (
    PAYEE,
    WINS,
    WINS_HIGH,
    House,
    books_are_right,
    gate_knows,
    moved_in,
    outcomes,
)

ROUNDS = 100


@pytest.fixture
def house(lottery: Lottery) -> House:
    return House(lottery)


def winners(house: House, count: int, *lines: str) -> list[dict[str, Any]]:
    """Receipts of so many winning tickets of one settled draw."""
    receipts = [house.sell(*(lines or (WINS,))) for _ in range(count)]
    house.settle()
    return receipts


def paid(answers: list[Any]) -> list[Any]:
    """The answers that paid or kept a claim, without the refusals."""
    return [answer for answer in answers if not isinstance(answer, str)]


def shuffled(calls: list[Callable[[], Any]]) -> list[Any]:
    """What they give in several threads, in an order that differs from run to run but for one seed."""
    random.Random(len(calls)).shuffle(calls)
    return outcomes(calls)


def test_a_ticket_claimed_at_a_hundred_counters_is_paid_once(house: House) -> None:
    counters = [house.lottery.person(parent=house.coordinator) for _ in range(ROUNDS)]
    receipt = house.winner()
    answers = outcomes([lambda who=who: house.claim(who, receipt) for who in counters], threads=16)
    assert len(paid(answers)) == 1
    assert Counter(answer for answer in answers if isinstance(answer, str)) == {"already_claimed": ROUNDS - 1}
    assert sum(house.balance(who) for who in counters) == 450_000
    books_are_right(house.res)
    for who in counters:
        gate_knows(house.lottery, who)


def test_a_hundred_tickets_at_four_counters_each_are_paid_once_each(house: House) -> None:
    receipts = winners(house, ROUNDS, "s046:1")
    counters = [house.seller, house.clerk, house.coordinator, house.admin]
    before = {who: house.balance(who) for who in counters}
    # In this order, so that all four make the payout of the same ticket at the same time.
    answers = outcomes([lambda r=r, who=who: house.claim(who, r) for r in receipts for who in counters], threads=4)
    assert len(paid(answers)) == ROUNDS
    gained = sum(house.balance(who) - before[who] for who in counters)
    in_cash = sum(claim.prize for r in receipts for claim in house.claims_of(r) if claim.claimed_by == house.admin)
    assert gained + in_cash == ROUNDS * 45_000
    assert house.account("prizes_owed") == 0
    books_are_right(house.res)
    for who in (house.seller, house.clerk):
        gate_knows(house.lottery, who)


def test_a_payout_made_by_several_at_once_is_one(house: House) -> None:
    """Both of its keys are looked at, or the later of two would fail on the one that it did not name."""
    with house.res.sessions() as session:
        row = draw_by_name(session, house.draw)
    assert row is not None
    together = threading.Barrier(4)

    def make(serial: int) -> int:
        with house.res.sessions.begin() as session:
            session.connection()
            together.wait(60)
            return lock_payout(session, f"T-{serial}", row.id, serial).paid

    answers = outcomes([lambda s=s: make(s) for s in range(1, 301) for _ in range(4)], threads=4)
    assert answers == [0] * 1200


def test_a_high_prize_asked_for_by_many_waits_for_one(house: House) -> None:
    counters = [house.lottery.person(parent=house.coordinator) for _ in range(20)]
    receipt = house.winner(WINS_HIGH)
    answers = shuffled([lambda who=who: house.claim(who, receipt, PAYEE) for who in counters * 5])
    claim_ids = {answer[1]["claim_id"] for answer in paid(answers)}
    assert len(claim_ids) == 1
    assert [claim.status for claim in house.claims_of(receipt)] == ["pending"]
    assert len(paid(answers)) == 5  # all of the one counter


def test_an_old_winner_is_paid_once_too(house: House) -> None:
    moved_in(house.lottery, house.seller)
    receipt = {"number": "OLD-1", "code": "QX7"}
    answers = shuffled([lambda who=who: house.claim(who, receipt) for who in [house.seller, house.clerk] * 50])
    assert len(paid(answers)) == 1
    books_are_right(house.res)


def test_a_claim_and_a_hold_exclude_each_other(house: House) -> None:
    receipts = winners(house, ROUNDS, "s046:1")
    calls: list[Callable[[], Any]] = []
    for r in receipts:
        calls.append(lambda r=r: house.claim(house.seller, r))
        calls.append(lambda r=r: holds.hold(house.res, house.admin, r["number"], "a dispute"))
    random.Random(1).shuffle(calls)
    answers = outcomes(calls)
    refused = answers.count("on_hold")
    held_unpaid = 0
    for r in receipts:
        payout, claims = house.payout(r), house.claims_of(r)
        assert payout is not None
        assert payout.held_at is not None
        if claims:
            assert (payout.paid, claims[0].decided_at < payout.held_at) == (45_000, True)
        else:
            held_unpaid += 1
    assert held_unpaid == refused
    assert 0 < refused < ROUNDS
    books_are_right(house.res)


def test_a_claim_and_its_expiry_exclude_each_other(house: House) -> None:
    receipts = winners(house, ROUNDS, "s046:1")
    late = house.after_claims()
    calls: list[Callable[[], Any]] = [lambda r=r: house.claim(house.seller, r) for r in receipts]
    calls[50:50] = [lambda: expire_claims(late)] * 2
    answers = outcomes(calls)
    paid_out = expired = 0
    for r in receipts:
        payout = house.payout(r)
        assert payout is not None
        assert sorted((payout.paid, payout.expired)) == [0, 45_000]
        paid_out, expired = paid_out + payout.paid, expired + payout.expired
    assert answers.count("claim_expired") * 45_000 == expired
    assert paid_out + expired == ROUNDS * 45_000
    assert house.account("unclaimed") == expired
    assert house.account("prizes_owed") == 0
    assert expire_claims(late) == 0
    books_are_right(house.res)


def test_claims_and_a_correction_exclude_each_other(house: House) -> None:
    """Whoever is paid is paid before the correction, or after it by the new result: no more than either gives him."""
    receipts = [house.sell("s046:1", "s064:2") for _ in range(ROUNDS)]
    house.settle("046")
    go = threading.Event()

    def claim(place: int, r: dict[str, Any]) -> Any:
        if place == ROUNDS // 4:
            go.set()
        return house.claim(house.seller, r)

    def correct() -> None:
        assert go.wait(60)
        house.correct("064", settled=False)

    corrector = threading.Thread(target=correct)
    corrector.start()
    answers = outcomes([lambda p=p, r=r: claim(p, r) for p, r in enumerate(receipts)])
    corrector.join()
    assert settle(house.res, house.draw)
    assert {answer for answer in answers if isinstance(answer, str)} <= {"not_settled"}
    assert house.account("prizes_owed") == ROUNDS * 90_000 - len(paid(answers)) * 45_000
    books_are_right(house.res)
    rest = outcomes([lambda r=r: house.claim(house.clerk, r) for r in receipts])
    assert sum(body["prize"] for _, body in paid(rest)) == ROUNDS * 90_000 - len(paid(answers)) * 45_000
    assert house.account("prizes_owed") == 0
    books_are_right(house.res)


def test_a_claim_decided_by_many_is_decided_once(house: House) -> None:
    receipts = winners(house, 25, WINS_HIGH)
    deciders = [house.admin, house.coordinator, house.superadmin]
    before = house.balance(house.seller)
    kept = [house.claim(house.seller, r, PAYEE)[1]["claim_id"] for r in receipts]
    calls: list[Callable[[], Any]] = []
    for claim_id in kept:
        for actor in deciders:
            calls.append(lambda c=claim_id, a=actor: claim_decisions.approve(house.res, a, c))
        calls.append(lambda c=claim_id: claim_decisions.reject(house.res, house.admin, c, "no"))
    answers = shuffled(calls)
    decided = paid(answers)
    assert sorted(body["id"] for body in decided) == kept
    assert Counter(answer for answer in answers if isinstance(answer, str)) == {"wrong_state": 25 * 3}
    approved = [body for body in decided if body["status"] == "paid"]
    assert house.balance(house.seller) - before == len(approved) * 1_080_000
    assert {body["status"] for body in decided} <= {"paid", "rejected"}
    books_are_right(house.res)
    gate_knows(house.lottery, house.seller)


def test_an_approval_and_a_correction_exclude_each_other(house: House) -> None:
    receipts = winners(house, 25, WINS_HIGH)
    kept = [house.claim(house.seller, r, PAYEE)[1]["claim_id"] for r in receipts]
    calls: list[Callable[[], Any]] = [lambda c=c: claim_decisions.approve(house.res, house.admin, c) for c in kept]
    calls.insert(10, lambda: house.correct("999", settled=False))
    answers = outcomes(calls)
    assert settle(house.res, house.draw)
    statuses = Counter(house.claims_of(r)[0].status for r in receipts)
    assert statuses["paid"] + statuses["dropped"] == 25
    assert answers.count("wrong_state") == statuses["dropped"]
    assert house.account("prizes_owed") == 0
    assert house.account("paid_in_error") == -statuses["paid"] * 1_350_000
    books_are_right(house.res)


def test_a_hold_and_an_approval_exclude_each_other(house: House) -> None:
    receipts = winners(house, 25, WINS_HIGH)
    calls: list[Callable[[], Any]] = []
    for r in receipts:
        claim_id = house.claim(house.seller, r, PAYEE)[1]["claim_id"]
        calls.append(lambda c=claim_id: claim_decisions.approve(house.res, house.admin, c))
        calls.append(lambda r=r: holds.hold(house.res, house.admin, r["number"], "a dispute"))
    answers = shuffled(calls)
    waiting = [r for r in receipts if house.claims_of(r)[0].status == "pending"]
    assert len(waiting) == answers.count("on_hold")
    for r in waiting:
        assert by_number(house.res, house.admin, r["number"])["status"] == "claim_pending"
    books_are_right(house.res)


def test_of_many_reprints_at_once_two_are_made(house: House) -> None:
    receipts = [house.sell(WINS) for _ in range(10)]
    answers = shuffled([lambda r=r: reprint(house.res, house.seller, r["number"]) for r in receipts for _ in range(10)])
    assert Counter((body["number"], body["copy"]) for body in paid(answers)) == {
        (r["number"], copy): 1 for r in receipts for copy in (1, 2)
    }
    assert answers.count("no_copies_left") == 80
