"""High prizes wait for another person; what corrections do to claims made before them."""

from __future__ import annotations

from typing import Any

import pytest

from actions import claim_decisions, holds
from actions.tickets import by_number
from rules.errors import AlreadyClaimed, Invalid, NotFound, NotSettled, OnHold, SamePerson, WrongState
from tests.integration.after_sales import killed
from tests.integration.conftest import Lottery
from tests.integration.counters import PAYEE, WINS, WINS_HIGH, House, books_are_right, gate_knows, refused


@pytest.fixture
def house(lottery: Lottery) -> House:
    return House(lottery)


@pytest.fixture
def pending(house: House) -> tuple[dict[str, Any], int]:
    """A high winner's receipt, and the claim that waits for approval."""
    receipt = house.winner(WINS_HIGH)
    status, body = house.claim(house.clerk, receipt, PAYEE)
    assert (status, body) == (
        202,
        {"status": "approval_needed", "claim_id": body["claim_id"], "prize": 1_350_000, "tax": 270_000},
    )
    return receipt, body["claim_id"]


def test_a_high_prize_needs_a_payee(house: House) -> None:
    receipt = house.winner(WINS_HIGH)
    problem = refused(house, receipt, Invalid)
    assert problem.errors[0]["path"] == "payee"
    assert house.payout(receipt) is None


def test_a_waiting_claim_is_the_claimers_and_pays_nothing(house: House, pending: tuple[dict[str, Any], int]) -> None:
    receipt, claim_id = pending
    again = house.claim(house.clerk, receipt)
    assert (again[0], again[1]["claim_id"]) == (202, claim_id)
    assert refused(house, receipt, AlreadyClaimed).extra == {"by_you": False, "claim_status": "pending"}
    assert house.balance(house.clerk) == 0
    assert by_number(house.res, house.admin, receipt["number"])["status"] == "claim_pending"
    books_are_right(house.res)


def test_an_approved_claim_pays_by_itself(house: House, pending: tuple[dict[str, Any], int]) -> None:
    receipt, claim_id = pending
    body = claim_decisions.approve(house.res, house.admin, claim_id)
    assert (body["status"], body["paid"], body["decided_by"]) == ("paid", 1_080_000, house.admin)
    assert body["payee"] == PAYEE
    assert claim_decisions.approve(house.res, house.admin, claim_id) == body
    assert house.balance(house.clerk) == 1_080_000
    assert house.account("tax_withheld") == 270_000
    with pytest.raises(WrongState):
        claim_decisions.approve(house.res, house.superadmin, claim_id)
    with pytest.raises(WrongState):
        claim_decisions.reject(house.res, house.admin, claim_id, "too late")
    assert refused(house, receipt, AlreadyClaimed, actor_id=house.clerk).extra["paid"] == 1_080_000
    books_are_right(house.res)
    gate_knows(house.lottery, house.clerk)
    assert [row.after["status"] for row in house.audited("claim.decide")] == ["paid"]


def test_a_rejected_claim_leaves_the_ticket_to_be_claimed_again(
    house: House, pending: tuple[dict[str, Any], int]
) -> None:
    receipt, claim_id = pending
    body = claim_decisions.reject(house.res, house.admin, claim_id, "the card is another's")
    assert (body["status"], body["reason"], body["paid"]) == ("rejected", "the card is another's", 0)
    assert claim_decisions.reject(house.res, house.admin, claim_id, "again") == body
    with pytest.raises(WrongState):
        claim_decisions.approve(house.res, house.admin, claim_id)
    assert by_number(house.res, house.admin, receipt["number"])["status"] == "won"
    status, again = house.claim(house.seller, receipt, PAYEE)
    assert status == 202
    claim_decisions.approve(house.res, house.coordinator, again["claim_id"])
    assert house.balance(house.seller) == 1_000_000 - 3_000 + 1_080_000
    books_are_right(house.res)


def test_nobody_decides_his_own_claim_nor_one_outside_his_subtree(house: House) -> None:
    receipt = house.winner(WINS_HIGH)
    claim_id = house.claim(house.coordinator, receipt, PAYEE)[1]["claim_id"]
    for decide_it in (
        lambda actor: claim_decisions.approve(house.res, actor, claim_id),
        lambda actor: claim_decisions.reject(house.res, actor, claim_id, "no"),
    ):
        with pytest.raises(SamePerson):
            decide_it(house.coordinator)
        for actor in (house.other_admin, house.seller, house.stranger):
            with pytest.raises(NotFound):
                decide_it(actor)
    for no_claim in (claim_id + 1, 0, 2**70):
        with pytest.raises(NotFound):
            claim_decisions.approve(house.res, house.admin, no_claim)
    assert claim_decisions.approve(house.res, house.admin, claim_id)["status"] == "paid"


def test_a_held_ticket_is_not_approved_but_may_be_rejected(house: House, pending: tuple[dict[str, Any], int]) -> None:
    receipt, claim_id = pending
    holds.hold(house.res, house.admin, receipt["number"], "a dispute")
    with pytest.raises(OnHold):
        claim_decisions.approve(house.res, house.admin, claim_id)
    refused(house, receipt, OnHold, actor_id=house.clerk)
    assert claim_decisions.reject(house.res, house.admin, claim_id, "a dispute")["status"] == "rejected"


