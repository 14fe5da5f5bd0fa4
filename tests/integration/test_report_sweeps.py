"""What is found of reports: lost rings, dead makers, files whose time is over and files that nobody knows."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

import tasks.report_sweeps
from actions import reports as asking
from actions.resources import Resources
from models.reports import lock_making
from reports.document import Document
from reports.folder import new_name
from reports.kinds import Scope, Sources
from tasks.make_report import make_report
from tasks.report_sweeps import RINGS_MAX, expire_reports, sweep_reports
from tests.integration.after_sales import later, rung
from tests.integration.conftest import Lottery
from tests.integration.making_reports import (
    AT_A_ROW,
    BEFORE_THE_ROW,
    KIND,
    asked,
    change,
    content,
    die_making,
    files,
    status,
    stored,
)
from tests.reporting import document, in_place_of, row, totals

LONG_AGO = "rung_at = now() - interval '11 seconds'"


@pytest.fixture(autouse=True)
def a_kind() -> Iterator[None]:
    with in_place_of(KIND):
        yield


def rings_of(lottery: Lottery) -> list[str]:
    """The reports that a sweep rings for, in its order."""
    lottery.rings.sent.clear()
    count = sweep_reports(lottery.res)
    deadline = time.monotonic() + 10
    while len(lottery.rings.sent) < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return [arguments[0] for task, arguments in lottery.rings.sent if task == "reports.make"]


def test_a_lost_ring_is_rung_again_and_a_fresh_one_is_not(lottery: Lottery) -> None:
    report = asked(lottery, lottery.person("admin"))
    assert rung(lottery, "reports.make", report)
    assert rings_of(lottery) == []
    change(lottery.res, report, LONG_AGO)
    assert rings_of(lottery) == [report]
    assert rings_of(lottery) == []
    assert make_report(lottery.res, report)
    change(lottery.res, report, LONG_AGO)
    assert rings_of(lottery) == []


def test_a_report_whose_maker_died_is_rung_for_and_one_that_is_being_made_is_not(lottery: Lottery) -> None:
    res, owner = lottery.res, lottery.person("admin")
    report, seen = asked(lottery, owner), []
    die_making(res.settings, report, AT_A_ROW)
    deadline = time.monotonic() + 10
    while not seen:  # the server may not have noticed yet
        assert time.monotonic() < deadline
        change(res, report, LONG_AGO)
        seen = rings_of(lottery)
    assert seen == [report]

    def rows() -> Iterator[tuple[Any, ...]]:
        change(res, report, LONG_AGO)
        seen[:] = rings_of(lottery)
        yield row(1)

    def build(_: Sources, __: Scope) -> Document:
        return document(rows(), totals(1))

    with in_place_of(KIND, build):
        assert make_report(res, report)
    assert seen == []


def test_a_sweep_that_looks_at_a_report_keeps_nobody_from_making_it_for_long(lottery: Lottery) -> None:
    report = asked(lottery, lottery.person("admin"))
    with lottery.res.sessions.begin() as session:
        assert lock_making(session, stored(lottery.res, report).id)
        assert not make_report(lottery.res, report)
    assert make_report(lottery.res, report)


def test_what_people_asked_for_comes_first_and_the_queue_stays_short(lottery: Lottery) -> None:
    admin = lottery.person("admin")
    owners = [lottery.person("admin") for _ in range(RINGS_MAX + 5)]
    of_draws = [asked(lottery, owner) for owner in owners]
    with lottery.res.sessions.begin() as session:
        session.execute(text("UPDATE reports SET by_itself = true, rung_at = NULL"))
    own = asked(lottery, admin)
    change(lottery.res, own, LONG_AGO)
    assert rings_of(lottery) == [own, *of_draws[: RINGS_MAX - 1]]
    assert rings_of(lottery) == []
    for report in (own, *of_draws[:3]):
        assert make_report(lottery.res, report)
    assert rings_of(lottery) == of_draws[RINGS_MAX - 1 : RINGS_MAX + 3]


# ── expiry ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def kept_a_day(res: Resources) -> Resources:
    return replace(res, settings=replace(res.settings, report_days=1))


def test_when_its_time_is_over_a_report_loses_its_file_and_later_its_row(lottery: Lottery) -> None:
    res, owner = kept_a_day(lottery.res), lottery.person("admin")
    report = asked(lottery, owner)
    assert make_report(res, report)
    assert expire_reports(later(res, 23)) == 0
    assert content(res, owner, report)
    assert expire_reports(later(res, 25)) == 1
    assert (status(res, report), files(res)) == ("expired", [])
    assert asking.one(res, owner, report)["status"] == "expired"
    assert expire_reports(later(res, 47)) == 0
    assert status(res, report) == "expired"
    expire_reports(later(res, 49))
    with res.sessions() as session:
        assert session.execute(text("SELECT count(*) FROM reports")).scalar() == 0


def test_more_than_a_sweep_takes_at_once_expire_all_the_same(lottery: Lottery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks.report_sweeps, "EXPIRED_AT_ONCE", 2)
    res = kept_a_day(lottery.res)
    for _ in range(5):
        assert make_report(res, asked(lottery, lottery.person("admin")))
    assert expire_reports(later(res, 25)) == 5
    assert files(res) == []


def test_who_dies_between_the_row_and_the_file_leaves_one_that_nobody_knows(
    lottery: Lottery, monkeypatch: pytest.MonkeyPatch
) -> None:
    res, owner = kept_a_day(lottery.res), lottery.person("admin")
    report = asked(lottery, owner)
    assert make_report(res, report)

    def dies(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(tasks.report_sweeps.ReportFolder, "remove", dies)
        with pytest.raises(KeyboardInterrupt):
            expire_reports(later(res, 25))
    assert (status(res, report), len(files(res))) == ("expired", 1)
    expire_reports(later(res, 26))
    assert files(res) == []


def test_what_dead_makers_left_is_deleted_and_nothing_else(lottery: Lottery) -> None:
    res, owner = lottery.res, lottery.person("admin")
    ready, dead = asked(lottery, owner), asked(lottery, owner, "csv")
    assert make_report(res, ready)
    die_making(res.settings, dead, BEFORE_THE_ROW)
    unknown = res.settings.reports_dir / new_name(stored(res, ready).id)
    draft, drafts = unknown.with_name(f"{unknown.name}.draft"), unknown.with_name(f"{unknown.name}.drafts")
    foreign = res.settings.reports_dir / "letter.odt"
    for path in (unknown, draft, foreign):
        path.write_bytes(b"x")
    drafts.mkdir()
    (drafts / "a").write_bytes(b"x")
    assert expire_reports(res) == 0  # they may be somebody's work
    assert len(files(res)) == 6
    hour_on = later(res, 1.1)
    assert expire_reports(hour_on) == 3
    # The row of the dead one names its file until the next try.
    assert {path.name for path in files(res)} == {foreign.name, stored(res, ready).file, stored(res, dead).file}
    assert content(res, owner, ready)
    deadline = time.monotonic() + 10
    while not make_report(res, dead):
        assert time.monotonic() < deadline
    assert expire_reports(hour_on) == 1
    assert len(files(res)) == 3


def test_an_empty_or_missing_folder_is_nothing_to_sweep(lottery: Lottery) -> None:
    assert expire_reports(lottery.res) == 0
    assert not lottery.res.settings.reports_dir.exists()
    os.mkdir(lottery.res.settings.reports_dir)
    assert expire_reports(lottery.res) == 0


def test_reports_lie_where_they_are_told_to(lottery: Lottery, tmp_path: Path) -> None:
    elsewhere = tmp_path / "shared" / "reports"
    res = replace(lottery.res, settings=replace(lottery.res.settings, reports_dir=elsewhere))
    assert make_report(res, asked(lottery, lottery.person("admin")))
    assert len(list(elsewhere.iterdir())) == 1


def test_reports_that_wait_too_long_are_seen(lottery: Lottery, monkeypatch: pytest.MonkeyPatch) -> None:
    from tasks import stuck

    seen: list[int] = []
    monkeypatch.setattr(stuck, "set_waiting", lambda _, waiting: seen.append(waiting["reports"]))
    report = asked(Lottery(later(lottery.res, -0.5), lottery.rings), lottery.person("admin"))
    stuck.look_for_stuck(lottery.res)
    assert make_report(lottery.res, report)
    stuck.look_for_stuck(lottery.res)
    assert seen == [1, 0]
    assert stored(lottery.res, report).asked_at < lottery.res.clock.now() - timedelta(minutes=20)
