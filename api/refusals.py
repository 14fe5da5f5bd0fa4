"""Refused attempts of people who are known: each leaves its row in the audit log.

Not for sales, which are refused all day long for good reasons; not for calls refused by rate, or whoever sends
thousands of them would fill the log as well. A read that a role may not do leaves a line in the program's log. No
answer waits for its row.
"""

from __future__ import annotations

from typing import Any

import structlog
from flask import Flask, Response, g, request

from api.rates import SALES
from api.refusal_writer import Refusal
from api.served import served
from runtime.origin import origin

_READS = frozenset({"GET", "HEAD", "OPTIONS"})
_FORBIDDEN = 403
_NOT_WRITTEN = frozenset({"slow_down"})
# Not to be written where it is away; the log line has to do.
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
    if response.status_code < 400 or request.endpoint in SALES:
        return response
    code = g.get("problem_code")
    if code is None or code in _NOT_WRITTEN or origin().actor_id is None:
        return response
    reads = request.method in _READS
    if reads and response.status_code != _FORBIDDEN:
        return response
    action, about = g.get("action") or request.endpoint or "", _about(request.view_args or {})
    _log.warning("refused", actor_id=origin().actor_id, action=action, about=about, outcome=code)
    if not reads and code != _DATABASE_AWAY:
        here = served()
        here.refusals.put(Refusal(origin(), here.res.clock.now(), action, about, code))
    return response


def _about(parts: dict[str, Any]) -> str:
    """ "user:17", "draw:3D-…"; the path where it names nothing."""
    named = [f"{kind}:{parts[part]}" for part, kind in _KINDS.items() if part in parts]
    about = (named[-1] if named else request.path)[:OBJECT_CHARACTERS_MAX]
    return "".join(character if character.isprintable() else "?" for character in about)
