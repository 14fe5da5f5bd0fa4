"""Prizes whose time to be claimed is over."""

from __future__ import annotations

from typing import Any

from celery import Task, shared_task

from actions.expiry import draws_over, expire_draw, expire_old_winners
from actions.resources import Resources
from tasks.each import each
from tasks.found import found


def expire_claims(res: Resources) -> int:
    """Books as unclaimed what nobody claimed in time; how many centavos. Safe to repeat and to run twice at once."""
    of_old_winners = 0
    of_draws: dict[str, int] = {}
    try:
        while some := expire_old_winners(res):
            of_old_winners += some
        each(draws_over(res), lambda name: expire_draw(res, name), of_draws)
    finally:
        expired = of_old_winners + sum(of_draws.values())
        found("claims.expire", draws=sum(map(bool, of_draws.values())), centavos=expired)
    return expired


@shared_task(name="claims.expire", bind=True)
def claims_expire(self: Task[Any, Any]) -> None:
    """Every hour."""
    self.app.run_with_resources(expire_claims)
