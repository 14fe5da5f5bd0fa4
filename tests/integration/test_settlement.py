"""From two persons' entries to a settled draw, through kills, repeats and several workers at once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

import tasks.settle
from actions import results, voiding
from actions.void import void
from models.draws import PendingApproval
from models.ledger import Entry
from models.settlement import DrawReport, Winner, lock_pool_check
from rules.errors import (
    Invalid,
    NoSuchDraw,
    NotSealed,
    NumbersDiffer,
    OtherDraw,
    SamePerson,
    TooEarly,
    WrongState,
)
from tasks.check_pool import check_draw
from tasks.settle import OutOfBalance, settle
from tests.integration.after_sales import (
    as_owner,
    at_once,
    drain,
    killed,
    later,
    ledger,
    read_draw,
    resulted,
    rung,
    sealed,
    status,
)
from tests.integration.conftest import Lottery

# ── the result ──────────────────────────────────────────────────────────────────────────────────────


class Table:
    """A sealed draw after it was drawn, with two administrators and a third at the table."""

    def __init__(self, lottery: Lottery) -> None:
        self.lottery = lottery
        self.draw = lottery.draw()
        lottery.sell(self.draw, lottery.person(pesos=100), "s046:10")
        sealed(lottery, self.draw)
        self.res = later(lottery.res)
        self.ada, self.ben, self.cy = (lottery.person("admin") for _ in range(3))

    def row(self) -> Any:
        return read_draw(self.res, self.draw)

    def enter(self, actor: int, number: str = "046") -> dict[str, Any]:
        return results.enter(self.res, actor, self.draw, number, self.row().date, self.row().time)

    def confirm(self, actor: int, number: str = "046") -> dict[str, Any]:
        return results.confirm(self.res, actor, self.draw, number, self.row().date, self.row().time)


@pytest.fixture
def table(lottery: Lottery) -> Table:
    return Table(lottery)


def test_two_persons_entering_alike_make_the_result(table: Table) -> None:
    assert table.enter(table.ada) == {"status": "awaiting_confirmation", "draw_id": table.draw}
    assert table.row().result is None
    with pytest.raises(WrongState):
        results.settlement(table.res, table.draw)
    body = table.confirm(table.ben)
    assert (body["version"], body["result"]) == (1, "046")
    row = table.row()
    assert (row.status, row.result, row.result_version) == ("resulted", "046", 1)
    assert rung(table.lottery, "draws.settle", table.draw)
    assert table.confirm(table.ben) == body
    with pytest.raises(WrongState):
        table.confirm(table.cy)
    with pytest.raises(WrongState):
        table.confirm(table.ben, "047")
    with pytest.raises(WrongState):
        table.enter(table.ada)


def test_nobody_confirms_his_own_entry(table: Table) -> None:
    table.enter(table.ada)
    with pytest.raises(SamePerson):
        table.confirm(table.ada)
    assert table.row().status == "sealed"


def test_entries_that_differ_are_both_dropped(table: Table) -> None:
    table.enter(table.ada, "046")
    with pytest.raises(NumbersDiffer):
        table.confirm(table.ben, "064")
    with table.res.sessions() as session:
        assert session.scalars(select(PendingApproval)).all() == []
    with pytest.raises(WrongState):
        table.confirm(table.ben, "046")
    table.enter(table.ben, "064")
    table.confirm(table.ada, "064")
    assert table.row().result == "064"


def test_an_entry_is_replaced_by_its_own_person_only(table: Table) -> None:
    table.enter(table.ada, "064")
    with pytest.raises(WrongState):
        table.enter(table.ben, "046")
    table.enter(table.ada, "046")
    table.confirm(table.ben, "046")
    assert table.row().result == "046"


def test_a_result_is_refused_for_another_draw_too_early_or_that_cannot_be(table: Table) -> None:
    row = table.row()
    refusals: list[tuple[Any, Any, Any, type[Exception]]] = [
        (table.res, table.draw, ("046", row.date + timedelta(days=1), row.time), OtherDraw),
        (table.res, table.draw, ("046", row.date, row.time.replace(minute=1)), OtherDraw),
        (table.lottery.res, table.draw, ("046", row.date, row.time), TooEarly),
        (table.res, table.draw, ("46", row.date, row.time), Invalid),
        (table.res, table.draw, ("08-20", row.date, row.time), Invalid),
        (table.res, "3D-20260101-1400", ("046", row.date, row.time), NoSuchDraw),
    ]
    table.enter(table.ada)
    for call in (results.enter, results.confirm):
        for res, draw, entry, refusal in refusals:
            with pytest.raises(refusal):
                call(res, table.ben if call is results.confirm else table.ada, draw, *entry)
    table.confirm(table.ben)


def test_a_draw_that_is_not_sealed_gets_no_result(lottery: Lottery) -> None:
    draw = lottery.draw()
    row, admin = read_draw(lottery.res, draw), lottery.person("admin")

    def refused() -> None:
        with pytest.raises(NotSealed):
            results.enter(later(lottery.res), admin, draw, "046", row.date, row.time)
        with pytest.raises(NotSealed):
            results.settlement(lottery.res, draw)

    refused()
    drain(lottery, draw)
    refused()


def test_confirming_at_once_makes_one_result(table: Table) -> None:
    table.enter(table.ada)
    answers = at_once(lambda: table.confirm(table.ben))
    assert all(answer == answers[0] for answer in answers)
    assert table.row().result_version == 1


# ── the settlement ──────────────────────────────────────────────────────────────────────────────────


class Evening:
    """A draw with winners of every kind: ₱4,500 and ₱9,000 straight, ₱375 rambolito, a voided winner, losers."""

    prizes = 450_000 + 900_000 + 37_500

    def __init__(self, lottery: Lottery) -> None:
        self.lottery = lottery
        self.ana, self.bea = lottery.person(pesos=1000), lottery.person(pesos=1000)
        self.draw = lottery.draw()
        lottery.sell(self.draw, self.ana, "s046:10", "r123:5")
        lottery.sell(self.draw, self.ana, "s064:10", "r640:5")
        lottery.sell(self.draw, self.bea, "s999:10", "s046:20")
        gone = lottery.sell(self.draw, self.bea, "s046:30")
        void(lottery.res, self.bea, gone["number"], "wrong number")
        lottery.sell(self.draw, self.bea, "s111:1")
        self.res = resulted(lottery, self.draw, "046")

    def check_settled(self) -> None:
        """Everything is there once, whatever happened on the way."""
        assert status(self.res, self.draw) == "settled"
        body = results.settlement(self.res, self.draw)
        assert [step["name"] for step in body["steps"]] == list(results.STEPS)
        assert all(step["status"] == "done" and step["started_at"] < step["finished_at"] for step in body["steps"])
        assert (body["winners"], body["prizes"]) == (3, self.prizes)
        assert ledger(self.res) == {
            "cash": -200_000,
            "wallet": 200_000 - 6_100,
            "sales": 6_100,
            "prizes": -self.prizes,
            "prizes_owed": self.prizes,
        }
        with self.res.sessions() as session:
            assert len(session.scalars(select(Entry).where(Entry.kind == "prizes")).all()) == 1
            assert len(session.scalars(select(DrawReport)).all()) == 1


@pytest.fixture
def evening(lottery: Lottery) -> Evening:
    return Evening(lottery)


def test_a_settled_draw_has_its_winners_prizes_and_report(evening: Evening) -> None:
    assert settle(evening.res, evening.draw)
    evening.check_settled()
    with evening.res.sessions() as session:
        winners = [(w.serial, w.line_no, w.play, w.number, w.prize) for w in session.scalars(select(Winner))]
        report = session.scalars(select(DrawReport.body)).one()
    assert sorted(winners) == [
        (1, 1, "straight", "046", 450_000),
        (2, 2, "rambolito", "640", 37_500),
        (3, 2, "straight", "046", 900_000),
    ]
    assert report["sales"] == {"tickets": 5, "stake": 9_100}
    assert report["voids"] == {"tickets": 1, "stake": 3_000}
    assert report["live_stake"] == 6_100
    owed = {"due": evening.prizes, "paid_in_error": 0}
    assert report["winners"] == {"tickets": 3, "lines": 3, "prizes": evening.prizes} | owed
    assert (report["correction"], report["commissions"]) == (None, {"agents": 0, "coordinators": 0})
    assert report["payout_ratio_bp"] == evening.prizes * 10_000 // 6_100
    assert report["plays"] == [
        {"play": "straight", "live_stake": 5_100, "prizes": 1_350_000},
        {"play": "rambolito", "live_stake": 1_000, "prizes": 37_500},
    ]
    assert report["numbers"][1] == {
        "play": "straight",
        "number": "046",
        "lines": 2,
        "stake": 3_000,
        "prizes": 1_350_000,
    }
    assert [agent["prizes"] for agent in report["agents"]] == [487_500, 900_000]
    assert report["exposure_top"][0] == {"play": "straight", "number": "046", "stake": 3_000}
    assert len(report["seal"]["merkle_root"]) == 64


def test_settling_again_changes_nothing(evening: Evening) -> None:
    for _ in range(3):
        assert settle(evening.res, evening.draw)
    evening.check_settled()
    with pytest.raises(WrongState):
        results.resume(evening.res, evening.draw)


def test_a_draw_without_winners_settles_without_an_entry(lottery: Lottery) -> None:
    draw = lottery.draw()
    lottery.sell(draw, lottery.person(pesos=100), "s046:10")
    res = resulted(lottery, draw, "111")
    assert settle(res, draw)
    body = results.settlement(res, draw)
    assert (body["status"], body["winners"], body["prizes"]) == ("settled", 0, 0)
    assert "prizes" not in ledger(res)


def test_a_two_digit_game_pays_either_order(lottery: Lottery) -> None:
    agent, draw = lottery.person(pesos=100), lottery.draw("2D")
    for line in ("s08-20:1", "s20-08:1", "r08-20:1", "r20-08:2"):
        lottery.sell(draw, agent, line)
    res = resulted(lottery, draw, "08-20")
    assert settle(res, draw)
    body = results.settlement(res, draw)
    assert (body["winners"], body["prizes"]) == (3, 100 * (400 + 200 + 2 * 200))


@pytest.mark.parametrize("step", results.STEPS)
@pytest.mark.parametrize("when", ["inside", "after"])
def test_a_kill_in_or_after_a_step_is_resumed(
    evening: Evening, monkeypatch: pytest.MonkeyPatch, step: str, when: str
) -> None:
    done = tasks.settle._FUNCTIONS[step]

    def half_done(session: Any, draw: Any) -> None:
        done(session, draw)
        killed()

    following = dict(zip(results.STEPS, results.STEPS[1:], strict=False)).get(step)
    with monkeypatch.context() as patch:
        if when == "inside":
            patch.setitem(tasks.settle._FUNCTIONS, step, half_done)
        elif following is not None:
            patch.setitem(tasks.settle._FUNCTIONS, following, killed)
        if when == "inside" or following is not None:
            with pytest.raises(KeyboardInterrupt):
                settle(evening.res, evening.draw)
    steps = {item["name"]: item["status"] for item in results.settlement(evening.res, evening.draw)["steps"]}
    if following is not None:
        assert steps[step] == ("waiting" if when == "inside" else "done")
        results.resume(evening.res, evening.draw)
    assert settle(evening.res, evening.draw)
    evening.check_settled()


def test_several_that_settle_at_once_do_it_once(evening: Evening) -> None:
    assert at_once(lambda: settle(evening.res, evening.draw)) == [True] * 4
    evening.check_settled()


def test_a_draw_that_is_voided_meanwhile_is_not_settled(evening: Evening, monkeypatch: pytest.MonkeyPatch) -> None:
    real = tasks.settle._mark_started

    def voided_before_the_first_step(*arguments: Any) -> None:
        real(*arguments)
        if status(evening.res, evening.draw) == "resulted":
            voiding.ask(evening.res, evening.lottery.person("admin"), evening.draw, "wrong balls")
            voiding.confirm(evening.res, evening.lottery.person("admin"), evening.draw)

    monkeypatch.setattr(tasks.settle, "_mark_started", voided_before_the_first_step)
    assert not settle(evening.res, evening.draw)
    assert status(evening.res, evening.draw) == "voiding"
    assert "prizes" not in ledger(evening.res)


def test_a_worker_of_an_older_version_ends_quietly(evening: Evening, monkeypatch: pytest.MonkeyPatch) -> None:
    real = tasks.settle._mark_started

    def corrected(res: Any, draw_id: int, version: int, step: str) -> None:
        real(res, draw_id, version, step)
        if step == "prizes":
            with as_owner(res) as owner:
                owner.execute("UPDATE draws SET result_version = 2")

    monkeypatch.setattr(tasks.settle, "_mark_started", corrected)
    assert not settle(evening.res, evening.draw)
    assert "prizes" not in ledger(evening.res)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE agent_sums SET stake = stake + 100 WHERE tickets = 2",
        "UPDATE agent_sums SET tickets = CASE tickets WHEN 2 THEN 3 ELSE 2 END",
        "UPDATE exposures SET stake = stake + 100 WHERE key = '999'",
    ],
)
def test_nothing_is_settled_on_sums_that_were_not_sealed(evening: Evening, change: str) -> None:
    with as_owner(evening.res) as owner:
        owner.execute(change)
    with pytest.raises(OutOfBalance):
        settle(evening.res, evening.draw)
    body = results.resume(evening.res, evening.draw)
    assert body["status"] == "resulted"
    assert {step["status"] for step in body["steps"]} == {"waiting"}
    assert "prizes" not in ledger(evening.res)


def test_pools_are_checked_one_at_a_time(evening: Evening) -> None:
    """It takes seconds, and sweeps come every second: all workers would be at it, and none be left to settle."""
    assert settle(evening.res, evening.draw)
    with evening.res.sessions() as session:
        assert lock_pool_check(session)
        assert not check_draw(evening.res, evening.draw)
    assert check_draw(evening.res, evening.draw)


def test_winners_are_found_by_the_index(evening: Evening) -> None:
    """The plan for a draw among many tickets must not read all of its lines."""
    with as_owner(evening.res) as owner:
        owner.execute(
            """
            INSERT INTO ticket_lines (draw_date, draw_id, serial, line_no, play, number, stake)
            SELECT d.date, d.id, 100 + n, 1, 'straight', lpad((n % 1000)::text, 3, '0'), 100
            FROM draws d, generate_series(1, 20000) AS n
            """
        )
        owner.execute("ANALYZE ticket_lines")
        rows = owner.execute(
            """
            EXPLAIN SELECT l.serial FROM unnest(ARRAY['straight'], ARRAY['046'], ARRAY[450]) AS w(play, number, pay)
            JOIN ticket_lines l ON l.draw_date = '2026-03-01' AND l.draw_id = 1 AND l.play = w.play
             AND l.number = w.number
            """
        ).fetchall()
    assert any("draw_id_play_number" in row[0] for row in rows), rows
