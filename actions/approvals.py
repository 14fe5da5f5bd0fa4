"""Steps that need two persons: the first one's request is kept, the second one's name is written to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import func
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from models.draws import PendingApproval
from models.people import suspended_among
from rules.errors import SamePerson, WrongState


def keep_request(session: Session, about: str, kind: str, actor_id: int, content: Mapping[str, Any]) -> None:
    """Keeps the first person's request about a draw (its name), a game or a dead letter; only he may replace it.

    The row of the draw or the game, of a dead letter that of its draw's position, must be locked. Raises WrongState
    when another person's request waits.
    """
    if confirmed_request(session, about, kind) is not None:
        raise WrongState("Two persons have agreed on this already.")
    waiting = request_that_waits(session, about, kind)
    if waiting is not None and waiting.asked_by != actor_id:
        raise WrongState("Another person has asked for this already; it waits for a second person.")
    values = {"content": dict(content), "asked_by": actor_id, "asked_at": func.now()}
    statement = insert(PendingApproval).values(object=about, kind=kind, **values)
    session.execute(statement.on_conflict_do_update(index_elements=["object", "kind"], set_=values))


def request_that_waits(session: Session, about: str, kind: str) -> PendingApproval | None:
    """The first person's request, unless he has been suspended since: what he asked for is asked no more."""
    found = session.get(PendingApproval, (about, kind))
    if found is None or "confirmed_by" in found.content or suspended_among(session, [found.asked_by]):
        return None
    return found


def waiting_request(session: Session, about: str, kind: str, second_id: int) -> PendingApproval:
    """The request that a second person is about to confirm. Raises WrongState (there is none), SamePerson."""
    waiting = request_that_waits(session, about, kind)
    if waiting is None:
        raise WrongState("Nobody has asked for this.")
    if waiting.asked_by == second_id:
        raise SamePerson
    return waiting


def mark_confirmed(request: PendingApproval, second_id: int) -> None:
    """Writes the second person to the request, which stays as the record of who did this and why."""
    request.content = {**request.content, "confirmed_by": second_id}


def confirmed_request(session: Session, about: str, kind: str) -> PendingApproval | None:
    """The request if two persons agreed on it."""
    found = session.get(PendingApproval, (about, kind))
    return found if found is not None and "confirmed_by" in found.content else None


def took_part(request: PendingApproval | None, actor_id: int) -> bool:
    """Whether the actor is one of the two who agreed: his call, repeated, gets its answer again."""
    return request is not None and actor_id in (request.asked_by, request.content["confirmed_by"])
