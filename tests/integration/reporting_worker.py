"""The workers' application with a kind of report for tests. Loaded by `celery -A`, in a process of its own."""

from __future__ import annotations

from reports.kinds import About, ReportKind
from reports.registry import KINDS
from tests.integration.making_reports import KIND
from tests.reporting import EVERYBODY, users
from workers.app import app

KINDS[KIND] = ReportKind(About.EITHER, EVERYBODY, users)  # type: ignore[index]

__all__ = ["app"]
