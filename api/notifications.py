"""What one was told, and telling others."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields, validate

from actions import notifications
from actions.resources import Resources
from api.auth_schemas import ROLES
from api.fields import Answer, Line, OneLine, Page, Whole, list_of
from api.operation import Blueprint, operation
from api.tokens import Actor
from models.base import BIGINT_MAX
from rules.errors import Invalid, NotFound, TokenRevoked
from rules.notifications import KINDS, TEXT_CHARACTERS_MAX, TITLE_CHARACTERS_MAX
from rules.rights import Role

blueprint = Blueprint("notifications", __name__, url_prefix="/v1", description="What one was told, and telling others")


class NotificationBody(Answer):
    id = fields.Integer(required=True)
    at = fields.DateTime(required=True)
    kind = fields.String(required=True, metadata={"description": f"there may be more: {', '.join(KINDS)}"})
    title = fields.String(required=True)
    text = fields.String(required=True)
    data = fields.Dict(required=True, metadata={"description": "the same for programs; by kind"})
    made_by = fields.Integer(required=True, allow_none=True, metadata={"description": "null: the system"})
    read_at = fields.DateTime(required=True, allow_none=True, metadata={"description": "null: you have not read it"})


NotificationList = list_of(NotificationBody).from_dict(
    {"unread": fields.Integer(required=True, metadata={"description": "all that you have not read, on any page"})},
    name="NotificationList",
)


class NotificationQuery(Page):
    unread = fields.String(
        load_default="0",
        validate=validate.OneOf(["0", "1"]),
        metadata={"description": "1: only what you have not read"},
    )


class NewNotification(Schema):
    title = OneLine(most=TITLE_CHARACTERS_MAX, required=True)
    text = Line(most=TEXT_CHARACTERS_MAX, required=True)
    roles = fields.List(
        fields.String(validate=validate.OneOf(ROLES)),
        validate=validate.Length(1, len(ROLES)),
        load_default=None,
        allow_none=True,
        metadata={"description": "only those of them who have one of these roles"},
    )
    under = Whole(
        load_default=None,
        allow_none=True,
        metadata={"description": "everyone at or below this user of your subtree; if not given, yourself, and for a "
                  "superadmin everybody"},
    )  # fmt: skip


class UpTo(Schema):
    up_to = Whole(
        required=True,
        validate=validate.Range(0, BIGINT_MAX),
        metadata={"description": "the id of the newest one that you were shown"},
    )


class AllRead(Answer):
    read = fields.Integer(required=True, metadata={"description": "how many were not read before"})
    unread = fields.Integer(required=True, metadata={"description": "how many came since"})


@operation(
    blueprint,
    "GET /notifications",
    allowed="notification.read",
    query=NotificationQuery,
    answers={200: NotificationList},
    problems=[TokenRevoked, Invalid],
)
def list_notifications(res: Resources, actor: Actor, query: dict[str, Any]) -> dict[str, Any]:
    """What you were told, newest first."""
    return notifications.page(res, actor.id, query["limit"], query["cursor"], unread=query["unread"] == "1")


@operation(
    blueprint,
    "POST /notifications/<int:notification_id>/read",
    allowed="notification.read",
    answers={200: NotificationBody},
    problems=[NotFound, TokenRevoked],
)
def read_notification(res: Resources, actor: Actor, notification_id: int) -> dict[str, Any]:
    """Mark one as read; again: the time of the first call stays."""
    return notifications.read(res, actor.id, notification_id)


@operation(
    blueprint,
    "POST /notifications/read",
    allowed="notification.read",
    body=UpTo,
    answers={200: AllRead},
    problems=[TokenRevoked],
)
def read_notifications(res: Resources, actor: Actor, body: dict[str, int]) -> dict[str, int]:
    """Mark everything as read up to the newest one that you were shown."""
    return notifications.read_up_to(res, actor.id, body["up_to"])


@operation(
    blueprint,
    "POST /notifications",
    allowed="notification.make",
    body=NewNotification,
    answers={200: NotificationBody},
    problems=[NotFound, TokenRevoked],
)
def make_notification(res: Resources, actor: Actor, body: dict[str, Any]) -> dict[str, Any]:
    """Tell others. The same words to the same people within ten minutes are told once."""
    roles = None if body["roles"] is None else [Role(name) for name in body["roles"]]
    return notifications.make(res, actor.id, body["title"], body["text"], roles, body["under"])
