"""Prizes whose time to be claimed is over."""

from __future__ import annotations

from typing import Any

import structlog
from celery import Task, shared_task

from actions.expiry import draws_over, expire_draw, expire_old_winners
from actions.resources import Resources
from tasks.each import each

_log = structlog.get_logger()


def expire_claims(res: Resources) -> int:
    """Books as unclaimed what nobody claimed in time; how many centavos. Safe to repeat and to run twice at once."""
    expired = 0
    while some := expire_old_winners(res):
        expired += some
    expired += each(draws_over(res), lambda name: expire_draw(res, name))
    if expired:
        _log.info("claims_expired", centavos=expired)
    return expired


@shared_task(name="claims.expire", bind=True)
def claims_expire(self: Task[Any, Any]) -> None:
    """Every hour."""
    self.app.run_with_resources(expire_claims)
