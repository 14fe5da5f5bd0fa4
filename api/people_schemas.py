"""What the endpoints about people take and answer."""

from __future__ import annotations

from marshmallow import Schema, fields, validate

from actions.credit import KINDS
from actions.passwords import PASSWORD_CHARACTERS_MAX, PASSWORD_CHARACTERS_MIN
from actions.users import USERNAME
from api.auth_schemas import ROLES, UserName
from api.fields import Answer, Day, Line, Whole, centavos, list_of, patterned
from reports.tickets.paper import DEFAULT_PAPER, PAPERS

# Names are taken in any case and kept in lower case.
_USERNAME = USERNAME.pattern.replace("a-z", "A-Za-z")


class WalletBody(Answer):
    balance = fields.Integer(required=True)
    credit_limit = fields.Integer(required=True)
    available = fields.Integer(
        required=True,
        metadata={"description": "balance and credit limit, less the sales that have reached the database"},
    )


class UserBody(UserName):
    parent_id = fields.Integer(required=True, allow_none=True)
    status = fields.String(required=True, validate=validate.OneOf(["active", "suspended"]))
    full_name = fields.String(required=True, allow_none=True)
    phone = fields.String(required=True, allow_none=True)
    address = fields.String(required=True, allow_none=True)
    commission_bp = fields.Integer(required=True)
    ticket_template = fields.String(required=True)
    ticket_paper = fields.Integer(required=True, validate=validate.OneOf(list(PAPERS)))
    created_at = fields.DateTime(required=True)
    wallet = fields.Nested(WalletBody, required=True)


UserList = list_of(UserBody)


def _ticket_template() -> Line:
    return Line(most=32, metadata={"description": "by which his tickets are printed; `default` if not given"})


def _ticket_paper() -> Whole:
    return Whole(
        validate=validate.OneOf(list(PAPERS)),
        metadata={"description": f"of his printer, mm; {DEFAULT_PAPER} if not given"},
    )


class NewUser(Schema):
    username = patterned(_USERNAME, description="in any case; kept in lower case")
    password = fields.String(required=True, validate=validate.Length(PASSWORD_CHARACTERS_MIN, PASSWORD_CHARACTERS_MAX))
    role = fields.String(required=True, validate=validate.OneOf(ROLES))
    parent_id = Whole(allow_none=True, metadata={"description": "of your subtree; yourself if not given"})
    full_name = Line(allow_none=True)
    phone = Line(most=40, allow_none=True)
    address = Line(most=500, allow_none=True)
    commission_bp = Whole(validate=validate.Range(0, 10_000), metadata={"description": "hundredths of a percent"})
    ticket_template = _ticket_template()
    ticket_paper = _ticket_paper()
    credit_limit = centavos(metadata={"description": "above 0 from administrators only: anybody else gets 403"})


class UserChange(Schema):
    full_name = Line(allow_none=True)
    phone = Line(most=40, allow_none=True)
    address = Line(most=500, allow_none=True)
    commission_bp = Whole(validate=validate.Range(0, 10_000), metadata={"description": "hundredths of a percent"})
    ticket_template = _ticket_template()
    ticket_paper = _ticket_paper()
    credit_limit = centavos(metadata={"description": "from administrators only: anybody else gets 403"})
    parent_id = Whole(metadata={"description": "of your subtree; only agents can be moved"})


class Why(Schema):
    reason = Line(most=500, required=True)


class OneTimePassword(Answer):
    password = fields.String(
        required=True, metadata={"description": "shown this once; good for 24 hours, and only for choosing another"}
    )


class WalletChange(Schema):
    amount = centavos(least=1, required=True)
    kind = fields.String(required=True, validate=validate.OneOf(KINDS))
    note = Line(most=500, allow_none=True, load_default=None)


class WalletChanged(Answer):
    entry_id = fields.Integer(required=True)
    balance = fields.Integer(required=True)


class LedgerItem(Answer):
    entry_id = fields.Integer(required=True)
    at = fields.DateTime(required=True)
    kind = fields.String(required=True)
    amount = fields.Integer(required=True, metadata={"description": "added to the wallet; negative: taken from it"})
    draw_id = fields.String(required=True, allow_none=True)
    ticket = fields.String(required=True, allow_none=True, metadata={"description": "its number, of a claim"})
    note = fields.String(required=True, allow_none=True)
    made_by = fields.Integer(required=True, allow_none=True, metadata={"description": "null: the system"})


LedgerList = list_of(LedgerItem)


class SummaryQuery(Schema):
    date = Day(load_default=None)


class Summary(Answer):
    user_id = fields.Integer(required=True)
    date = fields.Date(required=True, metadata={"description": "in Manila; today if not asked for"})
    sales = fields.Integer(required=True)
    voids = fields.Integer(required=True, metadata={"description": "and what was given back with a voided draw"})
    prizes_paid = fields.Integer(required=True, metadata={"description": "what winners got in their hands"})
    commission = fields.Integer(required=True)
    remitted = fields.Integer(required=True, metadata={"description": "handed in (credit), less handed back (debit)"})
    to_remit = fields.Integer(
        required=True, metadata={"description": "sales - voids - prizes_paid - commission - remitted"}
    )
