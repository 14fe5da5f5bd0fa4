"""The documents that are made by themselves when a draw settles, and what makes a later request equal to them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, text

import tasks.settle
from actions import claims, corrections, holds
from actions import reports as asking
from actions.resources import Resources
from models.people import CommissionRate
from models.reports import Report
from tasks.make_report import make_report
from tasks.settle import settle
from tests.integration.after_sales import later, read_draw, resulted
from tests.integration.conftest import Lottery
from tests.integration.making_reports import status
from tests.reporting import in_place_of


@pytest.fixture(autouse=True)
def kinds() -> Iterator[None]:
    with in_place_of("draw_sales"), in_place_of("statement"), in_place_of("exposure"):
        yield


class Day:
    """Two agents of one administrator have sold, one of them a winning ticket; a third has not."""

    def __init__(self, lottery: Lottery) -> None:
        self.lottery = lottery
        self.superadmin, self.admin = lottery.person("superadmin"), lottery.person("admin")
        self.winner, self.loser, self.idle = (lottery.person(pesos=1_000, parent=self.admin) for _ in range(3))
        self.draw = lottery.draw()
        self.ticket = lottery.sell(self.draw, self.winner, "s046:10")
        lottery.sell(self.draw, self.loser, "s047:10")
        self.res: Resources = resulted(lottery, self.draw, "046")

    def ask(self, owner: int, kind: str, res: Resources | None = None, **more: Any) -> str:
        return str(asking.ask(res or self.res, owner, kind, "pdf", draw=self.draw, **more)["id"])


@pytest.fixture
def day(lottery: Lottery) -> Day:
    return Day(lottery)


def by_itself(res: Resources) -> list[Report]:
    with res.sessions() as session:
        return list(session.scalars(select(Report).where(Report.by_itself).order_by(Report.number)))


def admins(res: Resources) -> set[int]:
    with res.sessions() as session:
        return set(session.scalars(text("SELECT id FROM users WHERE role IN ('admin', 'superadmin')")))


def test_a_settled_draw_has_its_report_and_the_statements_of_those_who_sold(day: Day) -> None:
    suspended = day.lottery.person("admin")
    with day.res.sessions.begin() as session:
        session.execute(text("UPDATE users SET status = 'suspended' WHERE id = :id"), {"id": suspended})
    assert by_itself(day.res) == []
    assert settle(day.res, day.draw)
    made = by_itself(day.res)
    assert {each.owner_id for each in made if each.kind == "draw_sales"} == admins(day.res) - {suspended}
    assert {each.owner_id for each in made if each.kind == "statement"} == {day.winner, day.loser}
    assert {(each.format, each.status, each.draw_id) for each in made} == {
        ("pdf", "waiting", read_draw(day.res, day.draw).id)
    }
    assert all(each.top_id == each.owner_id for each in made)
    for each in made:
        assert make_report(day.res, str(each.id))
    (statement,) = asking.page(day.res, day.winner, 10, None)["items"]
    assert (statement["kind"], statement["status"], statement["by_itself"]) == ("statement", "ready", True)
    with asking.download(day.res, day.winner, statement["id"]).file as file:
        assert file.read(5) == b"%PDF-"


def test_they_are_noted_once_whoever_dies_while_settling(day: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    real = tasks.settle.ask_for_settled

    def dies_after(*arguments: Any) -> None:
        real(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(tasks.settle, "ask_for_settled", dies_after)
        with pytest.raises(KeyboardInterrupt):
            settle(day.res, day.draw)
    assert by_itself(day.res) == []
    assert settle(day.res, day.draw)
    count = len(by_itself(day.res))
    assert settle(day.res, day.draw)
    assert len(by_itself(day.res)) == count == len(admins(day.res)) + 2


def test_who_asks_for_the_same_gets_what_was_made_by_itself(day: Day) -> None:
    settle(day.res, day.draw)
    made = {(each.owner_id, each.kind): str(each.id) for each in by_itself(day.res)}
    assert day.ask(day.winner, "statement") == made[day.winner, "statement"]
    assert make_report(day.res, made[day.winner, "statement"])
    days_on = later(day.res, 100)
    assert day.ask(day.winner, "statement", days_on) == made[day.winner, "statement"]
    assert day.ask(day.admin, "draw_sales", days_on) == made[day.admin, "draw_sales"]
    assert day.ask(day.admin, "statement", days_on) not in made.values()
    assert day.ask(day.admin, "statement", agent_id=day.winner) not in made.values()
    assert asking.ask(days_on, day.winner, "statement", "csv", draw=day.draw)["id"] not in made.values()


def ready(day: Day, owner: int, kind: str, **more: Any) -> str:
    report = day.ask(owner, kind, **more)
    assert make_report(day.res, report) or status(day.res, report) == "ready"
    return report


def test_what_is_paid_or_held_on_the_draw_makes_its_reports_old(day: Day) -> None:
    settle(day.res, day.draw)
    first = ready(day, day.winner, "statement")
    assert ready(day, day.winner, "statement") == first
    holds.hold(day.res, day.admin, day.ticket["number"], "a dispute")
    second = ready(day, day.winner, "statement")
    holds.release(day.res, day.admin, day.ticket["number"], "solved")
    claims.claim(day.res, day.winner, day.ticket["number"], day.ticket["code"], None)
    third = ready(day, day.winner, "statement")
    assert len({first, second, third}) == 3
    assert ready(day, day.winner, "statement") == third


def test_a_correction_makes_its_reports_anew(day: Day) -> None:
    settle(day.res, day.draw)
    first, count = ready(day, day.admin, "draw_sales"), len(by_itself(day.res))
    row = read_draw(day.res, day.draw)
    for call in (corrections.ask, corrections.confirm):
        who = day.lottery.person("admin")
        call(day.res, who, day.draw, "047", date=row.date, time=row.time, reason="the ball was misread")
    settle(day.res, day.draw)
    assert read_draw(day.res, day.draw).result_version == 2
    assert len(by_itself(day.res)) > count
    assert ready(day, day.admin, "draw_sales") != first


def test_who_is_hired_or_moved_makes_those_old_that_might_show_him(day: Day) -> None:
    settle(day.res, day.draw)
    of_admin, of_agent = ready(day, day.admin, "draw_sales"), ready(day, day.winner, "statement")
    with day.res.sessions.begin() as session:
        session.add(CommissionRate(user_id=day.idle, bp=0, ancestors=[day.superadmin]))
    assert ready(day, day.admin, "draw_sales") != of_admin
    assert ready(day, day.winner, "statement") == of_agent


def test_what_changes_all_the_time_is_good_for_a_minute_also_of_a_settled_draw(day: Day) -> None:
    settle(day.res, day.draw)
    first = ready(day, day.admin, "exposure")
    assert day.ask(day.admin, "exposure", later(day.res, 0.01)) == first
    assert day.ask(day.admin, "exposure", later(day.res, 0.02)) != first


def test_a_report_of_a_draw_that_is_not_settled_is_good_for_a_minute(day: Day) -> None:
    first = ready(day, day.admin, "draw_sales")
    assert day.ask(day.admin, "draw_sales", later(day.res, timedelta(minutes=2) / timedelta(hours=1))) != first
