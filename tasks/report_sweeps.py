"""Reports that nobody makes, those whose time is over, and files that nobody knows."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from celery import Task, shared_task

from actions.resources import Resources
from models.reports import expire_some, files_in_use, forget_old, ring_due
from reports.folder import ReportFolder, delete
from tasks.found import found

MAKE = "reports.make"

# Rings under way at a time: a person's own request waits behind so many of the small ones that are made by themselves.
RINGS_MAX = 20

EXPIRED_AT_ONCE = 500
# Longer than any try may take: a draft that is younger may be somebody's work.
LEFT_AFTER = timedelta(hours=1)


def sweep_reports(res: Resources) -> int:
    """Rings for reports that wait, or whose maker has died; how many."""
    with res.sessions.begin() as session:
        due = ring_due(session, RINGS_MAX)
    for report in due:
        res.doorbell.ring(MAKE, str(report.id))
    found("sweep.reports", reports=sum(report.late for report in due))
    return len(due)


def expire_reports(res: Resources) -> int:
    """Deletes files whose time is over, and what dead processes left; then the rows of those long gone. How many files.

    Safe to repeat: a file whose row says expired, and that is still there, is one that nobody knows.
    """
    folder, now = ReportFolder(res.settings.reports_dir), res.clock.now()
    expired = 0
    while True:
        with res.sessions.begin() as session:
            files = expire_some(session, now, EXPIRED_AT_ONCE)
        for file in files:
            folder.remove(file)
        expired += len(files)
        if len(files) < EXPIRED_AT_ONCE:
            break
    left = _sweep_left(res, folder.older_than((now - LEFT_AFTER).timestamp()))
    with res.sessions.begin() as session:
        forgotten = forget_old(session, now - timedelta(days=res.settings.report_days))
    found("reports.expire", expired=expired, files=left, rows=forgotten)
    return expired + left


def _sweep_left(res: Resources, paths: Iterable[tuple[str, Path]]) -> int:
    """Deletes those that no row knows; how many."""
    paths, left = iter(paths), 0
    while some := list(islice(paths, EXPIRED_AT_ONCE)):
        with res.sessions() as session:
            known = files_in_use(session, {name for name, _ in some})
        for name, path in some:
            # A draft that old is nobody's work, even if its row waits for the next try.
            if name not in known or path.name != name:
                delete(path)
                left += 1
    return left


@shared_task(name="sweep.reports", bind=True)
def sweep_reports_task(self: Task[Any, Any]) -> None:
    """Every second."""
    sweep_reports(self.app.resources)  # whatever the gate's state is


@shared_task(name="reports.expire", bind=True)
def reports_expire(self: Task[Any, Any]) -> None:
    """Every hour, where the files are written."""
    expire_reports(self.app.resources)
