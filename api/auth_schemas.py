"""What the endpoints about logins take and answer."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from api.fields import Answer, Line, list_of
from rules.rights import Role

ROLES = [role.value for role in Role]
# Far above any name or password there is; what is longer is not even looked up.
CREDENTIAL_CHARACTERS_MAX = 256
OTP_CHARACTERS_MAX = 16
DEVICE_CHARACTERS_MAX = 100


def _credential(**options: Any) -> fields.String:
    return fields.String(validate=validate.Length(1, CREDENTIAL_CHARACTERS_MAX), **options)


def _otp(**options: Any) -> fields.String:
    metadata = {"description": "the code that the device shows now"}
    return fields.String(validate=validate.Length(1, OTP_CHARACTERS_MAX), metadata=metadata, **options)


class Credentials(Schema):
    username = _credential(required=True)
    password = _credential(required=True)
    otp = _otp(load_default=None, allow_none=True)
    device = Line(
        most=DEVICE_CHARACTERS_MAX,
        load_default=None,
        allow_none=True,
        metadata={"description": "names the terminal in the list of sessions; always the same on one terminal"},
    )


class UserName(Answer):
    id = fields.Integer(required=True)
    username = fields.String(required=True)
    role = fields.String(required=True, validate=validate.OneOf(ROLES))


class AccessToken(Answer):
    access_token = fields.String(required=True)
    token_type = fields.String(required=True, validate=validate.Equal("Bearer"))
    expires_in = fields.Integer(required=True, metadata={"description": "seconds"})


class TokenPair(AccessToken):
    refresh_token = fields.String(required=True)
    user = fields.Nested(UserName, required=True)
    must_change_password = fields.Boolean(
        required=True, metadata={"description": "nothing but POST /v1/me/password is left until then"}
    )


class Proof(Schema):
    """One of the two."""

    password = _credential()
    otp = _otp()

    @validates_schema
    def one_of_the_two(self, data: dict[str, Any], **_: Any) -> None:
        if len(data) != 1:
            raise ValidationError("password or otp, one of the two")


class PasswordChange(Schema):
    current = _credential(required=True)
    # How long it may be is said with everything else that makes it a bad one.
    new = _credential(required=True)


class OwnPassword(Schema):
    password = _credential(required=True)


class Otp(Schema):
    otp = _otp(required=True)


class TotpSecret(Answer):
    secret = fields.String(required=True, metadata={"description": "base32; shown only now"})
    uri = fields.String(required=True, metadata={"description": "otpauth://, to be shown as a QR code"})


class SessionBody(Answer):
    id = fields.UUID(required=True)
    device = fields.String(required=True)
    address = fields.String(required=True, metadata={"description": "where the login came from"})
    created_at = fields.DateTime(required=True)
    last_used_at = fields.DateTime(required=True, metadata={"description": "of its newest refresh"})
    expires_at = fields.DateTime(required=True)
    current = fields.Boolean(required=True, metadata={"description": "the session that asks"})


SessionList = list_of(SessionBody)
