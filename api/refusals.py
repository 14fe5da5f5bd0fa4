"""Refused attempts of people who are known: each leaves its row in the audit log.

Not for sales, which are refused all day long for good reasons; not for calls refused by rate, or whoever sends
thousands of them would fill the log as well. A read that a role may not do leaves a line in the program's log.
"""

from __future__ import annotations

from typing import Any

import structlog
from flask import Flask, Response, g, request
from sqlalchemy.exc import SQLAlchemyError

from actions.audit import record
from api.rates import SALES
from api.served import served
from runtime.origin import origin

_READS = frozenset({"GET", "HEAD", "OPTIONS"})
_FORBIDDEN = 403
_NOT_WRITTEN = frozenset({"slow_down"})
# Whoever finds the database away has waited for it once; the log line has to do.
_DATABASE_AWAY = "database_unavailable"

# What a part of a path names.
_KINDS = {
    "user_id": "user",
    "draw_id": "draw",
    "number": "ticket",
    "ticket_id": "ticket",
    "game": "game",
    "claim_id": "claim",
    "sid": "session",
    "letter_id": "dead_letter",
}
OBJECT_CHARACTERS_MAX = 120

_log = structlog.get_logger()


def install(app: Flask) -> None:
    """Registers the hook."""
    app.after_request(_note)


def _note(response: Response) -> Response:
    code = g.get("problem_code")
    if response.status_code < 400 or code is None or code in _NOT_WRITTEN:
        return response
    if origin().actor_id is None or request.endpoint in SALES:
        return response
    reads = request.method in _READS
    if reads and response.status_code != _FORBIDDEN:
        return response
    action, about = g.get("action") or request.endpoint or "", _about(request.view_args or {})
    _log.warning("refused", actor_id=origin().actor_id, action=action, about=about, outcome=code)
    if not reads and code != _DATABASE_AWAY:
        _write(action, about, code)
    return response


def _write(action: str, about: str, code: str) -> None:
    try:
        with served().res.sessions.begin() as session:
            record(session, action, about, outcome=code)
    except SQLAlchemyError as error:
        _log.warning("refusal_not_written", error=type(error).__name__)


def _about(parts: dict[str, Any]) -> str:
    """ "user:17", "draw:3D-…"; the path where it names nothing."""
    named = [f"{kind}:{parts[part]}" for part, kind in _KINDS.items() if part in parts]
    about = (named[-1] if named else request.path)[:OBJECT_CHARACTERS_MAX]
    return "".join(character if character.isprintable() else "?" for character in about)
