"""Lists of stored and annulled tickets, newest first. A ticket sold a moment ago appears once it is persisted."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from actions.annulled import annulled_tickets
from actions.pages import not_a_cursor
from actions.resources import Resources
from actions.stored_tickets import as_tickets, statuses, voided_serials
from actions.subtree import acting
from actions.tickets import shown
from models.base import BIGINT_MAX
from models.draws import Draw, draw_by_name
from models.people import subtree_user, those_below
from models.tickets import Cursor, TicketFilter, tickets_page
from models.tickets import Ticket as StoredTicket
from rules.errors import NoSuchDraw, NotFound
from rules.tickets import Ticket, stake

READ_PER_ITEM = 4  # rows read for each item wanted, where the status can only be told after reading
SEES_EVERYTHING = ("superadmin", "operator")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CURSOR = re.compile(r"\A([0-9]{1,12}\.[0-9]{6})_([0-9]{1,10})_([0-9]{1,19})\Z")  # as _cursor writes it


class _Item(NamedTuple):
    """A ticket at its place in the list."""

    place: Cursor
    ticket: Ticket
    status: str


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
        before = _parsed(cursor)
        found = _annulled(session, wanted, before)
        if status != "annulled":
            found += _stored(res, session, tickets_page(session, wanted, size, before))
    read = sorted(found, key=lambda item: item.place, reverse=True)[:size]
    matching = [item for item in read if status in (None, item.status)]
    items = [shown(res, actor_id, item.ticket, item.status) for item in matching[:limit]]
    if len(matching) > limit:
        return {"items": items, "next": _cursor(matching[limit - 1].place)}
    # A full read may have more behind it, even if little of it matched.
    return {"items": items, "next": _cursor(read[-1].place) if len(read) == size else None}


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


def _stored(res: Resources, session: Session, rows: Sequence[StoredTicket]) -> list[_Item]:
    draws = {d.id: d for d in session.scalars(select(Draw).where(Draw.id.in_({row.draw_id for row in rows})))}
    known: dict[tuple[int, int], str] = {}
    for draw in draws.values():
        serials = [row.serial for row in rows if row.draw_id == draw.id]
        voided = voided_serials(session, draw.id, serials)
        known |= {(draw.id, serial): state for serial, state in statuses(res, session, draw, serials, voided).items()}
    tickets = as_tickets(session, draws, rows)
    return [
        _Item((row.accepted_at, row.draw_id, row.serial), ticket, known[row.draw_id, row.serial])
        for row, ticket in zip(rows, tickets, strict=True)
    ]


def _annulled(session: Session, wanted: TicketFilter, before: Cursor | None) -> list[_Item]:
    """Those that no row of tickets stands for, as `tickets_page` would choose them."""
    found = []
    for draw, ticket, status in annulled_tickets(session, wanted.draw[0] if wanted.draw else None):
        item = _Item((_EPOCH + timedelta(milliseconds=ticket.accepted_ms), draw.id, ticket.serial), ticket, status)
        if _matches(wanted, item) and (before is None or item.place < before):
            found.append(item)
    if wanted.below is None or not found:
        return found
    below = those_below(session, wanted.below, {item.ticket.agent_id for item in found})
    return [item for item in found if item.ticket.agent_id in below]


def _matches(wanted: TicketFilter, item: _Item) -> bool:
    at, ticket = item.place[0], item.ticket
    return (
        wanted.agent_id in (None, ticket.agent_id)
        and wanted.stake in (None, stake(ticket.lines))
        and (wanted.played is None or any(line.number == wanted.played for line in ticket.lines))
        and (wanted.accepted_from is None or at >= wanted.accepted_from)
        and (wanted.accepted_before is None or at < wanted.accepted_before)
    )


def _cursor(place: Cursor) -> str:
    return f"{place[0].timestamp():.6f}_{place[1]}_{place[2]}"


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
