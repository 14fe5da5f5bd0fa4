"""The audit log, as administrators and operators read it."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields

from actions.audit import page
from actions.resources import Resources
from api.fields import Answer, Instant, Line, Page, list_of
from api.operation import Blueprint, operation
from api.tokens import Actor
from models.audit import AuditFilter
from rules.errors import Invalid, TokenRevoked

_WORD_MAX = 200

blueprint = Blueprint(
    "audit", __name__, url_prefix="/v1", description="The audit log, as administrators and operators read it"
)


class LinkBody(Schema):
    seq = fields.Integer(required=True, metadata={"description": "place in the chain, from 1 without gaps"})
    hash = fields.String(required=True, metadata={"description": "SHA-256 over the hash before and this row, as hex"})


class AuditBody(Answer):
    id = fields.Integer(required=True)
    at = fields.DateTime(required=True)
    actor_id = fields.Integer(required=True, allow_none=True, metadata={"description": "null: the system"})
    actor = fields.String(required=True, allow_none=True, metadata={"description": "username"})
    role = fields.String(required=True, allow_none=True)
    action = fields.String(required=True)
    object = fields.String(required=True, metadata={"description": "user:17, draw:3D-20261122-1400, ticket:…"})
    before = fields.Raw(required=True, allow_none=True)
    after = fields.Raw(required=True, allow_none=True)
    address = fields.String(required=True, allow_none=True)
    request_id = fields.String(required=True, allow_none=True)
    outcome = fields.String(required=True, metadata={"description": "done, or the code of the problem"})
    link = fields.Nested(LinkBody, required=True, allow_none=True, metadata={"description": "null: not chained yet"})


AuditList = list_of(AuditBody)

AuditQuery = Page.from_dict(
    {
        "actor": Line(most=_WORD_MAX, load_default=None, metadata={"description": "a user's id, or a username"}),
        "object": Line(most=_WORD_MAX, load_default=None, metadata={"description": "as in the items: user:17"}),
        "from": Instant(load_default=None),
        "to": Instant(load_default=None),
    },
    name="AuditQuery",
)


@operation(
    blueprint,
    "GET /audit",
    allowed="audit.read",
    query=AuditQuery,
    answers={200: AuditList},
    problems=[TokenRevoked, Invalid],
)
def list_audit(res: Resources, actor: Actor, query: dict[str, Any]) -> dict[str, Any]:
    """Who did what, newest first; refused attempts too. An administrator sees the deeds of his own subtree."""
    wanted = AuditFilter(query["actor"], query["object"], query["from"], query["to"])
    return page(res, actor.id, wanted, query["limit"], query["cursor"])
