"""A draw's seal as everyone may read it, and two superadmins asking for a late one."""

from __future__ import annotations

from typing import Any

from actions.approvals import confirmed_request, keep_request, mark_confirmed, took_part, waiting_request
from actions.audit import record
from actions.resources import Resources
from models.draws import Draw, draw_by_name, lock_draw
from models.settlement import Seal
from rules.errors import NoSuchDraw, NotSealed, WrongState

LATE_SEAL = "late_seal"


def published(res: Resources, name: str, full: bool) -> dict[str, Any]:
    """The seal; `full` adds how many tickets it holds, voided and annulled ones, and the stake of those that count.

    Raises NoSuchDraw, NotSealed.
    """
    with res.sessions() as session:
        draw = draw_by_name(session, name)
        if draw is None:
            raise NoSuchDraw
        seal = session.get(Seal, draw.id)
    if seal is None:
        raise NotSealed
    body = {
        "tree_size": seal.tree_size,
        "merkle_root": seal.merkle_root.hex(),
        "sealed_at": seal.sealed_at.isoformat(),
        "late": seal.late,
        "restored": seal.restored,
        "gaps": seal.gaps,
    }
    if full:
        body |= {"count": seal.tickets, "voided": seal.voided, "annulled": seal.annulled}
        body |= {"stake": seal.stake, "reason": seal.reason}
    return body


def ask_late(res: Resources, actor_id: int, name: str, reason: str) -> dict[str, Any]:
    """Asks for the seal of a draw that was not sealed by `draws_at`. Raises NoSuchDraw, WrongState."""
    with res.sessions.begin() as session:
        draw = lock_draw(session, name)
        if took_part(confirmed_request(session, draw.name, LATE_SEAL), actor_id):
            return {"status": "confirmed", "draw_id": name}
        _must_be_late(res, draw)
        keep_request(session, draw.name, LATE_SEAL, actor_id, {"reason": reason})
        record(session, "draw.seal_late", f"draw:{name}", after={"reason": reason})
    return {"status": "awaiting_confirmation", "draw_id": name, "reason": reason}


def confirm_late(res: Resources, actor_id: int, name: str) -> dict[str, Any]:
    """The second superadmin's word: the draw is sealed, marked late, if its two sources agree.

    Raises NoSuchDraw, WrongState, SamePerson.
    """
    with res.sessions.begin() as session:
        draw = lock_draw(session, name)
        earlier = confirmed_request(session, draw.name, LATE_SEAL)
        if earlier is None or earlier.content["confirmed_by"] != actor_id:
            _must_be_late(res, draw)
            mark_confirmed(waiting_request(session, draw.name, LATE_SEAL, actor_id), actor_id)
            record(session, "draw.seal_late", f"draw:{name}", after={"confirmed": True})
    res.doorbell.ring("draws.seal", name)
    return {"status": "confirmed", "draw_id": name}


def _must_be_late(res: Resources, draw: Draw) -> None:
    if draw.status != "closed":
        raise WrongState(f"The draw is {draw.status}; only a closed one can be sealed.")
    if res.clock.now() < draw.draws_at:
        raise WrongState("The draw has not been drawn yet: it seals itself as soon as its two sources agree.")
