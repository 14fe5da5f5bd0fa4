"""Chaining the audit log: deeds write their rows at once, and never wait for the chain."""

from __future__ import annotations

from typing import Any

import structlog
from celery import Task, shared_task

from actions.audit_chain import lengthen
from actions.resources import Resources

_log = structlog.get_logger()


def chain(res: Resources, *, whole: bool = False) -> int:
    """Appends a link for every committed row that has none; safe to repeat. Returns how many.

    The head goes to the log as well: a log that is kept elsewhere convicts whoever rewrites rows and chain.
    """
    count, head = lengthen(res, whole=whole)
    if head is not None:
        _log.info("audit_head", seq=head.seq, hash=head.hash.hex(), count=count)
    return count


@shared_task(name="audit.chain", bind=True)
def audit_chain(self: Task[Any, Any]) -> None:
    """Every second."""
    chain(self.app.resources)


@shared_task(name="audit.chain_all", bind=True)
def audit_chain_all(self: Task[Any, Any]) -> None:
    """Every hour: rows far behind the end of the log, which no transaction should leave there."""
    chain(self.app.resources, whole=True)
