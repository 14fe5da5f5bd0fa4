"""Making a report: from one snapshot of the database into a file, which is whole before its row says that it is ready.

Whoever makes it holds a lock until the snapshot's transaction ends, as it does when its process dies; so the next try
knows that nobody else is at it. Each try writes a file of its own name. A try that was thought dead and was not finds
the row in another's hands, and takes its file away again.
"""

from __future__ import annotations

import time
import uuid
from datetime import timedelta
from functools import partial
from typing import Any

import structlog
from celery import Task, shared_task
from celery.exceptions import SoftTimeLimitExceeded
from sqlalchemy.orm import Session

from actions.failure_kinds import AWAY, PERMANENT, kind_of
from actions.resources import Resources
from intake.gate_errors import Unreconciled
from models.draws import Draw
from models.people import User, subtree_user
from models.reports import MadeFile, Report, give_back, lock_making, note_failed, note_progress, note_ready, take
from models.session import STATEMENT_S, snapshot
from reports import formats
from reports.document import Document
from reports.folder import ReportFolder, new_name
from reports.formats.rows import Made
from reports.kinds import Scope, Sources
from reports.progress import Progress
from reports.registry import KINDS
from rules.errors import NotFound, Problem, ReportTooLarge
from rules.rights import Role

# One that was begun so often and never came to an end will not do so the next time.
TRIES_MAX = 12

# The code of a report that failed for a mistake of ours, as the API calls it.
INTERNAL_ERROR = "internal_error"
_TOO_LONG = "It takes too long to make; ask for a shorter period."
_OURS = "Something went wrong on our side; it is looked at."

_log = structlog.get_logger()


class NeverFinished(RuntimeError):
    """The report was begun again and again, and nobody finished it or said why not."""


def make_report(res: Resources, report_id: str) -> bool:
    """Makes the report's file; False: somebody else does, or there is nothing left to make.

    What its kind or format says against it is the report's own end. Raises what else goes wrong: what is away or may
    pass is tried again, and a mistake of ours ends the report, too.
    """
    key = uuid.UUID(report_id)
    with snapshot(res.sessions) as session:
        if not lock_making(session, key):
            return False
        with res.sessions.begin() as own:
            report = take(own, key, new_name(key), res.clock.now())
        if report is None:
            return False
        if report.tries > TRIES_MAX:
            _fail(res, report, INTERNAL_ERROR, _OURS)
            raise NeverFinished(report_id)
        began = time.monotonic()
        try:
            _make(res, session, report)
        except SoftTimeLimitExceeded:
            _fail(res, report, ReportTooLarge.code, _TOO_LONG)
        except Problem as problem:
            if kind_of(problem) == AWAY:
                _give_back(res, report)
                raise
            _fail(res, report, problem.code, problem.detail)
        except Exception as error:
            if kind_of(error) == AWAY and time.monotonic() - began >= STATEMENT_S:
                # A statement that was given up looks like a server that does not answer, and would be given up again.
                _fail(res, report, ReportTooLarge.code, _TOO_LONG)
                return True
            if kind_of(error) == PERMANENT:
                _fail(res, report, INTERNAL_ERROR, _OURS)
            raise
    return True


def _make(res: Resources, session: Session, report: Report) -> None:
    progress = Progress(partial(_note_progress, res, report))
    document, made = _built(res, session, report)
    folder = ReportFolder(res.settings.reports_dir)
    assert report.file is not None
    written = folder.write(report.file, partial(formats.write, report.format, progress.watched(document), made))
    now = res.clock.now()
    with res.sessions.begin() as own:
        file = MadeFile(written.size_bytes, written.sha256, progress.done)
        ready = note_ready(own, report, file, now, now + timedelta(days=res.settings.report_days))
    if not ready:
        folder.remove(report.file)
        return
    _log.info("report_ready", report=str(report.id), kind=report.kind, format=report.format, bytes=written.size_bytes)


def _built(res: Resources, session: Session, report: Report) -> tuple[Document, Made]:
    """Raises what the kind does, and NotFound where the owner reaches no longer what he asked about."""
    owner = session.get_one(User, report.owner_id)
    top = subtree_user(session, owner, report.top_id)
    kind = KINDS[report.kind]
    if top is None or Role(owner.role) not in kind.roles:
        raise NotFound
    draw = session.get_one(Draw, report.draw_id) if report.draw_id is not None else None
    assert report.started_at is not None
    sources = Sources(session, res.gate, res.journal, report.started_at, res.settings.claim_days)
    document = kind.build(sources, Scope(top, draw, report.since, report.before))
    asked_by = f"drawbreak for {owner.username}" if report.by_itself else owner.username
    return document, Made(asked_by, report.asked_at, report.started_at)


def _note_progress(res: Resources, report: Report, done: int, total: int | None) -> None:
    """In a transaction of its own, so that it is seen while the report is made."""
    with res.sessions.begin() as own:
        note_progress(own, report, done, total)


def _give_back(res: Resources, report: Report) -> None:
    with res.sessions.begin() as own:
        give_back(own, report)


def _fail(res: Resources, report: Report, code: str, detail: str) -> None:
    with res.sessions.begin() as own:
        failed = note_failed(own, report, code, detail, res.clock.now())
    if failed:
        _log.warning("report_failed", report=str(report.id), kind=report.kind, code=code, detail=detail)


@shared_task(name="reports.make", bind=True)
def reports_make(self: Task[Any, Any], report_id: str) -> None:
    """Rung when a report was asked for, and by the sweep."""
    try:
        make_report(self.app.resources, report_id)  # most kinds do without the gate
    except Unreconciled:
        self.app.run_with_resources(make_report, report_id)
