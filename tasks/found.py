"""What a sweep found: one line in the log and a count each, and neither if there was nothing."""

from __future__ import annotations

from datetime import timedelta

import structlog

from runtime.metrics import note_found

# Whoever left something undone may be at it still: what is younger is done all the same, but was not found.
AT_WORK = timedelta(seconds=2)

_log = structlog.get_logger()


def found(sweep: str, **counts: int) -> None:
    """Notes what the sweep found undone and did, in numbers by name."""
    counts = {what: count for what, count in counts.items() if count}
    for what, count in counts.items():
        note_found(sweep, what, count)
    if counts:
        _log.info("swept", sweep=sweep, **counts)
