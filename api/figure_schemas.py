"""Schemas of live sales and exposure."""

from __future__ import annotations

from marshmallow import Schema, fields

from api.draw_schemas import GAME, PLAY, STATUS, NumberLeft
from api.fields import Answer, Day, Digits


class SalesQuery(Schema):
    user_id = Digits(load_default=None, metadata={"description": "of him and everyone below him; by default yourself"})


class DayQuery(SalesQuery):
    date = Day(load_default=None)  # of the draws; today in Manila
    game = fields.String(validate=GAME, load_default=None)


class Sold(Answer):
    tickets = fields.Integer(required=True)
    stake = fields.Integer(required=True)
    voids = fields.Integer(required=True)
    voided_stake = fields.Integer(required=True)
    net = fields.Integer(required=True, metadata={"description": "stake - voided_stake"})


class SoldOfDraw(Sold):
    draw_id = fields.String(required=True)
    status = fields.String(required=True, validate=STATUS)


class SoldOfGame(Sold):
    game = fields.String(required=True)


class SoldBelow(Sold):
    user_id = fields.Integer(required=True)
    username = fields.String(required=True)
    role = fields.String(required=True)


class Lag(Answer):
    records = fields.Integer(required=True, metadata={"description": "accepted and not stored yet"})
    seconds = fields.Float(required=True, metadata={"description": "since anything was stored while these wait"})


class _Figures(Answer):
    at = fields.DateTime(required=True, metadata={"description": "when it was counted, a second ago at most"})
    counted = fields.String(
        required=True,
        metadata={"description": "`at the gate`: every accepted ticket; `as stored`: without what `journal` says"},
    )
    journal = fields.Nested(Lag, required=True, allow_none=True, metadata={"description": "null: the gate is away"})
    below = fields.List(
        fields.Nested(SoldBelow),
        required=True,
        metadata={"description": "the branches right below, as stored, the largest first"},
    )


class DrawSales(_Figures, SoldOfDraw):
    pass


class DaySales(_Figures):
    date = fields.Date(required=True)
    total = fields.Nested(Sold, required=True)
    games = fields.List(fields.Nested(SoldOfGame), required=True)
    draws = fields.List(fields.Nested(SoldOfDraw), required=True)


class Standing(Answer):
    play = fields.String(required=True, validate=PLAY)
    number = fields.String(required=True, metadata={"description": "rambolito: its digits in order"})
    left = fields.Integer(required=True, metadata={"description": "under both kinds of limit"})
    stake = fields.Integer(metadata={"description": "administrators and operators only, and what follows"})
    limit = fields.Integer()
    payout = fields.Integer(metadata={"description": "of all bets, if the worst outcome that it covers is drawn"})


class Exposure(Answer):
    draw_id = fields.String(required=True)
    status = fields.String(required=True, validate=STATUS)
    at = fields.DateTime(required=True)
    items = fields.List(fields.Nested(Standing), required=True)
    sold_out = fields.List(fields.Nested(NumberLeft), required=True)
