"""What the endpoints about draws take and answer."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields, post_load, validate

from api.fields import Answer, Day, Instant, Line, Minute, Page, centavos, list_of
from rules.draws import DrawStatus
from rules.games import GAMES, PLAYS
from rules.limit_items import limits_from_items
from rules.texts import REASON_CHARACTERS_MAX

GAME = validate.OneOf(list(GAMES))
PLAY = validate.OneOf(PLAYS)
STATUS = validate.OneOf([status.value for status in DrawStatus])
# What a body of 64 KiB holds, at up to 75 bytes an item.
LIMITS_MAX = 700


class BetLimit(Schema):
    play = fields.String(required=True, validate=PLAY)
    number = Line(most=16, metadata={"description": "the one number that this is for; left out: all others"})
    max = centavos(required=True, metadata={"description": "stake on one number, a rambolito's on its sorted number"})


class PlayMax(Answer):
    play = fields.String(required=True, validate=PLAY)
    max = fields.Integer(required=True)


class BetMax(PlayMax):
    number = fields.String(metadata={"description": "the one number that this is for, a rambolito's sorted"})


class NumberLeft(Answer):
    play = fields.String(required=True, validate=PLAY)
    number = fields.String(required=True)
    left = fields.Integer(required=True)


class DrawBody(Answer):
    id = fields.String(required=True)
    game = fields.String(required=True, validate=GAME)
    date = fields.Date(required=True)
    time = Minute(required=True)
    opens_at = fields.DateTime(required=True)
    cutoff_at = fields.DateTime(required=True)
    draws_at = fields.DateTime(required=True)
    status = fields.String(required=True, validate=STATUS)
    result = fields.String(metadata={"description": "once two persons have entered it"})
    prize_table = fields.Dict(
        keys=fields.String(),
        values=fields.Integer(),
        required=True,
        metadata={"description": "paid per 1 staked"},
    )
    limits = fields.List(fields.Nested(BetMax), required=True)
    payout_limit = fields.Integer(required=True, metadata={"description": "the most that any one outcome may cost"})
    sold_out = fields.List(fields.Nested(NumberLeft), required=True)
    now = fields.DateTime(metadata={"description": "the server's clock; left out of the ETag"})


DrawList = list_of(DrawBody)


class DrawQuery(Page):
    status = fields.String(validate=STATUS, load_default=None)
    date = Day(load_default=None)
    game = fields.String(validate=GAME, load_default=None)


class NewDraw(Schema):
    game = fields.String(required=True, validate=GAME)
    date = Day(required=True)
    time = Minute(required=True)
    opens_at = Instant(allow_none=True)
    cutoff_at = Instant(allow_none=True)
    draws_at = Instant(allow_none=True)
    limits = fields.List(fields.Nested(BetLimit), allow_none=True, validate=validate.Length(max=LIMITS_MAX))
    payout_limit = centavos(allow_none=True)

    @post_load
    def as_limits(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        """The limits under the names that rules.limits has for them. Raises rules.errors.Invalid."""
        items, payout = data.pop("limits", None) or [], data.pop("payout_limit", None)
        return {**data, "limits": limits_from_items(data["game"], items, payout)}


class ChangedLimits(Schema):
    limits = fields.List(
        fields.Nested(BetLimit),
        required=True,
        validate=validate.Length(max=LIMITS_MAX),
        metadata={"description": "a play left out keeps its limit; a number left out has none of its own any more"},
    )
    payout_limit = centavos(metadata={"description": "the most that any one outcome may cost; left out it stays"})


class MovedCutoff(Schema):
    cutoff_at = Instant(required=True)
    draws_at = Instant(required=True)
    reason = Line(most=REASON_CHARACTERS_MAX, required=True)


class Reason(Schema):
    reason = Line(most=REASON_CHARACTERS_MAX, required=True)


class DrawnNumber(Schema):
    number = Line(most=16, required=True, metadata={"description": "046 in 3D, 08-20 in 2D"})
    date = Day(required=True)
    time = Minute(required=True)


class Correction(DrawnNumber):
    reason = Line(most=REASON_CHARACTERS_MAX, required=True)


class PaidTooMuch(Answer):
    """A ticket that was paid more than the current result gives it; centavos."""

    number = fields.String(required=True)
    agent_id = fields.Integer(required=True)
    paid = fields.Integer(required=True)
    prize = fields.Integer(required=True)
    excess = fields.Integer(required=True)


PaidTooMuchList = list_of(PaidTooMuch)


class Asked(Answer):
    """How far something is that two persons decide."""

    status = fields.String(required=True)
    draw_id = fields.String(required=True)
    reason = fields.String()
    version = fields.Integer(metadata={"description": "of a confirmed result"})
    result = fields.String(metadata={"description": "once confirmed"})


class Step(Answer):
    name = fields.String(required=True)
    status = fields.String(required=True)
    started_at = fields.DateTime(required=True, allow_none=True)
    finished_at = fields.DateTime(required=True, allow_none=True)


class Settlement(Answer):
    draw_id = fields.String(required=True)
    status = fields.String(required=True)
    version = fields.Integer(required=True)
    steps = fields.List(fields.Nested(Step), required=True)
    winners = fields.Integer(required=True, metadata={"description": "tickets"})
    prizes = fields.Integer(required=True)


class SealBody(Answer):
    tree_size = fields.Integer(required=True)
    merkle_root = fields.String(required=True, metadata={"description": "64 hex digits"})
    sealed_at = fields.DateTime(required=True)
    late = fields.Boolean(required=True)
    restored = fields.Integer(required=True)
    gaps = fields.List(fields.Raw(), required=True)
    count = fields.Integer(metadata={"description": "with a login"})
    voided = fields.Integer(metadata={"description": "with a login"})
    annulled = fields.Integer(metadata={"description": "with a login: refused by the database, and annulled by two"})
    stake = fields.Integer(metadata={"description": "with a login: of the tickets that count"})
    reason = fields.String(allow_none=True, metadata={"description": "with a login: of a late seal"})
