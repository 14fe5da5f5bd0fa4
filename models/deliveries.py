"""Notifications on their way out of the house: to a webhook, by mail."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import BigInteger, ForeignKey, delete, func, select, text, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Base, Big, Instant, Str
from models.notifications import Notification

DELIVER = "notifications.deliver"  # the task that makes one


class NotificationToSend(Base):
    """A notification that nobody has looked at yet as to who outside is told."""

    __tablename__ = "notifications_to_send"

    notification_id: Mapped[Big] = mapped_column(ForeignKey("notifications.id"), primary_key=True, autoincrement=False)


class Delivery(Base):
    """One notification by one channel. `rung_at`: when a worker was last asked to make it, `failed_at`: when that last
    failed."""

    __tablename__ = "notification_deliveries"

    id: Mapped[Big] = mapped_column(primary_key=True)
    notification_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("notifications.id"))
    channel: Mapped[Str]
    made_at: Mapped[Instant] = mapped_column(server_default=func.now())
    rung_at: Mapped[Instant | None]
    failed_at: Mapped[Instant | None]
    delivered_at: Mapped[Instant | None]


_ROUTE = text(
    """
    WITH taken AS (
        DELETE FROM notifications_to_send WHERE notification_id = ANY(ARRAY(
            SELECT notification_id FROM notifications_to_send
            ORDER BY notification_id LIMIT :most FOR UPDATE SKIP LOCKED))
        RETURNING notification_id),
    routed AS (
        INSERT INTO notification_deliveries (notification_id, channel)
        SELECT n.id, wanted.channel FROM taken JOIN notifications n ON n.id = taken.notification_id
        JOIN unnest(CAST(:channels AS text[]), CAST(:kinds AS text[])) AS wanted(channel, kind) ON wanted.kind = n.kind
        ORDER BY n.id
        ON CONFLICT DO NOTHING)
    SELECT count(*) FROM taken
    """
)


def route(session: Session, wanted: Sequence[tuple[str, str]], most: int) -> int:
    """Makes deliveries of up to `most` new notifications, by the (channel, kind) that are wanted; how many it took."""
    values = {"most": most, "channels": [c for c, _ in wanted], "kinds": [k for _, k in wanted]}
    return session.scalar(_ROUTE, values) or 0


# While one is under way, or is tried again by itself (`retries`), the others of its channel wait. Those that became
# dead letters come after all new ones, and only now and then, unless the channel is known to work. Of two who ask at
# once one finds that `rung_at` has changed.
_NEXT = text(
    """
    WITH rung AS (
        SELECT id, rung_at, failed_at, made_at,
               EXISTS (SELECT 1 FROM retries r WHERE r.task = :task AND r.arguments = jsonb_build_array(d.id))
               OR (rung_at > now() - make_interval(secs => :under_way) AND coalesce(failed_at < rung_at, true)) AS at_it
        FROM notification_deliveries d WHERE channel = :channel AND delivered_at IS NULL AND rung_at IS NOT NULL),
    new AS (
        SELECT 1 AS turn, id, rung_at FROM notification_deliveries
        WHERE channel = :channel AND delivered_at IS NULL AND rung_at IS NULL
        ORDER BY id LIMIT 1),
    dead AS (
        SELECT 2 AS turn, id, rung_at FROM rung
        WHERE rung_at < now() - make_interval(secs => :pause) AND made_at > now() - make_interval(secs => :keep)
          AND (:works OR NOT EXISTS (SELECT 1 FROM rung WHERE failed_at > now() - make_interval(secs => :pause)))
          AND NOT EXISTS (SELECT 1 FROM dead_letters l
                          WHERE l.kind = 'task' AND l.task = :task AND l.arguments = jsonb_build_array(rung.id)
                            AND l.status = 'discarded')
        ORDER BY rung_at, id LIMIT 1),
    next AS (SELECT * FROM new UNION ALL SELECT * FROM dead ORDER BY turn LIMIT 1)
    UPDATE notification_deliveries d SET rung_at = now() FROM next
    WHERE d.id = next.id AND d.rung_at IS NOT DISTINCT FROM next.rung_at AND d.delivered_at IS NULL
      AND NOT EXISTS (SELECT 1 FROM rung WHERE at_it)
    RETURNING d.id
    """
)


def next_delivery(
    session: Session, channel: str, *, keep_s: int, pause_s: int, under_way_s: int, works: bool
) -> int | None:
    """The delivery of a channel to be made next, marked as rung for; None: there is none, or another is under way.

    One that was rung for before is tried again only while it is younger than `keep_s`, after `pause_s`, and unless the
    channel `works` only if none of it failed within `pause_s`.
    """
    values = {"channel": channel, "keep": keep_s, "pause": pause_s, "under_way": under_way_s, "works": works}
    found: int | None = session.scalar(_NEXT, values | {"task": DELIVER})
    return found


def delivery_to_make(session: Session, delivery_id: int) -> tuple[str, Notification] | None:
    """(channel, notification) of a delivery that is not made; None: it is, or forgotten."""
    query = select(Delivery.channel, Notification).join(Notification, Notification.id == Delivery.notification_id)
    row = session.execute(query.where(Delivery.id == delivery_id, Delivery.delivered_at.is_(None))).first()
    return None if row is None else (row[0], row[1])


def mark_delivered(session: Session, delivery_id: int) -> None:
    """Notes that it was taken."""
    session.execute(update(Delivery).where(Delivery.id == delivery_id).values(delivered_at=func.now()))


def mark_failed(session: Session, delivery_id: int) -> None:
    """Notes that it was not."""
    session.execute(update(Delivery).where(Delivery.id == delivery_id).values(failed_at=func.clock_timestamp()))


def drop_delivery(session: Session, delivery_id: int) -> None:
    """Forgets one whose channel is gone."""
    session.execute(delete(Delivery).where(Delivery.id == delivery_id))
