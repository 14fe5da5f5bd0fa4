"""What the endpoints about people take and answer."""

from __future__ import annotations

from marshmallow import Schema, fields, validate

from actions.users import PASSWORD_CHARACTERS_MAX, PASSWORD_CHARACTERS_MIN, USERNAME
from api.fields import Answer, Line, Whole, centavos, list_of, patterned
from rules.rights import Role

ROLES = [role.value for role in Role]
# Names are taken in any case and kept in lower case.
_USERNAME = USERNAME.pattern.replace("a-z", "A-Za-z")
# Far above any name or password there is; what is longer is not even looked up.
_CREDENTIAL_CHARACTERS_MAX = 256


class Credentials(Schema):
    username = fields.String(required=True, validate=validate.Length(1, _CREDENTIAL_CHARACTERS_MAX))
    password = fields.String(required=True, validate=validate.Length(1, _CREDENTIAL_CHARACTERS_MAX))


class UserName(Answer):
    id = fields.Integer(required=True)
    username = fields.String(required=True)
    role = fields.String(required=True, validate=validate.OneOf(ROLES))


class Login(Answer):
    access_token = fields.String(required=True)
    token_type = fields.String(required=True, validate=validate.Equal("Bearer"))
    expires_in = fields.Integer(required=True, metadata={"description": "seconds"})
    user = fields.Nested(UserName, required=True)


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
    created_at = fields.DateTime(required=True)
    wallet = fields.Nested(WalletBody, required=True)


UserList = list_of(UserBody)


class NewUser(Schema):
    username = patterned(_USERNAME, description="in any case; kept in lower case")
    password = fields.String(required=True, validate=validate.Length(PASSWORD_CHARACTERS_MIN, PASSWORD_CHARACTERS_MAX))
    role = fields.String(required=True, validate=validate.OneOf(ROLES))
    parent_id = Whole(allow_none=True, metadata={"description": "of your subtree; yourself if not given"})
    full_name = Line(allow_none=True)
    phone = Line(most=40, allow_none=True)
    address = Line(most=500, allow_none=True)
    commission_bp = Whole(validate=validate.Range(0, 10_000), metadata={"description": "hundredths of a percent"})
    credit_limit = centavos(metadata={"description": "above 0 from administrators only: anybody else gets 403"})


class Load(Schema):
    amount = centavos(least=1, required=True)
    kind = fields.String(required=True, validate=validate.OneOf(["load"]))
    note = Line(most=500, allow_none=True, load_default=None)


class Loaded(Answer):
    entry_id = fields.Integer(required=True)
    balance = fields.Integer(required=True)
