"""Draws: reading them with an ETag, making, moving, closing and voiding them."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import orjson
from flask import Response, request

from actions import draws, voiding
from actions.resources import Resources
from api.answers import json_answer
from api.draw_schemas import Asked, ChangedLimits, DrawBody, DrawList, DrawQuery, MovedCutoff, NewDraw, Reason
from api.operation import Blueprint, Caller, operation
from api.tokens import Actor
from rules.draws import parse_draw_name
from rules.errors import (
    CutoffPassed,
    DrawExists,
    IntakeUnavailable,
    Invalid,
    NoSuchDraw,
    SamePerson,
    WrongState,
)
from rules.limit_items import limits_from_items
from rules.texts import rfc3339

blueprint = Blueprint("draws", __name__, url_prefix="/v1", description="Draws")


def real_name(draw_id: str) -> str:
    """The id, if a draw can have it. Raises NoSuchDraw."""
    if parse_draw_name(draw_id) is None:
        raise NoSuchDraw
    return draw_id


@operation(
    blueprint,
    "GET /draws",
    allowed=Caller.USER,
    query=DrawQuery,
    answers={200: DrawList, 304: None},
    problems=[Invalid],
)
def list_draws(res: Resources, _: Actor, query: dict[str, Any]) -> Response:
    """Draws, open ones first. With If-None-Match and nothing new: 304, whose Date header is the time."""
    body = draws.page(res, **query)
    tag = _tag(body)
    now = _now(res)
    return _tagged({**body, "items": [{**draw, "now": now} for draw in body["items"]]}, tag)


@operation(
    blueprint,
    "GET /draws/<draw_id>",
    allowed=Caller.USER,
    answers={200: DrawBody, 304: None},
    problems=[NoSuchDraw],
)
def get_draw(res: Resources, _: Actor, draw_id: str) -> Response:
    """One draw. With If-None-Match and nothing new: 304, whose Date header is the time."""
    body = draws.one(res, real_name(draw_id))
    return _tagged({**body, "now": _now(res)}, _tag(body))


@operation(
    blueprint,
    "POST /draws",
    allowed="draw.create",
    body=NewDraw,
    answers={201: DrawBody},
    problems=[DrawExists],
)
def create_draw(res: Resources, actor: Actor, body: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """Make a draw beside those of the schedule."""
    return {**draws.create(res, actor.id, **body), "now": _now(res)}, 201


@operation(
    blueprint,
    "PATCH /draws/<draw_id>",
    allowed="draw.move_cutoff",
    body=MovedCutoff,
    answers={200: DrawBody},
    problems=[NoSuchDraw, CutoffPassed, WrongState, IntakeUnavailable],
)
def move_cutoff(res: Resources, actor: Actor, body: dict[str, Any], draw_id: str) -> dict[str, Any]:
    """Move a cutoff that has not come, earlier or later."""
    return {**draws.move_cutoff(res, actor.id, real_name(draw_id), **body), "now": _now(res)}


@operation(
    blueprint,
    "PUT /draws/<draw_id>/limits",
    allowed="draw.limits",
    fresh=True,
    body=ChangedLimits,
    answers={200: DrawBody},
    problems=[NoSuchDraw, CutoffPassed, WrongState, IntakeUnavailable],
)
def set_limits(res: Resources, actor: Actor, body: dict[str, Any], draw_id: str) -> dict[str, Any]:
    """Change the limits of a draw that sells or will sell, at once; what is sold stays sold."""
    name = real_name(draw_id)
    game = name.partition("-")[0]
    limits = limits_from_items(game, body["limits"], body.get("payout_limit"))
    return {**draws.set_limits(res, actor.id, name, limits), "now": _now(res)}


@operation(
    blueprint,
    "POST /draws/<draw_id>/close",
    allowed="draw.close",
    answers={202: DrawBody},
    problems=[NoSuchDraw, WrongState, IntakeUnavailable],
)
def close_draw(res: Resources, actor: Actor, draw_id: str) -> tuple[dict[str, Any], int]:
    """Stop selling for good, before the cutoff."""
    return {**draws.close(res, actor.id, real_name(draw_id)), "now": _now(res)}, 202


@operation(
    blueprint,
    "POST /draws/<draw_id>/void",
    allowed="draw.void",
    fresh=True,
    body=Reason,
    answers={202: Asked},
    problems=[NoSuchDraw, WrongState],
)
def void_draw(res: Resources, actor: Actor, body: dict[str, Any], draw_id: str) -> tuple[dict[str, Any], int]:
    """Ask that the draw be voided; a second person confirms."""
    return voiding.ask(res, actor.id, real_name(draw_id), body["reason"]), 202


@operation(
    blueprint,
    "POST /draws/<draw_id>/void/confirm",
    allowed="draw.void",
    fresh=True,
    answers={202: Asked},
    problems=[NoSuchDraw, WrongState, SamePerson],
)
def confirm_void(res: Resources, actor: Actor, draw_id: str) -> tuple[dict[str, Any], int]:
    """Void the draw: every stake goes back."""
    return voiding.confirm(res, actor.id, real_name(draw_id)), 202


def _now(res: Resources) -> str:
    return rfc3339(res.clock.now())


def _tag(body: dict[str, Any]) -> str:
    return blake2b(orjson.dumps(body, option=orjson.OPT_SORT_KEYS), digest_size=12).hexdigest()


def _tagged(body: dict[str, Any], tag: str) -> Response:
    """The body with its tag, or 304. Weak: two answers with one tag still differ in `now`."""
    known = request.if_none_match.contains_weak(tag)
    response = Response(status=304) if known else json_answer(body)
    response.set_etag(tag, weak=True)
    response.headers["Cache-Control"] = "private, no-cache"
    return response
