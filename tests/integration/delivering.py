"""Shortcuts for tests of deliveries: telling something, and doing what sweeps and workers do."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from actions.deliveries import deliver, send_out
from actions.failures import TRIES_MAX, attempt
from actions.notifications import notify
from actions.resources import Resources
from actions.webhook import NotDelivered
from intake.doorbell import QUEUES
from models.deliveries import DELIVER
from rules.notifications import ALL
from runtime.channels import Channels
from tests.integration.conftest import Lottery
from tests.integration.hearing import change, rows

SECRET = "a secret of the house"
KINDS = ("out_of_balance", "dead_letter")


def with_channels(res: Resources, **channels: Any) -> Resources:
    return replace(res, settings=replace(res.settings, channels=Channels(**channels)))


def say(res: Resources, title: str = "Out", kind: str = "out_of_balance") -> int:
    with res.sessions.begin() as session:
        made = notify(session, kind, title, "of balance", ALL, {"draw_id": "3D-20260301-1400"})
    assert made is not None
    return made


def rung(lottery: Lottery) -> list[int]:
    """The deliveries that were rung for since, once the doorbell's thread has sent it all."""
    lottery.res.doorbell.ring("the end")
    while ("the end", ()) not in lottery.rings.sent:
        time.sleep(0.002)
    found = [arguments[0] for task, arguments in lottery.rings.sent if task == DELIVER]
    lottery.rings.sent.clear()
    return found


def tried(res: Resources, delivery_id: int, *, again: bool = True) -> bool:
    """As a worker does it."""
    run = partial(deliver, res, delivery_id)
    return attempt(res.sessions, DELIVER, [delivery_id], QUEUES[DELIVER], run, again=again)


def work(lottery: Lottery, res: Resources) -> None:
    """Sweeps and delivers until nothing more is rung for."""
    send_out(res)
    while waiting := rung(lottery):
        for delivery_id in waiting:
            tried(res, delivery_id)


def waiting(res: Resources) -> list[tuple[int, str]]:
    found = rows(res, "SELECT id, channel FROM notification_deliveries WHERE delivered_at IS NULL ORDER BY id")
    return [(row.id, row.channel) for row in found]


def minutes_pass(res: Resources, minutes: int = 2) -> None:
    back = f"make_interval(mins => {minutes})"
    change(
        res,
        f"UPDATE notification_deliveries SET rung_at = rung_at - {back}, failed_at = failed_at - {back}, "
        f"made_at = made_at - {back}",
    )
    change(res, f"UPDATE dead_letters SET last_at = last_at - {back}")
    change(res, f"UPDATE retries SET due_at = due_at - {back}")


def fail_for_good(lottery: Lottery, res: Resources, delivery: int) -> None:
    for _ in range(TRIES_MAX):
        with pytest.raises(NotDelivered):
            tried(res, delivery)
        minutes_pass(res, 0)
