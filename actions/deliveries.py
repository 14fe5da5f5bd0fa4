"""Notifications on their way out: by which channels, one at a time for each, until they are taken.

A channel that does not answer must keep no worker busy. So only one delivery of it is under way; when it fails, the
others wait until it was taken after all, or has become a dead letter (actions/failures.py). Dead ones are tried again
when nothing else waits, one a minute, and one after the other once the channel works again.
"""

from __future__ import annotations

from collections.abc import Callable

from actions import mail, webhook
from actions.resources import Resources
from actions.webhook import NotDelivered
from models.deliveries import (
    DELIVER,
    delivery_to_make,
    drop_delivery,
    mark_delivered,
    mark_failed,
    next_delivery,
    route,
)
from models.notifications import Notification, forget_notifications, forget_sold_out
from runtime.channels import Channels

ROUTED_AT_ONCE = 1_000
FORGOTTEN_AT_ONCE = 10_000

# After a day a dead delivery waits for a person alone.
KEEP_S = 24 * 3600
# A dead one is tried again after so long, one of them at a time …
AGAIN_AFTER_S = 60
# … and one that was rung for is under way for so long: a ring waits 30 s at the most, a mail takes 15 s.
UNDER_WAY_S = 45

WEBHOOK, MAIL = "webhook", "mail"

_SEND: dict[str, Callable[[Resources, Notification], None]] = {WEBHOOK: webhook.send, MAIL: mail.send}


def wanted_kinds(channels: Channels) -> dict[str, tuple[str, ...]]:
    """The channels that are configured, each with the kinds that it wants."""
    found: dict[str, tuple[str, ...]] = {}
    if channels.webhook_url is not None:
        found[WEBHOOK] = channels.webhook_kinds
    if channels.mail_server is not None:
        found[MAIL] = channels.mail_kinds
    return found


def send_out(res: Resources) -> int:
    """Makes deliveries of what was told since, and rings for the next one of each channel; how many it rang for.

    Safe to repeat and to run twice at once.
    """
    channels = wanted_kinds(res.settings.channels)
    wanted = [(channel, kind) for channel, kinds in channels.items() for kind in kinds]
    taken = ROUTED_AT_ONCE
    while taken == ROUTED_AT_ONCE:
        with res.sessions.begin() as session:
            taken = route(session, wanted, ROUTED_AT_ONCE)
    return sum(_ring_next(res, channel, works=False) for channel in channels)


def deliver(res: Resources, delivery_id: int) -> bool:
    """Sends one delivery and notes it; False: it was sent before, or there is nobody to send it to any more.

    Whoever dies between the two sends it again, under the same id. Raises NotDelivered.
    """
    with res.sessions() as session:
        waiting = delivery_to_make(session, delivery_id)
    if waiting is None:
        return False
    channel, notification = waiting
    if channel not in wanted_kinds(res.settings.channels):
        with res.sessions.begin() as session:
            drop_delivery(session, delivery_id)
        return False
    try:
        _SEND[channel](res, notification)
    except NotDelivered:
        with res.sessions.begin() as session:
            mark_failed(session, delivery_id)
        raise
    with res.sessions.begin() as session:
        mark_delivered(session, delivery_id)
    _ring_next(res, channel, works=True)
    return True


def forget_old(res: Resources) -> int:
    """Deletes what was told longer ago than NOTIFICATION_DAYS, a part at a time; how many. Safe to repeat."""
    days, gone, part = res.settings.notification_days, 0, FORGOTTEN_AT_ONCE
    while part == FORGOTTEN_AT_ONCE:
        with res.sessions.begin() as session:
            part = forget_notifications(session, days, FORGOTTEN_AT_ONCE)
        gone += part
    with res.sessions.begin() as session:
        return gone + forget_sold_out(session, days)


def _ring_next(res: Resources, channel: str, *, works: bool) -> bool:
    times = {"keep_s": KEEP_S, "pause_s": AGAIN_AFTER_S, "under_way_s": UNDER_WAY_S}
    with res.sessions.begin() as session:
        found = next_delivery(session, channel, works=works, **times)
    if found is not None:
        res.doorbell.ring(DELIVER, found, again=works)
    return found is not None
