"""Disputed tickets, copies of tickets, and prizes that nobody claimed in time."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select

from actions import claim_decisions, holds
from actions.expiry import draws_over, expire_draw
from actions.reprints import reprint
from actions.ticket_list import page
from actions.tickets import by_number
from actions.verify import verify
from models.claims import Reprint
from rules.errors import ClaimExpired, NoCopiesLeft, NotFound, OnHold, TokenRevoked
from runtime.clock import FixedClock
from tasks.claims import expire_claims
from tests.integration.after_sales import killed, read_draw
from tests.integration.conftest import Lottery
from tests.integration.counters import PAYEE, WINS, WINS_HIGH, House, books_are_right, moved_in, old_winners_are_over


@pytest.fixture
def house(lottery: Lottery) -> House:
    return House(lottery)


# ── holds ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_hold_is_kept_by_the_first_and_released_once(house: House) -> None:
    receipt = house.winner()
    number = receipt["number"]
    held = holds.hold(house.res, house.admin, number.lower(), "two claim it")
    assert (held["held"], held["held_by"], held["reason"], held["number"]) == (
        True,
        house.admin,
        "two claim it",
        number,
    )
    assert holds.hold(house.res, house.superadmin, number, "me too") == held
    released = {"number": number, "held": False, "held_at": None, "held_by": None, "reason": None}
    assert holds.release(house.res, house.superadmin, number, "settled in court") == released
    assert holds.release(house.res, house.admin, number, "again") == released
    (hold,), (release,) = house.audited("ticket.hold"), house.audited("ticket.release")
    assert (hold.object, hold.after["reason"]) == (f"ticket:{number}", "two claim it")
    assert (release.before["reason"], release.after["reason"]) == ("two claim it", "settled in court")
    assert house.claim(house.seller, receipt)[0] == 200


def test_only_those_above_the_seller_hold_his_tickets(house: House) -> None:
    receipt = house.sell(WINS)
    for call in (holds.hold, holds.release):
        for actor, number in ((house.other_admin, receipt["number"]), (house.admin, "nothing")):
            with pytest.raises(NotFound):
                call(house.res, actor, number, "why not")


def test_a_ticket_may_be_held_while_it_is_only_in_the_journal(house: House) -> None:
    receipt = house.sell(WINS)
    holds.hold(house.res, house.admin, receipt["number"], "sold under threat")
    house.settle()
    with pytest.raises(OnHold):
        house.claim(house.seller, receipt)


# ── reprints ────────────────────────────────────────────────────────────────────────────────────────


def test_a_ticket_is_reprinted_twice_by_its_own_agent(house: House) -> None:
    receipt = house.sell(WINS)
    for copy in (1, 2):
        assert reprint(house.res, house.seller, receipt["number"].lower()) == receipt | {"copy": copy}
    with pytest.raises(NoCopiesLeft):
        reprint(house.res, house.seller, receipt["number"])
    assert [row.after["copy"] for row in house.audited("ticket.reprint")] == [1, 2]
    for actor in (house.clerk, house.coordinator):
        with pytest.raises(NotFound):
            reprint(house.res, actor, receipt["number"])
    with pytest.raises(NotFound):
        reprint(house.res, house.seller, "nothing")


def test_a_copy_says_what_became_of_the_ticket(house: House) -> None:
    receipt = house.winner()
    assert reprint(house.res, house.seller, receipt["number"])["status"] == "won"
    house.claim(house.clerk, receipt)
    assert reprint(house.res, house.seller, receipt["number"])["status"] == "paid"


def test_dying_before_the_commit_costs_no_copy(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    receipt = house.sell(WINS)
    with monkeypatch.context() as patch:
        patch.setattr("actions.reprints.record", killed)
        with pytest.raises(KeyboardInterrupt):
            reprint(house.res, house.seller, receipt["number"])
    with house.res.sessions() as session:
        assert session.scalars(select(Reprint)).all() == []


def test_a_suspended_agent_reprints_nothing(house: House, lottery: Lottery) -> None:
    receipt = house.sell(WINS)
    with lottery.res.sessions.begin() as session:
        session.connection().exec_driver_sql("UPDATE users SET status = 'suspended' WHERE id = %s", (house.seller,))
    with pytest.raises(TokenRevoked):
        reprint(house.res, house.seller, receipt["number"])


# ── expiry ──────────────────────────────────────────────────────────────────────────────────────────


def test_what_nobody_claimed_in_time_is_no_longer_owed(house: House) -> None:
    paid, unpaid, lost = house.sell(WINS), house.sell(WINS, "r640:1"), house.sell("s111:10")
    house.settle()
    house.claim(house.seller, paid)
    late = house.after_claims()
    just_before = replace(late, clock=FixedClock(late.clock.now() - timedelta(milliseconds=1)))
    assert expire_claims(just_before) == 0
    assert expire_draw(just_before, house.draw) == 0
    assert draws_over(late) == [house.draw]
    assert expire_claims(late) == 457_500
    assert expire_claims(late) == 0
    assert house.account("unclaimed") == 457_500
    assert house.account("prizes_owed") == 0
    assert read_draw(late, house.draw).expired_at is not None
    assert draws_over(late) == []
    books_are_right(late)
    statuses = [by_number(late, house.seller, r["number"])["status"] for r in (paid, unpaid, lost)]
    assert statuses == ["paid", "expired", "lost"]
    listed = page(late, house.seller, draw=house.draw, status="expired")["items"]
    assert [item["number"] for item in listed] == [unpaid["number"]]
    (row,) = house.audited("claims.expire")
    assert (row.object, row.after["expired"], row.actor_id) == (f"draw:{house.draw}", 457_500, None)


def test_a_prize_whose_time_is_over_reads_expired_before_the_hour_comes(house: House) -> None:
    receipt = house.winner()
    late = house.after_claims()
    assert by_number(house.res, house.seller, receipt["number"])["status"] == "won"
    assert by_number(late, house.seller, receipt["number"])["status"] == "expired"
    assert verify(late, receipt["number"], receipt["code"])["status"] == "expired"


def test_what_was_expired_is_not_paid_by_a_slower_clock(house: House) -> None:
    receipt = house.winner()
    assert expire_claims(house.after_claims()) == 450_000
    with pytest.raises(ClaimExpired):
        house.claim(house.seller, receipt)
    books_are_right(house.res)


def test_what_is_held_or_waits_for_approval_expires_later(house: House) -> None:
    held, waits, rejected = house.sell(WINS), house.sell(WINS_HIGH), house.sell(WINS_HIGH)
    house.settle()
    holds.hold(house.res, house.admin, held["number"], "a dispute")
    claim_id = house.claim(house.seller, waits, PAYEE)[1]["claim_id"]
    other_id = house.claim(house.seller, rejected, PAYEE)[1]["claim_id"]
    late = house.after_claims()
    assert expire_claims(late) == 0
    assert read_draw(late, house.draw).expired_at is None
    assert by_number(late, house.seller, waits["number"])["status"] == "claim_pending"
    # Claimed in time: the approval may come later.
    assert claim_decisions.approve(late, house.admin, claim_id)["status"] == "paid"
    claim_decisions.reject(late, house.admin, other_id, "no card")
    assert expire_claims(late) == 1_350_000
    assert read_draw(late, house.draw).expired_at is None
    holds.release(late, house.admin, held["number"], "withdrawn")
    assert expire_claims(late) == 450_000
    assert read_draw(late, house.draw).expired_at is not None
    assert house.account("unclaimed") == 1_800_000
    books_are_right(late)


def test_a_draw_that_nobody_won_is_done_with(house: House) -> None:
    house.sell("s111:10")
    house.settle()
    late = house.after_claims()
    assert expire_claims(late) == 0
    assert draws_over(late) == []
    assert house.audited("claims.expire") == []


def test_a_draw_that_settles_a_correction_expires_after_it(house: House) -> None:
    house.winner()
    house.correct("064", settled=False)
    assert draws_over(house.after_claims()) == []
    assert expire_draw(house.after_claims(), house.draw) == 0


def test_old_winners_expire_by_their_own_dates(house: House) -> None:
    lottery = house.lottery
    for place in range(3):
        moved_in(lottery, house.seller, f"OLD-{place}", prize=100_000)
    house.claim(house.seller, {"number": "OLD-0", "code": "QX7"})
    holds.hold(house.res, house.admin, "OLD-1", "a dispute")
    assert expire_claims(house.res) == 0
    old_winners_are_over(house)
    assert expire_claims(house.res) == 100_000
    assert expire_claims(house.res) == 0
    holds.release(house.res, house.admin, "OLD-1", "withdrawn")
    assert expire_claims(house.res) == 100_000
    assert house.account("unclaimed") == 200_000
    assert verify(house.res, "OLD-2", "QX7")["status"] == "expired"
    with pytest.raises(ClaimExpired):
        house.claim(house.seller, {"number": "OLD-2", "code": "QX7"})
    books_are_right(house.res)


def test_many_old_winners_expire_in_several_transactions(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actions.expiry.OLD_WINNERS_MAX", 2)
    for place in range(5):
        moved_in(house.lottery, house.seller, f"OLD-{place}", prize=100)
    old_winners_are_over(house)
    assert expire_claims(house.res) == 500
    assert [row.after["expired"] for row in house.audited("claims.expire")] == [200, 200, 100]
    books_are_right(house.res)


@pytest.mark.parametrize("ahead", ["the worker's clock", "the database's clock"])
def test_one_clock_that_runs_ahead_takes_no_prize_away(house: House, ahead: str) -> None:
    """What expires is gone for good, so both clocks have to say that the time is over."""
    receipt = house.winner()
    moved_in(house.lottery, house.seller)
    late, year = house.after_claims(), timedelta(days=400)
    if ahead == "the worker's clock":
        late = replace(house.res, clock=FixedClock(house.res.clock.now() + year))
    else:
        old_winners_are_over(house)
        late = replace(late, clock=FixedClock(late.clock.now() - year))
    assert draws_over(late) == []
    assert expire_draw(late, house.draw) == 0
    assert expire_claims(late) == 0
    assert house.claim(house.seller, receipt)[0] == 200
    assert house.account("unclaimed") == 0


def test_dying_while_expiring_leaves_all_to_the_next_run(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.winner()
    late = house.after_claims()
    with monkeypatch.context() as patch:
        patch.setattr("actions.expiry.record", killed)
        with pytest.raises(KeyboardInterrupt):
            expire_draw(late, house.draw)
    assert house.account("unclaimed") == 0
    assert read_draw(late, house.draw).expired_at is None
    assert expire_claims(late) == 450_000
    books_are_right(late)
