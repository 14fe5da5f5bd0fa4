"""Shortcuts for tests of reports: asking, looking at rows and files; and makers that die where they are told."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text

import tasks.make_report
from actions import reports
from actions.resources import Resources, open_resources
from models.reports import Report
from reports.document import Document
from reports.kinds import Scope, Sources
from runtime.clock import Clock
from runtime.settings import Settings
from tasks.make_report import make_report
from tests.integration.conftest import Lottery, Rings
from tests.reporting import document, in_place_of, row, totals

KIND = "exposure"
PERIOD = {"since": datetime(2026, 1, 1, tzinfo=UTC), "before": datetime(2026, 2, 1, tzinfo=UTC)}
# Places where a maker can die.
AT_A_ROW, BEFORE_THE_NAME, BEFORE_THE_ROW = "at a row", "before the name", "before the row"

_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload([__name__])


def asked(lottery: Lottery, owner: int, format: str = "json", **about: Any) -> str:
    """The id of a report of KIND, of PERIOD unless it is about something else."""
    return str(reports.ask(lottery.res, owner, KIND, format, **(about or PERIOD))["id"])


def stored(res: Resources, report_id: str) -> Report:
    with res.sessions() as session:
        return session.scalars(select(Report).where(Report.id == report_id)).one()


def status(res: Resources, report_id: str) -> str:
    return stored(res, report_id).status


def files(res: Resources) -> list[Path]:
    """Everything in the folder of reports."""
    folder = res.settings.reports_dir
    return sorted(folder.iterdir()) if folder.is_dir() else []


def content(res: Resources, owner: int, report_id: str) -> dict[str, Any]:
    with reports.download(res, owner, report_id).file as file:
        return dict(json.loads(file.read()))


def change(res: Resources, report_id: str, what: str) -> None:
    """Sets columns by SQL."""
    with res.sessions.begin() as session:
        session.execute(text(f"UPDATE reports SET {what} WHERE id = :id"), {"id": report_id})


def die_making(settings: Settings, report_id: str, place: str) -> None:
    """Has a process of its own make the report and kills it at that place."""
    maker = _PROCESSES.Process(target=_make_and_die, args=(settings, report_id, place), daemon=True)
    maker.start()
    maker.join()
    assert maker.exitcode == -signal.SIGKILL, maker.exitcode


def _make_and_die(settings: Settings, report_id: str, place: str) -> None:
    def die(*_: Any) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)

    def rows() -> Iterator[tuple[Any, ...]]:
        for number in range(1, 6):
            if place == AT_A_ROW and number == 4:
                die()
            yield row(number)

    def build(_: Sources, __: Scope) -> Document:
        return document(rows(), totals(5))

    res = open_resources(settings, Rings(), Clock(), connections=3, witness=False)
    with in_place_of(KIND, build), pytest.MonkeyPatch.context() as patch:
        if place == BEFORE_THE_NAME:
            patch.setattr(Path, "replace", die)
        elif place == BEFORE_THE_ROW:
            patch.setattr(tasks.make_report, "note_ready", die)
        make_report(res, report_id)
