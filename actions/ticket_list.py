"""Lists of stored tickets, newest first. A ticket sold a moment ago appears once it is persisted."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from actions.pages import not_a_cursor
from actions.resources import Resources
from actions.stored_tickets import as_tickets, statuses, voided_serials
from actions.subtree import acting
from actions.tickets import shown
from models.base import BIGINT_MAX
from models.draws import Draw, draw_by_name
from models.people import subtree_user
from models.tickets import Cursor, TicketFilter, tickets_page
from models.tickets import Ticket as StoredTicket
from rules.errors import NoSuchDraw, NotFound
from rules.tickets import Ticket

READ_PER_ITEM = 4  # rows read for each item wanted, where the status can only be told after reading
SEES_EVERYTHING = ("superadmin", "operator")
_CURSOR = re.compile(r"\A([0-9]{1,12}\.[0-9]{6})_([0-9]{1,10})_([0-9]{1,19})\Z")  # as _cursor writes it


def page(
    res: Resources,
    actor_id: int,
    *,
    draw: str | None = None,
    status: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
    wanted: TicketFilter | None = None,
) -> dict[str, Any]:
    """{"items", "next"} of the actor's subtree.

    Raises TokenRevoked, Invalid (cursor), NotFound (agent outside), NoSuchDraw.
    """
    with res.sessions() as session:
        wanted = _narrowed(session, actor_id, draw, wanted or TicketFilter())
        size = limit + 1 if status is None else limit * READ_PER_ITEM
        rows = tickets_page(session, wanted, size, _parsed(cursor))
        found = _with_status(res, session, rows)
    matching = [(row, shown(res, actor_id, ticket, its)) for row, ticket, its in found if status in (None, its)]
    items = [body for _, body in matching[:limit]]
    if len(matching) > limit:
        return {"items": items, "next": _cursor(matching[limit - 1][0])}
    # A full read may have more behind it, even if little of it matched.
    return {"items": items, "next": _cursor(rows[-1]) if len(rows) == size else None}


def _narrowed(session: Session, actor_id: int, draw: str | None, wanted: TicketFilter) -> TicketFilter:
    actor = acting(session, actor_id)
    if actor.role not in SEES_EVERYTHING:
        wanted = replace(wanted, below=actor_id)
    if wanted.agent_id is not None and subtree_user(session, actor, wanted.agent_id) is None:
        raise NotFound
    if draw is not None:
        row = draw_by_name(session, draw)
        if row is None:
            raise NoSuchDraw
        wanted = replace(wanted, draw=(row.id, row.date))
    return wanted


def _with_status(
    res: Resources, session: Session, rows: Sequence[StoredTicket]
) -> list[tuple[StoredTicket, Ticket, str]]:
    draws = {d.id: d for d in session.scalars(select(Draw).where(Draw.id.in_({row.draw_id for row in rows})))}
    known: dict[tuple[int, int], str] = {}
    for draw in draws.values():
        serials = [row.serial for row in rows if row.draw_id == draw.id]
        voided = voided_serials(session, draw.id, serials)
        known |= {(draw.id, serial): state for serial, state in statuses(res, session, draw, serials, voided).items()}
    tickets = as_tickets(session, draws, rows)
    return [(row, ticket, known[row.draw_id, row.serial]) for row, ticket in zip(rows, tickets, strict=True)]


def _cursor(row: StoredTicket) -> str:
    return f"{row.accepted_at.timestamp():.6f}_{row.draw_id}_{row.serial}"


def _parsed(cursor: str | None) -> Cursor | None:
    if cursor is None:
        return None
    try:
        found = _CURSOR.match(cursor)
        if found is None:
            raise ValueError("no cursor")
        place = (int(found[2]), int(found[3]))
        if not (place[0] < 2**31 and place[1] <= BIGINT_MAX):
            raise ValueError("no such place")
        return datetime.fromtimestamp(float(found[1])).astimezone(), *place
    except (ValueError, OverflowError, OSError) as error:
        raise not_a_cursor() from error