def test_claims_are_listed_to_those_above_newest_first(house: House) -> None:
    receipts = [house.sell(WINS) for _ in range(3)]
    high = house.sell(WINS_HIGH)
    house.settle()
    made = [house.claim(house.seller, receipt)[1]["claim_id"] for receipt in receipts]
    made.append(house.claim(house.clerk, high, PAYEE)[1]["claim_id"])

    def ids(actor: int, status: str | None = None, limit: int = 50, cursor: str | None = None) -> Any:
        body = claim_decisions.page(house.res, actor, status, limit, cursor)
        return [item["id"] for item in body["items"]], body["next"]

    assert ids(house.admin) == (made[::-1], None)
    assert ids(house.coordinator) == (made[2::-1], None)
    assert ids(house.admin, "pending") == ([made[3]], None)
    assert ids(house.other_admin) == ([], None)
    assert ids(house.superadmin) == (made[::-1], None)
    assert ids(house.lottery.person("operator")) == (made[::-1], None)
    first, after = ids(house.admin, limit=3)
    assert first + ids(house.admin, cursor=after)[0] == made[::-1]
    with pytest.raises(Invalid):
        ids(house.admin, cursor="x")
    assert claim_decisions.one(house.res, house.seller, made[0])["number"] == receipts[0]["number"]
    with pytest.raises(NotFound):
        claim_decisions.one(house.res, house.seller, made[3])


def test_dying_while_approving_leaves_the_claim_waiting(
    house: House, pending: tuple[dict[str, Any], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    receipt, claim_id = pending
    with monkeypatch.context() as patch:
        patch.setattr("actions.claim_decisions.record", killed)
        with pytest.raises(KeyboardInterrupt):
            claim_decisions.approve(house.res, house.admin, claim_id)
    assert house.claims_of(receipt)[0].status == "pending"
    assert house.balance(house.clerk) == 0
    assert claim_decisions.approve(house.res, house.admin, claim_id)["status"] == "paid"
    books_are_right(house.res)


def test_who_gets_the_money_stays_out_of_the_audit_log(house: House, pending: tuple[dict[str, Any], int]) -> None:
    receipt, claim_id = pending
    claim_decisions.approve(house.res, house.admin, claim_id)
    written = [str((row.object, row.before, row.after)) for row in house.audited("claim.make")]
    written += [str((row.object, row.before, row.after)) for row in house.audited("claim.decide")]
    assert len(written) == 2
    for secret in (*PAYEE.values(), receipt["code"]):
        assert all(secret not in text for text in written)


# ── after a correction ──────────────────────────────────────────────────────────────────────────────


def test_a_correction_drops_what_waits_and_stops_claims_until_it_is_settled(
    house: House, pending: tuple[dict[str, Any], int]
) -> None:
    receipt, claim_id = pending
    house.correct("064", settled=False)
    refused(house, receipt, NotSettled)
    with pytest.raises(WrongState):
        claim_decisions.approve(house.res, house.admin, claim_id)
    (dropped,) = house.claims_of(receipt)
    assert (dropped.status, dropped.reason is not None) == ("dropped", True)
    assert len(house.audited("claim.drop")) == 1


def test_after_a_correction_only_the_rest_is_due_and_the_tax_is_of_the_whole(house: House) -> None:
    first = house.sell("s046:10", "s064:20")
    house.settle("046")
    assert house.claim(house.seller, first)[1]["prize"] == 450_000
    house.correct("064")
    assert by_number(house.res, house.seller, first["number"])["status"] == "won"
    assert house.claim(house.clerk, first)[1] | {"claim_id": 0} == {
        "claim_id": 0,
        "prize": 450_000,
        "tax": 0,
        "paid": 450_000,
    }
    assert by_number(house.res, house.seller, first["number"])["status"] == "paid"
    books_are_right(house.res)
    house.correct("046")
    assert refused(house, first, AlreadyClaimed, actor_id=house.coordinator).extra["by_you"] is False
    house.correct("999")
    assert refused(house, first, AlreadyClaimed, actor_id=house.clerk).extra["by_you"] is True
    assert by_number(house.res, house.seller, first["number"])["status"] == "paid"
    books_are_right(house.res)


def test_a_rest_that_takes_the_prize_over_the_line_is_approved_and_taxed_for_the_whole(house: House) -> None:
    receipt = house.sell("s046:10", "s064:30")
    house.settle("046")
    house.claim(house.seller, receipt)
    house.correct("064")
    status, body = house.claim(house.seller, receipt, PAYEE)
    assert (status, body["prize"], body["tax"]) == (202, 900_000, 270_000)
    claim_decisions.approve(house.res, house.admin, body["claim_id"])
    payout = house.payout(receipt)
    assert payout is not None
    assert (payout.paid, payout.tax) == (1_350_000, 270_000)
    books_are_right(house.res)
