"""Probes. Live: the process answers. Ready: it can sell.

Without the gate nothing can be sold: 503. Without the database sales go on, the journal holds them; a
balancer that took every process out because of it would stop what still works, so it is shown and does not
count. A broker that is away only costs rings.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from marshmallow import fields
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from actions.resources import Resources
from api.fields import Answer
from api.operation import Blueprint, Caller, operation
from api.served import Served, served
from intake.gate_errors import Unreconciled
from models.draws import Position, draws_in
from rules.errors import IntakeUnavailable

blueprint = Blueprint("health", __name__, url_prefix="/health", description="Probes")


class Live(Answer):
    status = fields.String(required=True)


class Dependency(Answer):
    name = fields.String(required=True)
    ok = fields.Boolean(required=True)
    matters = fields.Boolean(required=True, metadata={"description": "without it this process cannot sell"})
    detail = fields.String(required=True, allow_none=True)


class Ready(Answer):
    status = fields.String(required=True, metadata={"description": "ready, degraded or unavailable"})
    dependencies = fields.List(fields.Nested(Dependency), required=True)
    journal_lag = fields.Integer(
        required=True, allow_none=True, metadata={"description": "records that have not reached the database"}
    )
    gate_memory_share = fields.Float(
        required=True,
        allow_none=True,
        metadata={"description": "used of what the server may use; null: no bound"},
    )
    uptime_seconds = fields.Float(required=True)


@operation(blueprint, "GET /live", allowed=Caller.ANYONE, answers={200: Live})
def live(_: Resources, __: None) -> dict[str, str]:
    """The process answers."""
    return {"status": "live"}


@operation(blueprint, "GET /ready", allowed=Caller.ANYONE, answers={200: Ready, 503: Ready})
def ready(res: Resources, _: None) -> tuple[dict[str, Any], int]:
    """Whether this process can sell, and how everything that it works with is doing."""
    here = served()
    share: list[float | None] = [None]
    lag: list[int | None] = [None]
    dependencies = [
        _dependency("gate", True, lambda: _look_at_gate(here, share)),
        _dependency("database", False, lambda: _look_at_database(res)),
        _dependency("broker", False, here.broker.refusal),
    ]
    if all(found["ok"] for found in dependencies[:2]):
        dependencies.append(_dependency("journal", False, lambda: _look_at_journal(res, lag)))
    if here.leaving.is_set():
        dependencies.append(_dependency("process", True, lambda: "about to end"))
    away = [found for found in dependencies if not found["ok"]]
    unavailable = any(found["matters"] for found in away)
    body = {
        "status": "unavailable" if unavailable else "degraded" if away else "ready",
        "dependencies": dependencies,
        "journal_lag": lag[0],
        "gate_memory_share": share[0],
        "uptime_seconds": (res.clock.now() - here.started_at).total_seconds(),
    }
    return body, 503 if unavailable else 200


def _dependency(name: str, matters: bool, look: Callable[[], str | None]) -> dict[str, Any]:
    detail = look()
    return {"name": name, "ok": detail is None, "matters": matters, "detail": detail}


def _look_at_gate(here: Served, share: list[float | None]) -> str | None:
    try:
        used, allowed = here.res.gate.memory()
    except Unreconciled as error:
        here.background.wake()
        return error.why
    except IntakeUnavailable:
        return "no answer"
    share[0] = round(used / allowed, 4) if allowed else None
    if here.res.gate.identity is None:
        here.background.wake()
        return "not reconciled yet"
    return None


def _look_at_database(res: Resources) -> str | None:
    try:
        with res.sessions() as session:
            session.execute(text("SELECT 1"))
    except SQLAlchemyError as error:
        return type(error).__name__
    return None


def _look_at_journal(res: Resources, lag: list[int | None]) -> str | None:
    try:
        with res.sessions() as session:
            draws = draws_in(session, "open", "closed", "voiding")
            stored = {draw.name: session.get(Position, draw.id) for draw in draws}
        heads = res.journal.last(list(stored)) if stored else {}
    except SQLAlchemyError as error:
        return type(error).__name__
    except IntakeUnavailable:
        return "no answer"
    lag[0] = sum(_behind(heads[name], position) for name, position in stored.items())
    return None


def _behind(head: tuple[int, int] | None, stored: Position | None) -> int:
    """Records between a journal's head and what is stored; voids before the last ticket are not counted."""
    if head is None:
        return 0
    serial, sub = (stored.serial, stored.sub) if stored else (0, 0)
    return head[0] - serial + head[1] if head[0] > serial else max(0, head[1] - sub)
