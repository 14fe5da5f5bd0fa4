"""What people are told, as they read it; and telling others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from actions.audit import record
from actions.pages import cursor_after, place_of
from actions.resources import Resources
from actions.subtree import acting, reachable
from models.base import BIGINT_MAX
from models.notifications import (
    Hearer,
    Notification,
    announced_lately,
    count_unread,
    mark_read,
    mark_read_up_to,
    notification_for,
    notifications_page,
    tell,
)
from models.people import User
from rules.errors import Contradiction, NotFound
from rules.notifications import ANNOUNCEMENT, Notice, out_of_balance
from rules.rights import Role
from rules.rooms import EVERYBODY, of_role, rooms_of, under

# The same words to the same people within so long are one call that was repeated.
SAME_WITHIN_MIN = 10


def notify(
    session: Session,
    kind: str,
    title: str,
    text: str,
    rooms: Sequence[str],
    data: Mapping[str, Any],
    **more: Any,
) -> int | None:
    """Tells whoever stands in one of the rooms, in the caller's transaction; the id, or None if it was told before.

    `more`: once, made_by, outward, as in rules.notifications.Notice.
    """
    told = tell(session, [Notice(kind, title, text, rooms, data, **more)])
    return told[0] if told else None


def tell_of_contradiction(res: Resources, draw: str, where: str, problem: Contradiction) -> None:
    """Tells the office in a transaction of its own, since that of the step was rolled back; the same one once."""
    with res.sessions.begin() as session:
        tell(session, [out_of_balance(draw, where, str(problem), once=str(problem))])


def page(res: Resources, actor_id: int, limit: int, cursor: str | None, *, unread: bool) -> dict[str, Any]:
    """{"items", "next", "unread"}: what the actor was told, newest first; `unread`: only what he has not read, and in
    the answer how many those are. Raises TokenRevoked, Invalid (cursor).
    """
    before = place_of(cursor)
    with res.sessions() as session:
        hearer = _hearer(acting(session, actor_id))
        rows = notifications_page(session, hearer, limit + 1, before, unread=unread)
        count = count_unread(session, hearer)
    items = [_body(row, read_at) for row, read_at in rows[:limit]]
    return {"items": items, "next": cursor_after(rows, limit, lambda row: row[0].id), "unread": count}


def read(res: Resources, actor_id: int, notification_id: int) -> dict[str, Any]:
    """Notes that the actor has read one; safe to repeat. Raises NotFound (none that he was told), TokenRevoked."""
    with res.sessions.begin() as session:
        hearer = _hearer(acting(session, actor_id))
        if notification_id > BIGINT_MAX or notification_for(session, hearer, notification_id) is None:
            raise NotFound
        mark_read(session, hearer, notification_id)
        found = notification_for(session, hearer, notification_id)
    assert found is not None
    return _body(*found)


def read_up_to(res: Resources, actor_id: int, last: int) -> dict[str, int]:
    """Notes that the actor has read all up to the id `last`, the newest that he was shown. Raises TokenRevoked."""
    with res.sessions.begin() as session:
        hearer = _hearer(acting(session, actor_id))
        marked = mark_read_up_to(session, hearer, last)
        left = count_unread(session, hearer)
    return {"read": marked, "unread": left}


def make(
    res: Resources, actor_id: int, title: str, text: str, roles: Sequence[Role] | None, top_id: int | None
) -> dict[str, Any]:
    """Tells everyone at or below `top_id`, or those of them with one of the roles; a call that is repeated tells once.

    `top_id` None: below the actor; of a superadmin: everybody. Raises NotFound (out of his reach), TokenRevoked.
    """
    with res.sessions.begin() as session:
        actor = acting(session, actor_id)
        rooms = _rooms(session, actor, roles, top_id)
        notice = Notice(ANNOUNCEMENT, title, text, rooms, {}, made_by=actor.id)
        session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"announcement:{actor.id}", 0))))
        found = announced_lately(session, actor.id, notice, SAME_WITHIN_MIN)
        if found is None:
            (made,) = tell(session, [notice])
            found = session.get_one(Notification, made)
            after = {"title": title, "text": text, "rooms": list(rooms)}
            record(session, "notification.make", f"notification:{made}", after=after)
        return _body(found, None)


def _rooms(session: Session, actor: User, roles: Sequence[Role] | None, top_id: int | None) -> list[str]:
    if top_id is None and actor.role == Role.SUPERADMIN:
        return [EVERYBODY] if roles is None else sorted(map(of_role, set(roles)))
    top = actor if top_id is None else reachable(session, actor, top_id)
    return [under(top.id)] if roles is None else sorted(under(top.id, role) for role in set(roles))


def _hearer(user: User) -> Hearer:
    """Who was moved hears from then on what is told where he stands now, and finds there what was told before."""
    return Hearer(user.id, rooms_of(user.id, Role(user.role), user.ancestors), user.created_at)


def _body(row: Notification, read_at: datetime | None) -> dict[str, Any]:
    return {
        "id": row.id,
        "at": row.at.isoformat(),
        "kind": row.kind,
        "title": row.title,
        "text": row.text,
        "data": row.data,
        "made_by": row.made_by,
        "read_at": read_at and read_at.isoformat(),
    }
