"""Making a report: once, from one snapshot, whole or not at all, whoever dies meanwhile."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from celery.exceptions import SoftTimeLimitExceeded
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

import reports.folder
import reports.progress
from actions import reports as asking
from actions.failures import attempt
from intake.gate_errors import Unreconciled
from models.audit import AuditRow
from models.dead_letters import DeadLetter, Retry
from models.draws import Draw
from models.reports import Report
from reports.document import Document
from reports.kinds import Scope, Sources
from rules.errors import (
    IntakeUnavailable,
    NotSettled,
    ReportFailed,
    ReportNotReady,
    TooManyReports,
)
from tasks.make_report import TRIES_MAX, NeverFinished, make_report
from tests.integration.after_sales import at_once, later, rung
from tests.integration.conftest import Lottery
from tests.integration.making_reports import (
    AT_A_ROW,
    BEFORE_THE_NAME,
    BEFORE_THE_ROW,
    KIND,
    PERIOD,
    asked,
    change,
    content,
    die_making,
    files,
    status,
    stored,
)
from tests.reporting import document, in_place_of, of_rows, row, rows, totals, users


@pytest.fixture(autouse=True)
def a_kind() -> Iterator[None]:
    with in_place_of(KIND):
        yield


def of(what: Any) -> Any:
    """A kind that gives this, or raises it."""

    def build(_: Sources, __: Scope) -> Document:
        if isinstance(what, BaseException):
            raise what
        assert isinstance(what, Document)
        return what

    return in_place_of(KIND, build)


# ── one report ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_report_is_asked_for_made_and_downloaded(lottery: Lottery) -> None:
    res, owner = lottery.res, lottery.person("admin")
    body = asking.ask(res, owner, KIND, "json", **PERIOD)
    assert (body["status"], body["progress"], body["bytes"]) == ("waiting", {"rows": 0, "total": None}, None)
    assert rung(lottery, "reports.make", body["id"])
    with pytest.raises(ReportNotReady):
        asking.download(res, owner, body["id"])
    assert make_report(res, body["id"])
    body = asking.one(res, owner, body["id"])
    assert (body["status"], body["progress"]) == ("ready", {"rows": 3, "total": 3})
    found = asking.download(res, owner, body["id"])
    with found.file as file:
        raw = file.read()
    assert (len(raw), hashlib.sha256(raw).hexdigest()) == (body["bytes"], body["sha256"])
    assert (found.size_bytes, found.sha256) == (body["bytes"], body["sha256"])
    assert found.media_type == "application/json"
    kept = stored(res, body["id"])
    assert kept.expires_at == kept.finished_at + timedelta(days=res.settings.report_days)
    assert not make_report(res, body["id"])  # it is made


def test_every_request_is_in_the_audit_log(lottery: Lottery) -> None:
    owner = lottery.person("admin")
    report = asked(lottery, owner)
    assert asked(lottery, owner) == report
    with lottery.res.sessions() as session:
        rows = session.query(AuditRow).filter(AuditRow.object == f"report:{report}").order_by(AuditRow.id).all()
    assert [(each.action, each.after["kind"], each.after["equal_to_earlier"]) for each in rows] == [
        ("report.read", KIND, False),
        ("report.read", KIND, True),
    ]


# ── equal requests ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_equal_requests_get_the_same_report_while_it_is_new_enough(lottery: Lottery) -> None:
    owner = lottery.person("admin")
    report = asked(lottery, owner)
    assert asked(lottery, owner) == report
    assert make_report(lottery.res, report)
    assert asked(lottery, owner) == report
    assert asked(lottery, owner, "csv") != report
    assert asked(lottery, lottery.person("admin")) != report
    two_minutes_on = Lottery(later(lottery.res, 1 / 30), lottery.rings)
    assert asked(two_minutes_on, owner) != report


def test_a_report_that_failed_is_made_anew_for_an_equal_request(lottery: Lottery) -> None:
    owner = lottery.person("admin")
    report = asked(lottery, owner)
    with of(NotSettled()):
        assert make_report(lottery.res, report)
    assert asked(lottery, owner) != report


def test_of_equal_requests_at_once_one_is_made(lottery: Lottery) -> None:
    owner = lottery.person("admin")
    assert len(set(at_once(lambda: asked(lottery, owner), 8))) == 1
    with lottery.res.sessions() as session:
        assert session.query(Report).count() == 1


def test_nobody_has_more_than_so_many_reports_waiting(lottery: Lottery) -> None:
    owner, draws = lottery.person("admin"), [lottery.draw(minute=number) for number in range(21)]
    made = [asked(lottery, owner, draw=draw) for draw in draws[:20]]
    with pytest.raises(TooManyReports, match="20 of your reports"):
        asked(lottery, owner, draw=draws[20])
    assert asked(lottery, owner, draw=draws[0]) == made[0]  # which needs nothing new
    asked(lottery, lottery.person("admin"), draw=draws[20])
    assert make_report(lottery.res, made[0])
    asked(lottery, owner, draw=draws[20])


# ── one snapshot ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_all_figures_are_of_one_instant_and_nothing_can_be_written(lottery: Lottery) -> None:
    seen: list[int] = []

    def build(sources: Sources, _: Scope) -> Document:
        def counting() -> Iterator[tuple[Any, ...]]:
            for number in (1, 2, 3):
                seen.append(sources.session.query(Draw).count())
                lottery.draw(minute=number)
                yield row(number)

        with pytest.raises(DBAPIError, match="read-only"), sources.session.begin_nested():
            sources.session.execute(text("DELETE FROM retries"))
        return document(counting(), totals(3))

    owner = lottery.person("admin")
    report = asked(lottery, owner)
    with in_place_of(KIND, build):
        assert make_report(lottery.res, report)
    assert seen == [0, 0, 0]
    assert status(lottery.res, report) == "ready"


def test_how_far_a_report_is_can_be_read_while_it_runs(lottery: Lottery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports.progress, "LOOK_ROWS", 10)
    monkeypatch.setattr(reports.progress, "TELL_S", 0.0)
    res, owner = lottery.res, lottery.person("admin")
    report, seen = asked(lottery, owner), []

    def watching() -> Iterator[tuple[Any, ...]]:
        for each in rows(50):
            yield each
            body = asking.one(res, owner, report)
            seen.append((body["status"], body["progress"]["rows"]))

    with of(document(watching(), totals(50))):
        assert make_report(res, report)
    assert seen[0] == ("running", 0)
    assert [done for _, done in seen] == [number // 10 * 10 for number in range(1, 51)]


def test_of_how_many_rows_is_told_where_that_is_known(lottery: Lottery, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, int | None]] = []
    monkeypatch.setattr(reports.progress, "LOOK_ROWS", 10)
    monkeypatch.setattr(reports.progress, "TELL_S", 0.0)
    for found in (list(rows(20)), rows(20)):
        watched = reports.progress.Progress(lambda *done: told.append(done)).watched(document(found, totals(20)))
        assert [len(list(table.rows)) for table in watched.tables] == [20, 0]
    assert told == [(10, 20), (20, 20), (10, None), (20, None)]


# ── whoever dies ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("place", "left"), [(AT_A_ROW, 2), (BEFORE_THE_NAME, 2), (BEFORE_THE_ROW, 1)])
def test_what_a_dead_maker_began_is_finished_by_the_next(lottery: Lottery, place: str, left: int) -> None:
    res, owner = lottery.res, lottery.person("admin")
    report = asked(lottery, owner)
    die_making(res.settings, report, place)
    assert status(res, report) == "running"
    assert len(files(res)) == left  # the draft with its folder, or a file that no row will know
    with pytest.raises(ReportNotReady):
        asking.download(res, owner, report)
    deadline = time.monotonic() + 10
    while not make_report(res, report):  # until the server has noticed
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert stored(res, report).tries == 2
    assert content(res, owner, report)["facts"]["top"]


def test_of_two_makers_at_once_one_makes_it(lottery: Lottery) -> None:
    report, inner = asked(lottery, lottery.person("admin")), []

    def build(sources: Sources, scope: Scope) -> Document:
        inner.append(make_report(lottery.res, report))
        return users(sources, scope)

    with in_place_of(KIND, build):
        assert make_report(lottery.res, report)
    assert inner == [False]
    second = asked(lottery, lottery.person("admin"))
    assert sorted(map(bool, at_once(lambda: make_report(lottery.res, second), 3))) == [False, False, True]
    assert len(files(lottery.res)) == 2


def test_one_who_was_thought_dead_takes_his_file_away_again(lottery: Lottery) -> None:
    res, owner = lottery.res, lottery.person("admin")
    report = asked(lottery, owner)

    def overtaken() -> Iterator[tuple[Any, ...]]:
        yield row(1)
        change(res, report, "file = 'another'")

    with of(document(overtaken(), totals(1))):
        make_report(res, report)
    assert (status(res, report), stored(res, report).file) == ("running", "another")
    assert files(res) == []
    assert make_report(res, report)


# ── what goes wrong ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_a_kind_says_against_it_is_the_reports_end(lottery: Lottery) -> None:
    res, owner = lottery.res, lottery.person("admin")
    report = asked(lottery, owner)
    with of(NotSettled("The draw is open.")):
        assert make_report(res, report)
    body = asking.one(res, owner, report)
    assert (body["status"], body["problem"]) == ("failed", {"code": "not_settled", "detail": "The draw is open."})
    with pytest.raises(ReportFailed, match="The draw is open") as failed:
        asking.download(res, owner, report)
    assert failed.value.extra == {"reason": "not_settled"}
    assert files(res) == []


@pytest.mark.parametrize("problem", [Unreconciled("a test"), IntakeUnavailable()])
def test_while_a_part_is_away_a_report_waits(lottery: Lottery, problem: Exception) -> None:
    report = asked(lottery, lottery.person("admin"))
    with of(problem):
        for _ in range(TRIES_MAX + 5):
            with pytest.raises(type(problem)):
                make_report(lottery.res, report)
    assert (status(lottery.res, report), stored(lottery.res, report).tries) == ("running", 0)
    assert make_report(lottery.res, report)


def test_a_report_that_contradicts_itself_is_given_to_nobody(lottery: Lottery) -> None:
    res, owner = lottery.res, lottery.person("admin")
    report = asked(lottery, owner)

    def make() -> bool:
        return make_report(res, report)

    with of(document(rows(3), {"stake": 1})), pytest.raises(ValueError, match="add up"):
        attempt(res.sessions, "reports.make", [report], "reports", make)
    body = asking.one(res, owner, report)
    assert (body["status"], body["problem"]["code"]) == ("failed", "internal_error")
    assert files(res) == []
    with res.sessions() as session:
        assert [letter.arguments for letter in session.query(DeadLetter)] == [[report]]
    assert not make()  # a replay finds nothing left to make


def test_a_full_disk_is_no_end(lottery: Lottery, monkeypatch: pytest.MonkeyPatch) -> None:
    res, owner = lottery.res, lottery.person("admin")
    report = asked(lottery, owner)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(reports.folder.os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            attempt(res.sessions, "reports.make", [report], "reports", lambda: make_report(res, report))
    assert (status(res, report), files(res)) == ("running", [])
    with res.sessions() as session:
        assert session.scalars(select(Retry.arguments)).all() == [[report]]
    assert make_report(res, report)


def test_a_report_that_takes_too_long_is_too_large(lottery: Lottery) -> None:
    res, owner = lottery.res, lottery.person("admin")
    report = asked(lottery, owner)
    with of(SoftTimeLimitExceeded()):
        assert make_report(res, report)
    assert asking.one(res, owner, report)["problem"]["code"] == "report_too_large"


def test_a_report_whose_makers_all_vanish_fails_in_the_end(lottery: Lottery) -> None:
    res, owner = lottery.res, lottery.person("admin")
    report = asked(lottery, owner)
    change(res, report, f"tries = {TRIES_MAX}")
    with pytest.raises(NeverFinished):
        make_report(res, report)
    assert asking.one(res, owner, report)["problem"]["code"] == "internal_error"


def test_nothing_is_made_of_somebody_who_was_moved_out_of_reach(lottery: Lottery) -> None:
    res, admin = lottery.res, lottery.person("admin")
    agent = lottery.person(parent=lottery.person("coordinator", parent=admin))
    with in_place_of("statement"):
        report = asking.ask(res, admin, "statement", "json", draw=lottery.draw(), agent_id=agent)["id"]
        with res.sessions.begin() as session:
            other = lottery.person("admin")
            session.execute(text(f"UPDATE users SET parent_id = {other}, ancestors = '{{{other}}}' WHERE id = {agent}"))
        assert make_report(res, report)
    assert asking.one(res, admin, report)["problem"]["code"] == "not_found"


def test_a_document_is_built_with_what_it_was_asked_with(lottery: Lottery) -> None:
    told: list[Scope] = []

    def build(_: Sources, scope: Scope) -> Document:
        told.append(scope)
        return of_rows(1)

    res, owner, draw = lottery.res, lottery.person("admin"), lottery.draw()
    now = res.clock.now()
    with in_place_of(KIND, build):
        make_report(res, asked(lottery, owner, draw=draw))
        make_report(res, asked(lottery, owner, since=now - timedelta(days=1), before=now))
    by_draw, by_period = told
    assert (by_draw.draw.name if by_draw.draw else None, by_draw.since) == (draw, None)
    assert (by_period.draw, by_period.since, by_period.before) == (None, now - timedelta(days=1), now)
    assert {by_draw.top.id, by_period.top.id} == {owner}
