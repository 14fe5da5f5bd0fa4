"""A token outlives its user for some minutes; what it may do does not."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import text

from actions.resources import Resources
from api.served import served
from api.tokens import Actor, Made
from rules.rights import Role
from tests.api.conftest import Caller, People


def is_revoked(answer: Any) -> bool:
    return (answer.status_code, answer.json["code"]) == (401, "token_revoked")


def test_a_suspended_user_lists_no_tickets(people: People, res: Resources) -> None:
    for role in ("agent", "coordinator", "operator", "admin"):
        caller = people.of_role(role)
        assert caller("GET /v1/tickets").status_code == 200
        with res.sessions.begin() as session:
            session.execute(text("UPDATE users SET status = 'suspended' WHERE id = :id"), {"id": caller.id})
        assert is_revoked(caller("GET /v1/tickets")), role
        assert is_revoked(caller("GET /v1/users")) or role == "agent"


def test_a_user_who_is_not_there_lists_no_tickets(people: People) -> None:
    with people.agent.app.app_context():
        now = datetime.now(UTC)
        tokens = served().tokens
        made = Made(1, now, now + timedelta(days=1), tokens.ring.signing().kid)
        actor = Actor(999_999, "gone", Role.AGENT, str(uuid.uuid4()))
        pair = tokens.pair(actor, made)
    assert is_revoked(Caller(people.agent.app, pair["access_token"])("GET /v1/tickets"))
