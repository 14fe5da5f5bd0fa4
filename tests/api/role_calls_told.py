"""The calls about notifications, with a body that is right, for whoever makes them."""

from __future__ import annotations

from tests.api import role_rules as rules
from tests.api.role_rules import Sent, Walk

WALKS = [
    Walk("GET /v1/notifications", "notification.read", lambda tree, step: Sent()),
    Walk("POST /v1/notifications/read", "notification.read", lambda tree, step: Sent(body={"up_to": 0})),
    Walk(
        "POST /v1/notifications/{notification_id}/read",
        "notification.read",
        lambda tree, step: Sent({"notification_id": tree.told(step.about())}),
        rule=rules.told_to,
        targets=rules.everybody,
    ),
    Walk(
        "POST /v1/notifications",
        "notification.make",
        lambda tree, step: Sent(body={"title": "The walk", "text": "goes on", "under": step.about().id}),
        rule=rules.in_subtree,
        targets=rules.everybody,
    ),
]
