"""A game's prices, limits and schedule: changed by two persons, for draws that are not open yet."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, time
from typing import Any

import pytest
from sqlalchemy import select, update

from actions import draws, games
from models.audit import AuditRow
from models.draws import Draw, Game, PendingApproval
from rules.errors import ContentsDiffer, Forbidden, Invalid, NotFound
from runtime.clock import FixedClock
from tasks.open_draws import open_draws
from tasks.schedule import schedule_draws
from tasks.settle import settle
from tasks.void_draw import void_draw
from tests.integration.after_sales import at_once, ledger, read_draw, resulted, rung, status
from tests.integration.conftest import Lottery

PRIZES = {"straight": 500, "rambolito_pair": 160, "rambolito_distinct": 80}
NOON = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)  # in Manila; the draws of 14:00 are open then


class Office:
    """Two superadmins and two administrators at the settings of 3D."""

    def __init__(self, lottery: Lottery) -> None:
        self.lottery = lottery
        self.res = lottery.res
        self.sue, self.sid = (lottery.person("superadmin") for _ in range(2))
        self.ada, self.ben = (lottery.person("admin", parent=self.sue) for _ in range(2))

    def put(self, actor: int, **wanted: Any) -> tuple[int, dict[str, Any]]:
        return games.change(self.res, actor, "3D", wanted)

    def change(self, **wanted: Any) -> dict[str, Any]:
        assert self.put(self.sue, **wanted)[0] == 202
        status, body = self.put(self.ada, **wanted)
        assert status == 200
        return body

    def waiting(self) -> list[str]:
        with self.res.sessions() as session:
            return list(session.scalars(select(PendingApproval.kind)))


@pytest.fixture
def office(lottery: Lottery) -> Office:
    return Office(lottery)


def test_a_superadmin_asks_and_an_administrator_agrees(office: Office) -> None:
    before = games.one(office.res, "3D")
    assert office.put(office.sue, prize_table=PRIZES) == (202, {"status": "awaiting_confirmation", "game": "3D"})
    assert games.one(office.res, "3D") == before
    assert office.put(office.sue, prize_table=PRIZES)[0] == 202
    status, body = office.put(office.ada, prize_table=PRIZES)
    assert (status, body["prize_table"], body["limits"]) == (200, PRIZES, before["limits"])
    assert games.one(office.res, "3D") == body
    for again in (office.ada, office.sue, office.ben):
        assert office.put(again, prize_table=PRIZES) == (200, body)
    assert office.waiting() == []
    with office.res.sessions() as session:
        row = session.scalars(select(AuditRow).where(AuditRow.before.is_not(None), AuditRow.object == "game:3D")).one()
    assert row.before is not None
    assert row.after is not None
    assert (row.before["prize_table"]["straight"], row.after["prize_table"]["straight"]) == (450, 500)


def test_no_superadmin_no_change(office: Office) -> None:
    for _ in range(2):
        with pytest.raises(Forbidden):
            office.put(office.ada, prize_table=PRIZES)
    with pytest.raises(NotFound):
        games.change(office.res, office.sue, "4D", {"prize_table": PRIZES})
    assert office.waiting() == []


def test_two_superadmins_agree_as_well(office: Office) -> None:
    office.put(office.sue, payout_limit=5)
    assert office.put(office.sid, payout_limit=5)[1]["payout_limit"] == 5


def test_contents_that_differ_are_both_dropped(office: Office) -> None:
    office.put(office.sue, prize_table=PRIZES)
    for other in ({"prize_table": PRIZES | {"straight": 501}}, {"prize_table": PRIZES, "payout_limit": 5}):
        office.put(office.sue, prize_table=PRIZES)
        with pytest.raises(ContentsDiffer):
            office.put(office.ada, **other)
        assert office.waiting() == []
    with pytest.raises(Forbidden):
        office.put(office.ada, prize_table=PRIZES)
    assert games.one(office.res, "3D")["prize_table"]["straight"] == 450


def test_the_first_one_may_change_his_mind(office: Office) -> None:
    office.put(office.sue, payout_limit=5)
    office.put(office.sue, payout_limit=6)
    with pytest.raises(ContentsDiffer):
        office.put(office.ada, payout_limit=5)
    assert office.change(payout_limit=6)["payout_limit"] == 6


def test_equal_contents_may_be_written_differently(office: Office) -> None:
    numbers = [{"play": "rambolito", "number": "640", "max": 5}, {"play": "straight", "number": "001", "max": 6}]
    office.put(office.sue, limits_by_number=numbers, schedule=[time(21), time(14)])
    _, body = office.put(
        office.ada, limits=[numbers[1], {**numbers[0], "number": "046"}], schedule=[time(14), time(21)]
    )
    assert body["limits_by_number"] == [
        {"play": "straight", "number": "001", "max": 6},
        {"play": "rambolito", "number": "046", "max": 5},
    ]
    assert body["schedule"] == ["14:00", "21:00"]
    assert office.change(limits_by_number=[])["limits_by_number"] == []


@pytest.mark.parametrize(
    ("wanted", "path"),
    [
        ({}, ""),
        ({"prize_table": {"straight": 450}}, "prize_table.rambolito_distinct"),
        ({"prize_table": PRIZES | {"straight": 0}}, "prize_table.straight"),
        ({"limits": [{"play": "straight", "number": "46", "max": 1}]}, "limits.0.number"),
        ({"limits_by_number": [{"play": "straight", "max": 1}]}, "limits_by_number"),
        ({"limits_by_number": [{"play": "rambolito", "number": "111", "max": 1}]}, "limits_by_number.0.number"),
        ({"cancelled_dates": [{"date": date(2026, 12, 1), "reason": "a"}] * 2}, "cancelled_dates"),
    ],
)
def test_settings_that_cannot_be_are_refused(office: Office, wanted: dict[str, Any], path: str) -> None:
    with pytest.raises(Invalid) as refused:
        office.put(office.sue, **wanted)
    assert path in [error["path"] for error in refused.value.errors]
    assert office.waiting() == []


def test_open_draws_keep_what_they_opened_with_and_the_next_ones_have_the_new(office: Office) -> None:
    lottery, agent = office.lottery, office.lottery.person(pesos=1_000)
    first = lottery.draw(minute=1)
    office.change(
        prize_table=PRIZES,
        limits=[{"play": "straight", "max": 50_00}],
        limits_by_number=[{"play": "straight", "number": "046", "max": 20_00}],
    )
    second = lottery.draw(minute=2)
    assert read_draw(office.res, second).limits == {
        "stake_straight": 50_00,
        "stake_rambolito": 150_000,
        "payout": 60_000_000,
        "by_number": {"straight": {"046": 20_00}},
    }
    assert draws.one(office.res, second)["limits"][2:] == [{"play": "straight", "number": "046", "max": 20_00}]
    for draw, most in ((first, 100), (second, 20)):
        lottery.sell(draw, agent, f"s046:{most}")
        res = resulted(lottery, draw, "046")
        assert settle(res, draw)
    assert ledger(office.res)["prizes_owed"] == 100_00 * 450 + 20_00 * 500


def test_the_schedule_follows_new_times(office: Office) -> None:
    res = replace(office.res, clock=FixedClock(NOON))
    office.change(schedule=[time(9, 30)])
    schedule_draws(res)
    with res.sessions() as session:
        times = set(session.scalars(select(Draw.time).where(Draw.game == "3D")))
    assert times == {time(9, 30)}


def test_a_cancelled_date_voids_its_draws_that_are_not_open(office: Office) -> None:
    res = replace(office.res, clock=FixedClock(NOON))
    schedule_draws(res)
    open_draws(res)
    by_hand = str(draws.create(res, None, game="3D", date=date(2026, 11, 25), time=time(8))["id"])
    dates = [{"date": date(2026, 11, day), "reason": "typhoon"} for day in (22, 25)]
    assert office.change(cancelled_dates=dates)["cancelled_dates"][1] == {"date": "2026-11-25", "reason": "typhoon"}
    for name in ("3D-20261125-1400", "3D-20261125-1700", "3D-20261125-2100"):
        assert rung(office.lottery, "draws.void", name)
        assert status(res, name) == "voiding"
        assert void_draw(res, name)
        assert status(res, name) == "void"
    assert status(res, "3D-20261122-1400") == "open"
    assert status(res, by_hand) == "scheduled"
    assert status(res, "2D-20261125-1400") == "scheduled"
    assert schedule_draws(res) == 0
    assert office.change(cancelled_dates=[])["cancelled_dates"] == []


def test_a_date_cancelled_while_the_schedule_runs_has_no_draws(office: Office) -> None:
    res = replace(office.res, clock=FixedClock(NOON))
    wanted = {"cancelled_dates": [{"date": date(2026, 11, 27), "reason": "typhoon"}]}
    office.put(office.sue, **wanted)
    turns = iter([lambda: schedule_draws(res), lambda: office.put(office.ada, **wanted)[0]] * 2)
    answers = at_once(lambda: next(turns)())
    assert all(isinstance(answer, int) for answer in answers), answers
    with res.sessions() as session:
        query = select(Draw.status).where(Draw.game == "3D", Draw.date == date(2026, 11, 27))
        assert set(session.scalars(query)) <= {"voiding", "void"}


def test_agreeing_at_once_changes_once(office: Office) -> None:
    office.put(office.sue, prize_table=PRIZES)
    answers = at_once(lambda: office.put(office.ada, prize_table=PRIZES))
    assert [answer[0] for answer in answers if isinstance(answer, tuple)] == [200] * 4
    with office.res.sessions() as session:
        rows = session.scalars(select(AuditRow).where(AuditRow.before.is_not(None), AuditRow.object == "game:3D")).all()
    assert len(rows) == 1


def test_agreeing_and_disagreeing_at_once_has_one_outcome(office: Office) -> None:
    for turn in range(10):
        with office.res.sessions.begin() as session:
            session.execute(update(Game).values(limits={"payout": 1}))
        office.put(office.sue, payout_limit=100 + turn)
        asked = iter([(office.ada, 100 + turn), (office.ben, 7)])

        def second(asked: Any = asked) -> int:
            actor, amount = next(asked)
            return office.put(actor, payout_limit=amount)[1]["payout_limit"]

        answers = at_once(second, times=2)
        agreed = 100 + turn in answers
        assert games.one(office.res, "3D")["payout_limit"] == (100 + turn if agreed else 1)
        assert any(isinstance(answer, ContentsDiffer | Forbidden) for answer in answers)
        assert office.waiting() == []
