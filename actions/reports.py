"""Reports as people ask for them: asked for, looked at while they are made, downloaded by their owner."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any, BinaryIO, NamedTuple

import structlog
from sqlalchemy import func, insert
from sqlalchemy.orm import Session

from actions.audit import record
from actions.equal_reports import Wanted, equality
from actions.pages import cursor_after, place_of
from actions.resources import Resources
from actions.subtree import acting, reachable
from models.draws import Draw, draw_by_name
from models.people import User
from models.reports import Report, equal_report, lock_reports_of, note_damaged, reports_page, waiting_of
from reports.folder import Damaged, ReportFolder, Written
from reports.formats import MEDIA_TYPES
from reports.kinds import About
from reports.registry import KINDS
from rules.draws import manila_date
from rules.errors import (
    FieldError,
    Forbidden,
    Invalid,
    NoSuchDraw,
    NotFound,
    ReportDamaged,
    ReportExpired,
    ReportFailed,
    ReportNotReady,
    ReportUnavailable,
    TooManyReports,
)
from rules.reports import FRESH_S, check_period, file_name
from rules.rights import Role

RETRY_AFTER_S = 5  # when the folder cannot be read
# Of one user's: whoever needs more of them at once has to wait.
UNFINISHED_MAX = 20

# What is about to be deleted is not given for an equal request.
LEFT_TO_DOWNLOAD = timedelta(hours=1)

_log = structlog.get_logger()


class Download(NamedTuple):
    """A report's file at its beginning, to be read and closed by whoever sends it."""

    file: BinaryIO
    name: str
    media_type: str
    size_bytes: int
    sha256: str


def ask(
    res: Resources,
    actor_id: int,
    kind: str,
    format: str,
    *,
    draw: str | None = None,
    since: datetime | None = None,
    before: datetime | None = None,
    agent_id: int | None = None,
) -> dict[str, Any]:
    """Asks for a report, or gives the one that answers an equal request of the actor's.

    Raises TokenRevoked, Forbidden (the kind is not for his role), Invalid, NoSuchDraw, NotFound (agent out of reach),
    TooManyReports.
    """
    with res.sessions.begin() as session:
        actor = acting(session, actor_id)
        _check_kind(actor, kind, draw, since, before, agent_id)
        top = actor if agent_id is None else reachable(session, actor, agent_id)
        about = None if draw is None else _draw(session, draw)
        lock_reports_of(session, actor.id)
        report, is_new = _equal_or_new(res, session, actor, Wanted(kind, format, top, about, since, before))
        body = _body(res, report, about)
        asked = {"kind": kind, "format": format, **body["parameters"], "equal_to_earlier": not is_new}
        record(session, "report.read", f"report:{report.id}", after=asked)
    if is_new:
        res.doorbell.ring("reports.make", str(report.id))
    return body


def page(res: Resources, actor_id: int, limit: int, cursor: str | None) -> dict[str, Any]:
    """{"items", "next"} of the actor's own reports, newest first. Raises TokenRevoked, Invalid (cursor)."""
    before = place_of(cursor)
    with res.sessions() as session:
        actor = acting(session, actor_id)
        rows = reports_page(session, actor.id, limit + 1, before)
        items = [_body(res, row, _draw_of(session, row)) for row in rows[:limit]]
    return {"items": items, "next": cursor_after(rows, limit, lambda row: row.number)}


def one(res: Resources, actor_id: int, report_id: str) -> dict[str, Any]:
    """How far one of his own reports is. Raises TokenRevoked, NotFound."""
    with res.sessions() as session:
        report = _own(session, actor_id, report_id)
        return _body(res, report, _draw_of(session, report))


def download(res: Resources, actor_id: int, report_id: str) -> Download:
    """The file of one of his own reports, as it was made.

    Raises TokenRevoked, NotFound, ReportNotReady, ReportFailed, ReportExpired, ReportDamaged, ReportUnavailable.
    """
    with res.sessions() as session:
        report = _own(session, actor_id, report_id)
        draw = _draw_of(session, report)
    status = _status(res, report)
    if status == "expired":
        raise ReportExpired
    if status == "failed":
        raise ReportFailed(report.detail, reason=report.code)
    if status != "ready":
        raise ReportNotReady
    assert report.file is not None
    assert report.size_bytes is not None
    assert report.sha256 is not None
    try:
        file = ReportFolder(res.settings.reports_dir).open(report.file, Written(report.size_bytes, report.sha256))
    except Damaged as problem:
        _log.error("report_damaged", report=str(report.id), file=report.file, reason=str(problem))
        damaged = ReportDamaged()
        with res.sessions.begin() as session:
            note_damaged(session, report, damaged.code, damaged.detail, res.clock.now())
        raise damaged from problem
    except OSError as problem:
        _log.error("report_unavailable", report=str(report.id), reason=str(problem))
        raise ReportUnavailable(retry_after=RETRY_AFTER_S) from problem
    name, media_type = _name(report, draw), MEDIA_TYPES[report.format]
    return Download(file, name, media_type, report.size_bytes, report.sha256.hex())


# ── what may be asked ───────────────────────────────────────────────────────────────────────────────────────


