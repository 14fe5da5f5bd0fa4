"""Claiming a prize: who may, in which order it is refused, what it pays, and what the books say then."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import select

from actions import claim_decisions, claims, holds, user_changes
from actions.resources import Resources
from actions.verify import verify
from actions.void import void
from models.ledger import Account, Entry, Posting
from models.people import CommissionRate, User
from rules.errors import (
    AlreadyClaimed,
    ClaimExpired,
    NotAWinner,
    NotFound,
    NotSettled,
    OnHold,
    TokenRevoked,
    WrongCode,
)
from rules.tickets import ticket_number
from tasks.void_draw import void_draw
from tests.integration.after_sales import decide, killed, later, sealed
from tests.integration.conftest import Lottery
from tests.integration.counters import PAYEE, WINS, WINS_HIGH, House, books_are_right, gate_knows, moved_in, refused


@pytest.fixture
def house(lottery: Lottery) -> House:
    return House(lottery)


def postings(res: Resources, kind: str) -> list[dict[str, int]]:
    """Of each entry of that kind: signed centavos by kind of account."""
    with res.sessions() as session:
        query = select(Posting.entry_id, Account.kind, Posting.amount).join(Account, Account.id == Posting.account_id)
        query = query.join(Entry, Entry.id == Posting.entry_id).where(Entry.kind == kind).order_by(Entry.id)
        found: dict[int, dict[str, int]] = {}
        for entry_id, account, amount in session.execute(query):
            found.setdefault(entry_id, {})[account] = amount
    return list(found.values())


# ── paid at once ────────────────────────────────────────────────────────────────────────────────────


def test_a_claim_pays_into_the_wallet_of_the_counter(house: House) -> None:
    receipt = house.winner()
    status, body = house.claim(house.clerk, receipt)
    assert (status, body) == (200, {"claim_id": body["claim_id"], "prize": 450_000, "tax": 0, "paid": 450_000})
    assert house.balance(house.clerk) == 450_000
    assert house.account("prizes_owed") == 0
    assert house.account("prizes_paid") == -450_000
    assert postings(house.res, "claim") == [
        {"prizes_owed": -450_000, "wallet": 450_000, "prizes": 450_000, "prizes_paid": -450_000}
    ]
    books_are_right(house.res)
    gate_knows(house.lottery, house.clerk)
    (row,) = house.audited("claim.make")
    assert (row.object, row.after["status"], row.after["prize"]) == (f"ticket:{receipt['number']}", "paid", 450_000)


def test_what_a_counter_paid_can_be_sold_on_at_once(house: House) -> None:
    house.claim(house.clerk, house.winner())
    draw = house.lottery.draw(minute=house.lottery.next_minute())
    assert house.lottery.sell(draw, house.clerk, "s111:100")["available"] == 440_000


def test_a_prize_above_the_line_is_taxed_whole(house: House, lottery: Lottery) -> None:
    receipt = house.winner(WINS_HIGH)
    generous = replace(house.res, settings=replace(house.res.settings, claim_approval_above=10**9))
    status, body = house.claim(house.coordinator, receipt, PAYEE, generous)
    assert (status, body["prize"], body["tax"], body["paid"]) == (200, 1_350_000, 270_000, 1_080_000)
    assert house.balance(house.coordinator) == 1_080_000
    assert house.account("tax_withheld") == 270_000
    books_are_right(house.res)


def test_an_administrator_pays_out_of_the_houses_cash(house: House) -> None:
    receipt = house.winner()
    before = house.account("cash")
    assert house.claim(house.admin, receipt)[0] == 200
    assert house.account("cash") - before == 450_000
    assert house.balance(house.admin) == 0
    books_are_right(house.res)


def test_all_lines_of_a_ticket_are_paid_together(house: House) -> None:
    receipt = house.winner("s046:5", "r640:5", "s111:5")
    assert house.claim(house.seller, receipt)[1]["prize"] == 225_000 + 37_500


# ── who may ─────────────────────────────────────────────────────────────────────────────────────────


def test_counters_below_the_same_administrator_and_those_above_may_claim(house: House) -> None:
    lottery = house.lottery
    receipts = [house.sell(WINS) for _ in range(6)]
    house.settle()
    beside = lottery.person("coordinator", parent=house.admin)
    far = lottery.person(parent=lottery.person("coordinator", parent=beside))
    for actor, receipt in zip(
        (house.seller, house.coordinator, far, beside, house.admin, house.superadmin), receipts, strict=True
    ):
        assert house.claim(actor, receipt)[0] == 200
    books_are_right(house.res)


def test_a_moved_sellers_tickets_are_paid_where_they_were_sold_and_where_he_is_now(house: House) -> None:
    old, new = house.sell(WINS), house.sell(WINS)
    house.settle()
    with house.res.sessions.begin() as session:
        seller = session.get_one(User, house.seller)
        session.add(CommissionRate(user_id=seller.id, bp=0, ancestors=seller.ancestors))
    user_changes.change_user(house.res, house.superadmin, house.seller, {"parent_id": house.other_admin})
    assert house.claim(house.clerk, old)[0] == 200
    assert house.claim(house.stranger, new)[0] == 200
    books_are_right(house.res)


def test_elsewhere_the_ticket_is_not_found_whatever_the_code(house: House) -> None:
    receipt = house.winner()
    under_root = house.lottery.person(parent=house.superadmin)
    for actor in (house.stranger, house.other_admin, under_root):
        for code in (receipt["code"], "0" * 16):
            with pytest.raises(NotFound):
                claims.claim(house.res, actor, receipt["number"], code, None)
    with pytest.raises(NotFound):
        claims.claim(house.res, house.seller, ticket_number(house.draw, 2), receipt["code"], None)
    for number in ("nothing", "", "é", "\x00", "A" * 30):
        with pytest.raises(NotFound):
            claims.claim(house.res, house.seller, number, receipt["code"], None)
    assert house.payout(receipt) is None


def test_agents_right_below_the_root_share_it(lottery: Lottery) -> None:
    house = House(lottery)
    house.seller = lottery.person(pesos=100, parent=house.superadmin)
    receipt = house.winner()
    with pytest.raises(NotFound):
        house.claim(house.clerk, receipt)
    neighbour = lottery.person(parent=lottery.person("coordinator", parent=house.superadmin))
    assert house.claim(neighbour, receipt)[0] == 200


def test_a_suspended_counter_pays_nothing(house: House) -> None:
    receipt = house.winner()
    with house.res.sessions.begin() as session:
        session.get_one(User, house.coordinator).status = "suspended"
    for actor in (house.coordinator, house.seller):
        with pytest.raises(TokenRevoked):
            house.claim(actor, receipt)


# ── refusals, in their order ────────────────────────────────────────────────────────────────────────


def test_a_wrong_code_comes_before_everything_but_reach(house: House) -> None:
    receipt = house.sell(WINS)
    wrong = "0" * 16
    refused(house, receipt, WrongCode, code=wrong)
    refused(house, receipt, NotSettled)
    house.settle()
    holds.hold(house.res, house.admin, receipt["number"], "a dispute")
    refused(house, receipt, WrongCode, code=wrong)
    refused(house, receipt, OnHold)
    holds.release(house.res, house.admin, receipt["number"], "settled")
    house.claim(house.clerk, receipt)
    refused(house, receipt, WrongCode, code=wrong)


def test_the_code_is_taken_as_people_type_it(house: House) -> None:
    receipt = house.winner()
    code = receipt["code"].lower()
    status, _ = claims.claim(house.res, house.seller, receipt["number"].lower(), f" {code[:8]}-{code[8:]}", None)
    assert status == 200
    assert house.claims_of(receipt)[0].number == receipt["number"]


def test_a_hold_comes_before_the_state_of_the_draw(house: House) -> None:
    receipt = house.sell(WINS)
    holds.hold(house.res, house.admin, receipt["number"], "sold under threat")
    refused(house, receipt, OnHold)
    house.settle()
    refused(house, receipt, OnHold)


def test_nothing_is_paid_before_a_draw_is_settled(house: House, lottery: Lottery) -> None:
    receipt = house.sell(WINS)
    refused(house, receipt, NotSettled)
    sealed(lottery, house.draw)
    refused(house, receipt, NotSettled)
    assert house.payout(receipt) is None


def test_lost_and_voided_tickets_win_nothing(house: House) -> None:
    lost, voided = house.sell("s111:10"), house.sell(WINS)
    void(house.res, house.seller, voided["number"], "wrong number")
    house.settle()
    refused(house, lost, NotAWinner)
    refused(house, voided, NotAWinner)
    assert (house.payout(lost), house.payout(voided)) == (None, None)


def test_a_ticket_of_a_draw_that_is_being_voided_wins_nothing(house: House, lottery: Lottery) -> None:
    receipt = house.sell(WINS)
    decide(lottery, house.draw)
    refused(house, receipt, NotAWinner)


def test_a_ticket_of_a_void_draw_is_refunded_not_won(house: House, lottery: Lottery) -> None:
    receipt = house.sell(WINS)
    sealed(lottery, house.draw)
    decide(lottery, house.draw)
    assert void_draw(house.res, house.draw)
    refused(house, receipt, NotAWinner)


def test_after_its_time_a_claim_is_refused_paid_or_not(house: House) -> None:
    paid, unpaid, lost = house.sell(WINS), house.sell(WINS), house.sell("s111:10")
    house.settle()
    house.claim(house.seller, paid)
    late = house.after_claims()
    refused(house, unpaid, ClaimExpired, res=late)
    refused(house, paid, ClaimExpired, res=late)
    refused(house, lost, NotAWinner, res=late)


def test_a_second_claim_learns_whether_the_first_was_its_own(house: House) -> None:
    receipt = house.winner()
    house.claim(house.seller, receipt)
    own = refused(house, receipt, AlreadyClaimed)
    (claim,) = house.claims_of(receipt)
    money = {"prize": 450_000, "tax": 0, "paid": 450_000}
    assert own.extra == {"by_you": True, "claim_status": "paid", "claim_id": claim.id, **money}
    others = refused(house, receipt, AlreadyClaimed, actor_id=house.clerk)
    assert others.extra == {"by_you": False, "claim_status": "paid"}
    assert len(house.claims_of(receipt)) == 1


# ── an older system's winners ───────────────────────────────────────────────────────────────────────


def test_a_winner_of_an_older_system_is_claimed_by_the_same_call(house: House) -> None:
    winner = moved_in(house.lottery, house.seller)
    receipt = {"number": "old-1", "code": "qx7"}
    refused(house, receipt, WrongCode, code="QX8")
    refused(house, receipt, NotFound, actor_id=house.stranger)
    assert house.claim(house.clerk, receipt)[1]["paid"] == 500_000
    assert postings(house.res, "claim") == [{"prizes_owed": -500_000, "wallet": 500_000}]
    own = refused(house, receipt, AlreadyClaimed, actor_id=house.clerk)
    assert own.extra["by_you"] is True
    assert house.claims_of({"number": winner.number})[0].version is None
    books_are_right(house.res)


def test_an_old_high_prize_is_approved_and_taxed_too(house: House) -> None:
    moved_in(house.lottery, house.seller, prize=2_000_000)
    receipt = {"number": "OLD-1", "code": "QX7"}
    status, body = house.claim(house.seller, receipt, PAYEE)
    assert (status, body["tax"]) == (202, 400_000)
    listed = claim_decisions.approve(house.res, house.coordinator, body["claim_id"])
    assert (listed["draw_id"], listed["paid"]) == (None, 1_600_000)
    books_are_right(house.res)


def test_an_old_winner_is_verified_by_its_code(house: House) -> None:
    moved_in(house.lottery, house.seller)
    receipt = {"number": "OLD-1", "code": "QX7"}
    assert verify(house.res, "OLD-1", "nope") == {"valid": False}
    told = verify(house.res, "old-1", "qx7")
    assert (told["valid"], told["status"], told["prize"], told["draw"]) == (True, "won", 500_000, None)
    house.claim(house.seller, receipt)
    assert verify(house.res, "OLD-1", "QX7")["status"] == "paid"


def test_an_old_winner_held_is_not_paid_and_expires_by_its_own_date(house: House) -> None:
    moved_in(house.lottery, house.seller)
    receipt = {"number": "OLD-1", "code": "QX7"}
    holds.hold(house.res, house.admin, "old-1", "a dispute")
    refused(house, receipt, OnHold)
    holds.release(house.res, house.admin, "OLD-1", "settled")
    house.settle()
    refused(house, receipt, ClaimExpired, res=later(house.res, hours=48))
    assert house.claim(house.seller, receipt)[0] == 200


# ── dying half-way, and the gate away ───────────────────────────────────────────────────────────────


def test_dying_before_the_commit_leaves_nothing_and_after_it_everything(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    receipt = house.winner()
    with monkeypatch.context() as patch:
        patch.setattr("actions.claims.record", killed)
        with pytest.raises(KeyboardInterrupt):
            house.claim(house.clerk, receipt)
    assert house.payout(receipt) is None
    assert house.balance(house.clerk) == 0
    books_are_right(house.res)
    with monkeypatch.context() as patch:
        patch.setattr("actions.claims.push_after_commit", killed)
        with pytest.raises(KeyboardInterrupt):
            house.claim(house.clerk, receipt)
    own = refused(house, receipt, AlreadyClaimed, actor_id=house.clerk)
    assert own.extra["by_you"] is True
    gate_knows(house.lottery, house.clerk)
    books_are_right(house.res)


def test_a_settled_ticket_is_paid_while_the_gate_is_away(house: House) -> None:
    receipt = house.winner()
    identity, house.res.gate.identity = house.res.gate.identity, None
    try:
        assert house.claim(house.clerk, receipt)[0] == 200
    finally:
        house.res.gate.identity = identity
    gate_knows(house.lottery, house.clerk)
