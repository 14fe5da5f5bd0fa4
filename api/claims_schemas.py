"""What the endpoints about claims, holds and reprints take and answer."""

from __future__ import annotations

from marshmallow import Schema, fields, validate

from api.fields import Answer, Line, Page, list_of
from api.ticket_schemas import CODE_CHARACTERS_MAX, Receipt

CLAIM_STATUSES = ["pending", "paid", "rejected", "dropped"]
PHONE_CHARACTERS_MAX = 40
ID_NO_CHARACTERS_MAX = 60


class Payee(Schema):
    """Who gets the money, as an identity card says it."""

    name = Line(required=True)
    phone = Line(most=PHONE_CHARACTERS_MAX, required=True)
    id_no = Line(most=ID_NO_CHARACTERS_MAX, required=True)


class ClaimAsked(Schema):
    code = fields.String(required=True, validate=validate.Length(1, CODE_CHARACTERS_MAX))
    payee = fields.Nested(
        Payee,
        allow_none=True,
        load_default=None,
        metadata={"description": "needed where the prize has to be approved"},
    )


class Paid(Answer):
    """`prize` is what this claim paid: after a correction, the rest. `paid` is the cash for the payee."""

    claim_id = fields.Integer(required=True)
    prize = fields.Integer(required=True)
    tax = fields.Integer(required=True)
    paid = fields.Integer(required=True, metadata={"description": "prize less tax"})


class ApprovalNeeded(Answer):
    """It pays by itself when approved: follow it with GET /v1/claims/{claim_id}, and hand out nothing before."""

    status = fields.String(required=True, validate=validate.Equal("approval_needed"))
    claim_id = fields.Integer(required=True)
    prize = fields.Integer(required=True)
    tax = fields.Integer(required=True)


class ClaimBody(Answer):
    id = fields.Integer(required=True)
    number = fields.String(required=True)
    draw_id = fields.String(
        required=True, allow_none=True, metadata={"description": "null: a winner of an older system"}
    )
    status = fields.String(required=True, validate=validate.OneOf(CLAIM_STATUSES))
    prize = fields.Integer(required=True)
    tax = fields.Integer(required=True)
    paid = fields.Integer(required=True, metadata={"description": "prize less tax, once it is paid; else 0"})
    payee = fields.Nested(Payee, required=True, allow_none=True)
    claimed_by = fields.Integer(required=True)
    claimed_at = fields.DateTime(required=True)
    decided_by = fields.Integer(required=True, allow_none=True)
    decided_at = fields.DateTime(required=True, allow_none=True)
    reason = fields.String(required=True, allow_none=True)


ClaimList = list_of(ClaimBody)


class ClaimQuery(Page):
    status = fields.String(load_default=None, validate=validate.OneOf(CLAIM_STATUSES))


class HoldBody(Answer):
    number = fields.String(required=True)
    held = fields.Boolean(required=True)
    held_at = fields.DateTime(required=True, allow_none=True)
    held_by = fields.Integer(required=True, allow_none=True)
    reason = fields.String(required=True, allow_none=True)


class Copy(Receipt):
    copy = fields.Integer(required=True, metadata={"description": "print it: the first copy is 1", "maximum": 2})
