"""Results, settlement and seals."""

from __future__ import annotations

from typing import Any

from actions import corrections, results, seals
from actions.resources import Resources
from api.draw_schemas import Asked, Correction, DrawnNumber, PaidTooMuchList, Reason, SealBody, Settlement
from api.draws import real_name
from api.fields import Page
from api.operation import Blueprint, Caller, operation
from api.tokens import Actor
from rules.errors import (
    DatabaseUnavailable,
    NoSuchDraw,
    NotSealed,
    NotSettled,
    NumbersDiffer,
    OtherDraw,
    SamePerson,
    TooEarly,
    WrongState,
)

blueprint = Blueprint("results", __name__, url_prefix="/v1", description="Results, settlement and seals")

_ENTRY = [NoSuchDraw, NotSealed, OtherDraw, TooEarly, WrongState]


@operation(
    blueprint,
    "POST /draws/<draw_id>/result",
    allowed="result.enter",
    fresh=True,
    body=DrawnNumber,
    answers={202: Asked},
    problems=_ENTRY,
)
def enter_result(res: Resources, actor: Actor, body: dict[str, Any], draw_id: str) -> tuple[dict[str, Any], int]:
    """Enter the result of a sealed draw; a second person confirms."""
    return results.enter(res, actor.id, real_name(draw_id), **body), 202


@operation(
    blueprint,
    "POST /draws/<draw_id>/result/confirm",
    allowed="result.enter",
    fresh=True,
    body=DrawnNumber,
    answers={202: Asked},
    problems=[*_ENTRY, SamePerson, NumbersDiffer],
)
def confirm_result(res: Resources, actor: Actor, body: dict[str, Any], draw_id: str) -> tuple[dict[str, Any], int]:
    """Enter the same result as the second person: settlement starts."""
    return results.confirm(res, actor.id, real_name(draw_id), **body), 202


@operation(
    blueprint,
    "POST /draws/<draw_id>/correction",
    allowed="correction",
    fresh=True,
    body=Correction,
    answers={202: Asked},
    problems=[NoSuchDraw, NotSealed, OtherDraw, WrongState],
)
def enter_correction(res: Resources, actor: Actor, body: dict[str, Any], draw_id: str) -> tuple[dict[str, Any], int]:
    """Enter what was drawn in truth, where a wrong result stands; a second person confirms."""
    return corrections.ask(res, actor.id, real_name(draw_id), **body), 202


@operation(
    blueprint,
    "POST /draws/<draw_id>/correction/confirm",
    allowed="correction",
    fresh=True,
    body=Correction,
    answers={202: Asked},
    problems=[NoSuchDraw, NotSealed, OtherDraw, WrongState, SamePerson, NumbersDiffer],
)
def confirm_correction(res: Resources, actor: Actor, body: dict[str, Any], draw_id: str) -> tuple[dict[str, Any], int]:
    """Enter the same correction as the second person: the draw is settled again, and pays nothing meanwhile."""
    return corrections.confirm(res, actor.id, real_name(draw_id), **body), 202


@operation(
    blueprint,
    "GET /draws/<draw_id>/paid-in-error",
    allowed="paid_in_error.read",
    fresh=True,
    query=Page,
    answers={200: PaidTooMuchList},
    problems=[NoSuchDraw, NotSettled],
)
def list_paid_in_error(res: Resources, _: Actor, query: dict[str, Any], draw_id: str) -> dict[str, Any]:
    """Tickets that were paid more than the corrected result gives them, newest first."""
    return corrections.paid_in_error(res, real_name(draw_id), **query)


@operation(
    blueprint,
    "GET /draws/<draw_id>/settlement",
    allowed="settlement.read",
    answers={200: Settlement},
    problems=[NoSuchDraw, NotSealed, WrongState],
)
def get_settlement(res: Resources, _: Actor, draw_id: str) -> dict[str, Any]:
    """How far the settlement is, and what it has found."""
    return results.settlement(res, real_name(draw_id))


@operation(
    blueprint,
    "POST /draws/<draw_id>/settle",
    allowed="settlement.resume",
    answers={202: Settlement},
    problems=[NoSuchDraw, NotSealed, WrongState],
)
def resume_settlement(res: Resources, _: Actor, draw_id: str) -> tuple[dict[str, Any], int]:
    """Resume a settlement that is stuck."""
    return results.resume(res, real_name(draw_id)), 202


@operation(
    blueprint,
    "GET /draws/<draw_id>/seal",
    allowed=Caller.ANYONE_OR_USER,
    answers={200: SealBody},
    problems=[NoSuchDraw, NotSealed, DatabaseUnavailable],
)
def get_seal(res: Resources, actor: Actor | None, draw_id: str) -> dict[str, Any]:
    """The published seal; with a login also count, voided and stake."""
    return seals.published(res, real_name(draw_id), full=actor is not None)


@operation(
    blueprint,
    "POST /draws/<draw_id>/seal",
    allowed="draw.seal_late",
    fresh=True,
    body=Reason,
    answers={202: Asked},
    problems=[NoSuchDraw, WrongState],
)
def ask_late_seal(res: Resources, actor: Actor, body: dict[str, Any], draw_id: str) -> tuple[dict[str, Any], int]:
    """Ask for a late seal of a draw that was not sealed by draws_at."""
    return seals.ask_late(res, actor.id, real_name(draw_id), body["reason"]), 202


@operation(
    blueprint,
    "POST /draws/<draw_id>/seal/confirm",
    allowed="draw.seal_late",
    fresh=True,
    answers={202: Asked},
    problems=[NoSuchDraw, WrongState, SamePerson],
)
def confirm_late_seal(res: Resources, actor: Actor, draw_id: str) -> tuple[dict[str, Any], int]:
    """Confirm a late seal as the second superadmin."""
    return seals.confirm_late(res, actor.id, real_name(draw_id)), 202