def _check_kind(
    actor: User, name: str, draw: str | None, since: datetime | None, before: datetime | None, agent_id: int | None
) -> None:
    """Whether the kind is for him, and told what it needs and nothing else."""
    kind = KINDS.get(name)
    if kind is None:
        raise Invalid(errors=[{"path": "kind", "message": f"one of {', '.join(KINDS)}"}])
    if Role(actor.role) not in kind.roles:
        raise Forbidden
    errors = _wrong_about(kind.about, draw is not None, since is not None, before is not None)
    if agent_id is not None and name != "statement":
        errors.append({"path": "agent_id", "message": "only of a statement"})
    if errors:
        raise Invalid(errors=errors)
    if since is not None and before is not None:
        check_period(since, before)


def _wrong_about(about: About, draw: bool, since: bool, before: bool) -> list[FieldError]:
    """What is missing of what the kind has to be told, or told and not for it."""
    wants_draw = about is About.DRAW or (about is About.EITHER and not (since or before))
    wants_draw |= about is About.DRAW_OR_LIVE and draw
    wants_period = about is About.PERIOD or (about is About.EITHER and (since or before))
    one_of = " or a period" if about is About.EITHER else ""
    return [
        {"path": path, "message": f"this kind needs {what}" if wanted else f"this kind takes no {no}"}
        for path, told, wanted, what, no in (
            ("draw_id", draw, wants_draw, f"a draw{one_of}", "draw" + (" beside a period" if one_of else "")),
            ("from", since, wants_period, "both ends of a period", "period"),
            ("to", before, wants_period, "both ends of a period", "period"),
        )
        if told != wanted
    ]


def _draw(session: Session, name: str) -> Draw:
    draw = draw_by_name(session, name)
    if draw is None:
        raise NoSuchDraw
    return draw


def _equal_or_new(res: Resources, session: Session, actor: User, wanted: Wanted) -> tuple[Report, bool]:
    """The report, and whether it is a new one. The actor's other requests wait meanwhile."""
    now, same = res.clock.now(), equality(session, wanted)
    fresh, kept = now - timedelta(seconds=FRESH_S), now + LEFT_TO_DOWNLOAD
    if earlier := equal_report(session, actor.id, same.digest, fresh, kept):
        return earlier, False
    if waiting_of(session, actor.id) >= UNFINISHED_MAX:
        raise TooManyReports(f"{UNFINISHED_MAX} of your reports are not made yet.")
    asked = {"owner_id": actor.id, "kind": wanted.kind, "format": wanted.format, "top_id": wanted.top.id}
    about = {"draw_id": wanted.draw and wanted.draw.id, "since": wanted.since, "before": wanted.before}
    row = insert(Report).values(**asked, **about, **same._asdict(), asked_at=now, rung_at=func.now())
    return session.scalars(row.returning(Report)).one(), True


# ── one's own ───────────────────────────────────────────────────────────────────────────────────────────────


def _own(session: Session, actor_id: int, report_id: str) -> Report:
    """Somebody else's is not found, whoever asks."""
    actor = acting(session, actor_id)
    try:
        key = uuid.UUID(report_id)
    except ValueError as error:
        raise NotFound from error
    report = session.get(Report, key)
    if report is None or report.owner_id != actor.id:
        raise NotFound
    return report


def _draw_of(session: Session, report: Report) -> Draw | None:
    return None if report.draw_id is None else session.get_one(Draw, report.draw_id)


def _status(res: Resources, report: Report) -> str:
    """Its time may be over before a sweep has come."""
    over = report.status == "ready" and report.expires_at is not None and report.expires_at <= res.clock.now()
    return "expired" if over else report.status


def _body(res: Resources, report: Report, draw: Draw | None) -> dict[str, Any]:
    status = _status(res, report)
    ready = status == "ready"
    return {
        "id": str(report.id),
        "kind": report.kind,
        "format": report.format,
        "parameters": {
            "draw_id": draw and draw.name,
            "from": _instant(report.since),
            "to": _instant(report.before),
            "agent_id": None if report.top_id == report.owner_id else report.top_id,
        },
        "by_itself": report.by_itself,
        "status": status,
        "progress": {"rows": report.rows_done, "total": report.rows_total},
        "asked_at": _instant(report.asked_at),
        "started_at": _instant(report.started_at),
        "finished_at": _instant(report.finished_at),
        "expires_at": _instant(report.expires_at),
        "bytes": report.size_bytes if ready else None,
        "sha256": report.sha256.hex() if ready and report.sha256 else None,
        "problem": {"code": report.code, "detail": report.detail} if status == "failed" else None,
    }


def _instant(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def _name(report: Report, draw: Draw | None) -> str:
    """draw_sales_3D-20261122-1400.pdf, statement_2026-11-01_2026-12-01.xlsx."""
    if draw is not None:
        about = [draw.name]
    elif report.since is not None and report.before is not None:
        about = [manila_date(report.since).isoformat(), manila_date(report.before).isoformat()]
    else:
        about = [manila_date(report.started_at or report.asked_at).isoformat()]
    whose = [] if report.top_id == report.owner_id else [f"user-{report.top_id}"]
    return file_name(report.kind, *about, *whose, extension=report.format)
