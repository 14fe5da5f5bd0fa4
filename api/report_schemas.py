"""What the endpoints about reports take and answer."""

from __future__ import annotations

from marshmallow import Schema, fields, validate

from api.fields import Answer, Instant, Line, Whole, list_of
from models.base import BIGINT_MAX
from rules.reports import REPORT_FORMATS, REPORT_KINDS

REPORT_STATUSES = ["waiting", "running", "ready", "failed", "expired"]
DRAW_ID_CHARACTERS_MAX = 40

ReportAsked = Schema.from_dict(
    {
        "kind": fields.String(required=True, validate=validate.OneOf(REPORT_KINDS)),
        "format": fields.String(required=True, validate=validate.OneOf(REPORT_FORMATS)),
        "draw_id": Line(most=DRAW_ID_CHARACTERS_MAX, load_default=None, allow_none=True),
        "from": Instant(load_default=None, allow_none=True),
        "to": Instant(load_default=None, allow_none=True),
        "agent_id": Whole(
            load_default=None,
            allow_none=True,
            validate=validate.Range(1, BIGINT_MAX),
            metadata={"description": "whose statement, of somebody below you; your own if left out"},
        ),
    },
    name="ReportAsked",
)

Parameters = Schema.from_dict(
    {
        "draw_id": fields.String(required=True, allow_none=True),
        "from": fields.DateTime(required=True, allow_none=True),
        "to": fields.DateTime(required=True, allow_none=True),
        "agent_id": fields.Integer(required=True, allow_none=True),
    },
    name="ReportParameters",
)


class ReportProgress(Schema):
    rows = fields.Integer(required=True, metadata={"description": "written so far"})
    total = fields.Integer(
        required=True, allow_none=True, metadata={"description": "of so many; null: not known beforehand"}
    )


class ReportProblem(Schema):
    code = fields.String(required=True, metadata={"description": "of the table of problem codes"})
    detail = fields.String(required=True)


class ReportBody(Answer):
    id = fields.UUID(required=True)
    kind = fields.String(required=True, validate=validate.OneOf(REPORT_KINDS))
    format = fields.String(required=True, validate=validate.OneOf(REPORT_FORMATS))
    parameters = fields.Nested(Parameters, required=True)
    by_itself = fields.Boolean(
        required=True, metadata={"description": "made when a draw settled; nobody had to ask for it"}
    )
    status = fields.String(required=True, validate=validate.OneOf(REPORT_STATUSES))
    progress = fields.Nested(ReportProgress, required=True)
    asked_at = fields.DateTime(required=True)
    started_at = fields.DateTime(
        required=True, allow_none=True, metadata={"description": "the figures are those of this instant"}
    )
    finished_at = fields.DateTime(required=True, allow_none=True)
    expires_at = fields.DateTime(
        required=True, allow_none=True, metadata={"description": "until then it can be downloaded"}
    )
    bytes = fields.Integer(required=True, allow_none=True)
    sha256 = fields.String(required=True, allow_none=True, metadata={"description": "of the file, as hex"})
    problem = fields.Nested(
        ReportProblem, required=True, allow_none=True, metadata={"description": "why there is no file"}
    )


ReportList = list_of(ReportBody)
