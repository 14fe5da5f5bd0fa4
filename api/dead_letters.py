"""Dead letters: records that the database refused, tasks that failed for good, messages that nobody understood."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields, validate

from actions import annulling, dead_letters
from actions.resources import Resources
from api.draw_schemas import Reason
from api.fields import Answer, Line, Page, list_of
from api.operation import Blueprint, operation
from api.tokens import Actor
from models.dead_letters import LetterFilter
from rules.errors import ContentsDiffer, NotFound, TicketNotDiscardable, WrongState

KINDS = ["record", "task", "message"]
STATUSES = ["waiting", "replayed", "annulled", "discarded"]
ALL = "all"

blueprint = Blueprint(
    "dead_letters",
    __name__,
    url_prefix="/v1",
    description="Dead letters: what the database refused, what failed for good, what nobody understood",
)


class AboutTicket(Schema):
    what = fields.String(required=True, validate=validate.OneOf(["ticket", "void", "cancel"]))
    number = fields.String(required=True, allow_none=True, metadata={"description": "null: an id that was never sold"})
    id = fields.UUID(required=True)
    agent_id = fields.Integer(required=True)
    stake = fields.Integer(required=True)


class AnnulAsked(Schema):
    asked_by = fields.Integer(required=True)
    asked_at = fields.DateTime(required=True)
    reason = fields.String(required=True)
    confirmed_by = fields.Integer(required=True, allow_none=True, metadata={"description": "null: it waits for him"})


class LetterItem(Answer):
    id = fields.Integer(required=True)
    kind = fields.String(required=True, validate=validate.OneOf(KINDS))
    status = fields.String(required=True, validate=validate.OneOf(STATUSES))
    queue = fields.String(required=True)
    task = fields.String(
        required=True, allow_none=True, metadata={"description": "its name; of a message what it seemed to ask for"}
    )
    arguments = fields.Raw(required=True, allow_none=True, metadata={"description": "of a task: a list"})
    draw_id = fields.String(required=True, allow_none=True, metadata={"description": "of a record"})
    position = fields.String(required=True, allow_none=True, metadata={"description": "of a record: in its journal"})
    record = fields.Nested(
        AboutTicket, required=True, allow_none=True, metadata={"description": "null: no ticket's, or unreadable"}
    )
    error = fields.String(required=True)
    sqlstate = fields.String(required=True, allow_none=True)
    attempts = fields.Integer(required=True)
    first_at = fields.DateTime(required=True)
    last_at = fields.DateTime(required=True)
    annul = fields.Nested(AnnulAsked, required=True, allow_none=True)
    ended_by = fields.Integer(
        required=True, allow_none=True, metadata={"description": "null: it succeeded later, or at the command line"}
    )
    ended_at = fields.DateTime(required=True, allow_none=True)
    reason = fields.String(required=True, allow_none=True, metadata={"description": "of whoever ended it"})


class LetterBody(LetterItem):
    body = fields.String(required=True, allow_none=True, metadata={"description": "of a record or a message"})
    traceback = fields.String(required=True, allow_none=True)


LetterList = list_of(LetterItem)


class LetterQuery(Page):
    status = fields.String(load_default="waiting", validate=validate.OneOf([*STATUSES, ALL]))
    kind = fields.String(load_default=None, validate=validate.OneOf(KINDS))
    draw_id = Line(most=40, load_default=None)


class AnnulWaits(Answer):
    """A second person has to send the same."""

    status = fields.String(required=True, validate=validate.Equal("awaiting_confirmation"))
    id = fields.Integer(required=True)
    reason = fields.String(required=True)


@operation(blueprint, "GET /dead-letters", allowed="dead_letters.read", query=LetterQuery, answers={200: LetterList})
def list_letters(res: Resources, _: Actor, query: dict[str, Any]) -> dict[str, Any]:
    """Dead letters, newest first; those that wait, unless another status is asked for."""
    status = None if query["status"] == ALL else query["status"]
    wanted = LetterFilter(status, query["kind"], query["draw_id"])
    return dead_letters.page(res, wanted, query["limit"], query["cursor"])


@operation(
    blueprint,
    "GET /dead-letters/<int:letter_id>",
    allowed="dead_letters.read",
    answers={200: LetterBody},
    problems=[NotFound],
)
def get_letter(res: Resources, _: Actor, letter_id: int) -> dict[str, Any]:
    """One dead letter, with its body and traceback."""
    return dead_letters.one(res, letter_id)


@operation(
    blueprint,
    "POST /dead-letters/<int:letter_id>/replay",
    allowed="dead_letters.change",
    answers={200: LetterBody},
    problems=[NotFound, WrongState],
)
def replay_letter(res: Resources, actor: Actor, letter_id: int) -> dict[str, Any]:
    """Store the record now, or have the task tried again. A record that the database still refuses: 409, and it waits
    on. A task that fails again gets a new letter. A letter that was replayed already answers with itself.
    """
    done, reason = dead_letters.replay(res, letter_id, actor.id)
    if not done:
        raise WrongState(f"It cannot be replayed: {reason}")
    return dead_letters.one(res, letter_id)


@operation(
    blueprint,
    "POST /dead-letters/<int:letter_id>/discard",
    allowed="dead_letters.change",
    body=Reason,
    answers={200: LetterBody},
    problems=[NotFound, TicketNotDiscardable, WrongState],
)
def discard_letter(res: Resources, actor: Actor, body: dict[str, str], letter_id: int) -> dict[str, Any]:
    """Give up a task or a message. A ticket's record is never discarded."""
    dead_letters.discard(res, letter_id, body["reason"], actor.id)
    return dead_letters.one(res, letter_id)


@operation(
    blueprint,
    "POST /dead-letters/<int:letter_id>/annul",
    allowed="dead_letters.change",
    fresh=True,
    body=Reason,
    answers={200: LetterBody, 202: AnnulWaits},
    problems=[NotFound, WrongState, ContentsDiffer],
)
def annul_letter(res: Resources, actor: Actor, body: dict[str, str], letter_id: int) -> tuple[dict[str, Any], int]:
    """Annul a ticket that the database will not take, with its voids, once its draw is closed: one person asks (202),
    another sends the same (200). Its stake goes back to the agent's credit.
    """
    status, answer = annulling.annul(res, actor.id, letter_id, body["reason"])
    return answer, status
