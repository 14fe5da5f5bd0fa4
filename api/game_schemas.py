"""What the endpoints about games take and answer."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, ValidationError, fields, validate

from api.draw_schemas import GAME, LIMITS_MAX, BetLimit, BetMax, PlayMax
from api.fields import Answer, Day, Line, Minute, Whole, centavos
from rules.limit_items import PAY_MAX, PAY_MIN
from rules.texts import REASON_CHARACTERS_MAX

TIMES_MAX = 48  # in a day
CANCELLED_MAX = 500


def each_once(items: list[Any]) -> None:
    """Raises ValidationError for what is there twice."""
    if len(items) != len(set(items)):
        raise ValidationError("each once")


class CancelledDay(Schema):
    date = Day(required=True)
    reason = Line(most=REASON_CHARACTERS_MAX, required=True)


class GameChange(Schema):
    prize_table = fields.Dict(
        keys=fields.String(validate=validate.Length(1, 40)),
        values=Whole(validate=validate.Range(PAY_MIN, PAY_MAX)),
        metadata={"description": "paid per 1 staked, for every prize class of the game"},
    )
    limits = fields.List(fields.Nested(BetLimit), validate=validate.Length(max=LIMITS_MAX))
    payout_limit = centavos(metadata={"description": "the most that any one outcome may cost"})
    limits_by_number = fields.List(
        fields.Nested(BetLimit),
        validate=validate.Length(max=LIMITS_MAX),
        metadata={"description": "all numbers that have a limit of their own"},
    )
    schedule = fields.List(Minute(), validate=[validate.Length(max=TIMES_MAX), each_once])
    cancelled_dates = fields.List(fields.Nested(CancelledDay), validate=validate.Length(max=CANCELLED_MAX))


class CancelledDate(Answer):
    date = fields.Date(required=True)
    reason = fields.String(required=True)


class GameBody(Answer):
    game = fields.String(required=True, validate=GAME)
    prize_table = fields.Dict(keys=fields.String(), values=fields.Integer(), required=True)
    limits = fields.List(fields.Nested(PlayMax), required=True)
    payout_limit = fields.Integer(required=True)
    limits_by_number = fields.List(fields.Nested(BetMax), required=True)
    schedule = fields.List(fields.String(), required=True)
    cancelled_dates = fields.List(fields.Nested(CancelledDate), required=True)
    changed_at = fields.DateTime(required=True)


class GameAsked(Answer):
    status = fields.String(required=True)
    game = fields.String(required=True)
