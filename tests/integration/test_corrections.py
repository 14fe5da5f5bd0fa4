"""A wrong result corrected: by two persons, in any state after it, settled anew, with what was paid set against it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

import tasks.settle
from actions import corrections, results, voiding
from models.audit import AuditRow
from models.draws import PendingApproval
from models.settlement import DrawReport, Result
from rules.errors import (
    AlreadyClaimed,
    Invalid,
    NoSuchDraw,
    NotSealed,
    NotSettled,
    NumbersDiffer,
    OtherDraw,
    Problem,
    SamePerson,
    WrongState,
)
from runtime.clock import FixedClock
from tasks.check_pool import check_draw
from tasks.settle import settle
from tests.integration.after_sales import killed, later, read_draw, resulted, rung, sealed, status
from tests.integration.conftest import Lottery
from tests.integration.correcting import REASON, ask, confirm, excesses
from tests.integration.counters import PAYEE, House, books_are_right, refused


@pytest.fixture
def house(lottery: Lottery) -> House:
    return House(lottery)


def test_two_persons_correct_a_settled_draw(house: House) -> None:
    wrong, right = house.sell("s046:10"), house.sell("s064:10", "r046:10")
    house.settle("046")
    assert ask(house, house.admin, "064")["status"] == "awaiting_confirmation"
    assert read_draw(house.res, house.draw).result == "046"
    body = confirm(house, house.other_admin, "064")
    assert body == {"status": "confirmed", "draw_id": house.draw, "version": 2, "result": "064"}
    assert confirm(house, house.other_admin, "064") == body
    assert rung(house.lottery, "draws.settle", house.draw)
    row = read_draw(house.res, house.draw)
    assert (row.status, row.result, row.result_version, row.settled_at) == ("settling", "064", 2, None)
    with pytest.raises(NotSettled):
        house.claim(house.clerk, right)
    books_are_right(house.res)
    assert settle(house.res, house.draw)
    books_are_right(house.res)
    with pytest.raises(Problem, match="nothing to pay"):
        house.claim(house.clerk, wrong)
    assert house.claim(house.clerk, right)[1]["prize"] == 10 * 450_00 + 10 * 75_00
    books_are_right(house.res)
    with house.res.sessions() as session:
        kept = session.scalars(select(Result).order_by(Result.version)).all()
        reports = session.scalars(select(DrawReport).order_by(DrawReport.version)).all()
    assert [(row.number, row.reason, row.confirm_reason) for row in kept] == [
        ("046", None, None),
        ("064", REASON, "seen on the film"),
    ]
    assert [report.body["result"] for report in reports] == ["046", "064"]
    assert reports[0].body["correction"] is None
    assert reports[1].body["correction"] == {
        "instead_of": "046",
        "reason": REASON,
        "confirm_reason": "seen on the film",
    }


def test_a_draw_whose_tickets_were_not_found_right_is_settled_anew_with_the_same_number(house: House) -> None:
    house.sell("s046:10")
    house.settle()
    for version in (2, 3):  # the second time it is the draw's result already, agreed on by the same two persons
        ask(house, house.admin, "064")
        assert confirm(house, house.other_admin, "064")["version"] == version
        assert confirm(house, house.other_admin, "064")["version"] == version, "the same call again"
        assert settle(house.res, house.draw)
    assert check_draw(house.res, house.draw)
    with pytest.raises(Invalid):
        ask(house, house.admin, "064")
    assert read_draw(house.res, house.draw).result_version == 3
    books_are_right(house.res)


def test_the_same_entries_are_refused_as_for_a_first_result(house: House) -> None:
    row = read_draw(house.res, house.draw)
    for call in (ask, confirm):
        with pytest.raises(NotSealed):
            call(house, house.admin, "064")
    house.sell("s046:10")
    sealed(house.lottery, house.draw)
    house.res = later(house.res)
    with pytest.raises(WrongState):
        ask(house, house.admin, "064")
    results.enter(house.res, house.admin, house.draw, "046", row.date, row.time)
    results.confirm(house.res, house.other_admin, house.draw, "046", row.date, row.time)
    with pytest.raises(WrongState):
        confirm(house, house.other_admin, "064")
    ask(house, house.admin, "064")
    refusals: list[tuple[dict[str, Any], type[Exception]]] = [
        ({"date": row.date + timedelta(days=1)}, OtherDraw),
        ({"time": row.time.replace(minute=59)}, OtherDraw),
        ({"number": "46"}, Invalid),
        ({"number": "08-20"}, Invalid),
        ({"number": "046"}, Invalid),
    ]
    for change, refusal in refusals:
        for call, actor in ((ask, house.admin), (confirm, house.other_admin)):
            with pytest.raises(refusal):
                call(house, actor, **{"number": "064"} | change)
    with pytest.raises(SamePerson):
        confirm(house, house.admin, "064")
    with pytest.raises(WrongState):
        ask(house, house.other_admin, "064")
    with pytest.raises(NoSuchDraw):
        corrections.ask(house.res, house.admin, "3D-20260101-1400", "064", row.date, row.time, REASON)
    assert confirm(house, house.other_admin, "064")["version"] == 2


def test_entries_that_differ_are_both_dropped(house: House) -> None:
    house.winner()
    ask(house, house.admin, "064")
    with pytest.raises(NumbersDiffer):
        confirm(house, house.other_admin, "065")
    with house.res.sessions() as session:
        assert session.scalars(select(PendingApproval)).all() == []
        assert session.scalars(select(AuditRow.outcome).where(AuditRow.outcome == "numbers_differ")).all()
    assert status(house.res, house.draw) == "settled"
    with pytest.raises(WrongState):
        confirm(house, house.other_admin, "064")


def test_the_audit_log_does_not_tell_the_number_before_the_second_person_entered_it(house: House) -> None:
    house.winner()
    ask(house, house.admin, "731")
    with house.res.sessions() as session:
        rows = session.scalars(select(AuditRow).where(AuditRow.object == f"draw:{house.draw}")).all()
    assert {row.action for row in rows} >= {"result.enter", "correction"}
    assert "731" not in str([(row.before, row.after) for row in rows])


def test_nothing_is_corrected_once_the_time_to_claim_is_over(house: House) -> None:
    house.winner()
    row = read_draw(house.res, house.draw)
    over = row.draws_at + timedelta(days=house.res.settings.claim_days)
    house.res = replace(house.res, clock=FixedClock(over - timedelta(seconds=1)))
    ask(house, house.admin, "064")
    house.res = replace(house.res, clock=FixedClock(over))
    for call, actor in ((ask, house.admin), (confirm, house.other_admin)):
        with pytest.raises(WrongState):
            call(house, actor, "064")


def test_a_result_that_is_not_settled_yet_is_corrected(house: House) -> None:
    right = house.sell("s064:10")
    house.res = resulted(house.lottery, house.draw, "046")
    house.correct("064")
    books_are_right(house.res)
    assert results.settlement(house.res, house.draw)["prizes"] == 450_000
    assert house.claim(house.clerk, right)[0] == 200
    books_are_right(house.res)


@pytest.mark.parametrize("step", results.STEPS)
def test_a_correction_in_the_midst_of_a_settlement_starts_it_anew(
    house: House, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    house.sell("s046:10")
    right = house.sell("s064:20")
    house.res = resulted(house.lottery, house.draw, "046")
    with monkeypatch.context() as patch:
        patch.setitem(tasks.settle._FUNCTIONS, step, killed)
        with pytest.raises(KeyboardInterrupt):
            settle(house.res, house.draw)
    books_are_right(house.res)
    house.correct("064")
    books_are_right(house.res)
    assert house.account("prizes_owed") == 900_000
    assert house.claim(house.clerk, right)[1]["prize"] == 900_000


@pytest.mark.parametrize("step", results.STEPS)
@pytest.mark.parametrize("inside", [True, False])
def test_a_kill_while_a_correction_settles_is_resumed(
    house: House, monkeypatch: pytest.MonkeyPatch, step: str, inside: bool
) -> None:
    paid, more = house.sell("s046:10"), house.sell("s046:10", "s064:20")
    house.settle("046")
    assert house.claim(house.clerk, paid)[0] == house.claim(house.clerk, more)[0] == 200
    house.correct("064", settled=False)
    done = tasks.settle._FUNCTIONS[step]

    def dies(session: Any, draw: Any) -> None:
        if inside:
            done(session, draw)
        killed()

    with monkeypatch.context() as patch:
        patch.setitem(tasks.settle._FUNCTIONS, step, dies)
        with pytest.raises(KeyboardInterrupt):
            settle(house.res, house.draw)
    books_are_right(house.res)
    for _ in range(2):
        assert settle(house.res, house.draw)
        books_are_right(house.res)
    assert (house.account("prizes_owed"), house.account("paid_in_error")) == (450_000, -450_000)


def test_what_was_paid_counts_and_the_excess_was_paid_in_error(house: House) -> None:
    loses, wins_less, wins_more, unpaid = (
        house.sell(*lines)
        for lines in (("s046:10",), ("s046:10", "s064:4"), ("s046:4", "s064:10"), ("s046:10", "s064:1"))
    )
    house.settle("046")
    for receipt in (loses, wins_less, wins_more):
        assert house.claim(house.clerk, receipt)[0] == 200
    house.correct("064")
    books_are_right(house.res)
    assert excesses(house) == {
        loses["number"]: (450_000, 0, 450_000),
        wins_less["number"]: (450_000, 180_000, 270_000),
    }
    assert house.account("paid_in_error") == -720_000
    assert house.account("prizes_owed") == 270_000 + 45_000
    assert house.claim(house.clerk, wins_more)[1]["prize"] == 270_000
    assert house.claim(house.clerk, unpaid)[1]["prize"] == 45_000
    for receipt in (loses, wins_less):
        with pytest.raises(Problem):
            house.claim(house.clerk, receipt)
    books_are_right(house.res)
    house.correct("046")  # the first number was right after all
    books_are_right(house.res)
    assert excesses(house) == {wins_more["number"]: (450_000, 180_000, 270_000)}
    assert house.account("paid_in_error") == -270_000
    assert house.account("prizes_owed") == 450_000 - 45_000
    assert house.claim(house.clerk, unpaid)[1]["prize"] == 450_000 - 45_000
    books_are_right(house.res)


def test_each_counter_learns_what_it_paid_itself_where_another_one_paid_the_rest(house: House) -> None:
    receipt = house.sell("s046:4", "s064:10")
    house.settle("046")
    first = house.claim(house.clerk, receipt)[1]
    house.correct("064")
    rest = house.claim(house.seller, receipt)[1]
    for counter, paid in ((house.clerk, first), (house.seller, rest)):
        assert refused(house, receipt, AlreadyClaimed, actor_id=counter).extra == {
            "by_you": True, "claim_status": "paid", **paid
        }  # fmt: skip


def test_the_list_of_what_was_paid_in_error_has_pages(house: House) -> None:
    receipts = [house.sell("s046:1") for _ in range(5)]
    house.settle("046")
    for receipt in receipts:
        house.claim(house.clerk, receipt)
    house.correct("047")
    seen: list[str] = []
    cursor = None
    while True:
        body = corrections.paid_in_error(house.res, house.draw, 2, cursor)
        seen += [item["number"] for item in body["items"]]
        cursor = body["next"]
        if cursor is None:
            break
    assert seen == [receipt["number"] for receipt in reversed(receipts)]
    for bad in ("x", "-1", "9" * 40, "１"):
        with pytest.raises(Invalid):
            corrections.paid_in_error(house.res, house.draw, 2, bad)
    with pytest.raises(NoSuchDraw):
        corrections.paid_in_error(house.res, "3D-20260101-1400", 2, None)
    house.correct("048", settled=False)
    with pytest.raises(NotSettled):
        corrections.paid_in_error(house.res, house.draw, 2, None)


def test_claims_that_wait_for_approval_are_dropped(house: House) -> None:
    high = house.winner("s046:30")
    assert house.claim(house.clerk, high, PAYEE)[0] == 202
    house.correct("064")
    assert [claim.status for claim in house.claims_of(high)] == ["dropped"]
    books_are_right(house.res)
    house.correct("046")
    assert house.claim(house.clerk, high, PAYEE)[0] == 202


def test_a_voided_draw_forgets_the_correction_that_waits(house: House) -> None:
    house.sell("s046:10")
    house.res = resulted(house.lottery, house.draw, "046")
    ask(house, house.admin, "064")
    voiding.ask(house.res, house.admin, house.draw, "wrong balls")
    voiding.confirm(house.res, house.other_admin, house.draw)
    with house.res.sessions() as session:
        assert session.scalars(select(PendingApproval.kind)).all() == ["void"]
    with pytest.raises(WrongState):
        confirm(house, house.other_admin, "064")
