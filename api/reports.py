"""Reports: asked for, followed while they are made, downloaded by whoever asked for them."""

from __future__ import annotations

from typing import Any

from flask import Response, request
from werkzeug.wsgi import FileWrapper

from actions import reports
from actions.resources import Resources
from api.draws import real_name
from api.fields import Page
from api.operation import Blueprint, operation
from api.report_schemas import ReportAsked, ReportBody, ReportList
from api.tokens import Actor
from rules import errors

SENT_AT_ONCE_BYTES = 64 * 1024

blueprint = Blueprint(
    "reports",
    __name__,
    url_prefix="/v1",
    description="Reports: asked for, followed while they are made, downloaded by whoever asked for them",
)


@operation(
    blueprint,
    "POST /reports",
    allowed="report.read",
    body=ReportAsked,
    answers={202: ReportBody},
    problems=[errors.TokenRevoked, errors.NotFound, errors.NoSuchDraw, errors.TooManyReports],
)
def ask_for_report(res: Resources, actor: Actor, body: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """Ask for a report about a draw, or about a period `from` <= … < `to` of a year at the most. An equal request gets
    the same report as long as that is new enough."""
    draw = None if body["draw_id"] is None else real_name(body["draw_id"])
    about = {"draw": draw, "since": body["from"], "before": body["to"], "agent_id": body["agent_id"]}
    return reports.ask(res, actor.id, body["kind"], body["format"], **about), 202


@operation(
    blueprint,
    "GET /reports",
    allowed="report.read",
    query=Page,
    answers={200: ReportList},
    problems=[errors.TokenRevoked],
)
def list_reports(res: Resources, actor: Actor, query: dict[str, Any]) -> dict[str, Any]:
    """Your own reports, newest first; also those that are made by themselves when a draw settles."""
    return reports.page(res, actor.id, **query)


@operation(
    blueprint,
    "GET /reports/<report_id>",
    allowed="report.read",
    answers={200: ReportBody},
    problems=[errors.NotFound, errors.TokenRevoked],
)
def get_report(res: Resources, actor: Actor, report_id: str) -> dict[str, Any]:
    """One of your own reports, and how far it is."""
    return reports.one(res, actor.id, report_id)


@operation(
    blueprint,
    "GET /reports/<report_id>/download",
    allowed="report.read",
    answers={200: None, 304: None},
    problems=[
        errors.NotFound,
        errors.TokenRevoked,
        errors.ReportNotReady,
        errors.ReportFailed,
        errors.ReportDamaged,
        errors.ReportExpired,
        errors.ReportUnavailable,
    ],
)
def download_report(res: Resources, actor: Actor, report_id: str) -> Response:
    """The file of one of your own reports. Its ETag is its SHA-256, which X-Checksum-SHA256 tells, too."""
    found = reports.download(res, actor.id, report_id)
    known = request.if_none_match.contains(found.sha256)
    if known or request.method == "HEAD":
        found.file.close()
        response = Response(status=304 if known else 200)
    else:
        response = Response(FileWrapper(found.file, SENT_AT_ONCE_BYTES), direct_passthrough=True)
    response.set_etag(found.sha256)
    response.headers["Cache-Control"] = "private, no-cache"
    if not known:
        response.headers["Content-Type"] = found.media_type
        response.headers["Content-Length"] = str(found.size_bytes)
        response.headers["Content-Disposition"] = f'attachment; filename="{found.name}"'
        response.headers["X-Checksum-SHA256"] = found.sha256
    return response
