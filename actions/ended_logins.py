"""Sessions that have ended: what the gate must hear of them, and how long they are kept.

A sale asks the gate alone whether its session has ended. Whoever ends one commits that in PostgreSQL, then tells the
gate; a sweep tells it what it has not heard.
"""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from actions.resources import Resources
from intake.gate_errors import RETRY_AFTER_S
from models.gate_state import share_generation
from models.logins import delete_logins, is_untold, mark_told, untold_logins
from rules.errors import IntakeUnavailable
from rules.rights import Role

# Sessions that were over so long ago are deleted.
KEPT_DAYS = 90
# The gate remembers an ended session for so long beyond the life of an access token of it: neither clocks that
# differ nor one that is set back bring a token to life again.
ENDED_MARGIN_S = 24 * 60 * 60
_TOLD_MAX = 1_000


def tell_gate(res: Resources) -> int:
    """Tells the gate which sessions ended since it last heard; how many. Safe to repeat.

    Raises IntakeUnavailable: what is left is told by the next call.
    """
    with res.sessions() as session:
        ended = untold_logins(session, _TOLD_MAX)
    if not ended:
        return 0
    generation = res.gate.identity.generation if res.gate.identity else None
    res.gate.end_sessions(ended, remembered_s(res))
    with res.sessions.begin() as session:
        # A rebuild that has begun may have read the sessions before these ended: then the new gate must be told.
        if share_generation(session) != generation:
            return 0
        mark_told(session, ended)
    return len(ended)


def push_ended(res: Resources) -> None:
    """Tells the gate at once, after a commit that ended sessions; if it is away, the sweep tells it."""
    try:
        tell_gate(res)
    except IntakeUnavailable:
        return


def push_end_of(res: Resources, role: Role, login_id: UUID) -> None:
    """As `push_ended`, for the session of somebody of that role.

    Raises IntakeUnavailable where the gate has not heard of an agent's: nobody else sells.
    """
    if role is not Role.AGENT:
        push_ended(res)
        return
    tell_gate(res)
    with res.sessions() as session:
        if is_untold(session, login_id):
            raise IntakeUnavailable(retry_after=RETRY_AFTER_S)


def remembered_s(res: Resources) -> int:
    """How long the gate remembers that a session has ended, in seconds."""
    return res.settings.access_token_minutes * 60 + ENDED_MARGIN_S


def forget_old(res: Resources) -> int:
    """Deletes sessions that were over 90 days ago; how many. Safe to repeat."""
    with res.sessions.begin() as session:
        return delete_logins(session, res.clock.now() - timedelta(days=KEPT_DAYS))
