"""Reports as they are asked for: their kinds and formats, how long a period may be, and when two requests are equal."""

import hashlib
import re
from collections.abc import Sequence
from datetime import datetime, timedelta

from rules.errors import Invalid

REPORT_KINDS = (
    "draw_sales",
    "statement",
    "hierarchy",
    "winners",
    "exposure",
    "unclaimed",
    "reconciliation",
    "dead_letters",
    "audit",
)
REPORT_FORMATS = ("json", "csv", "xlsx", "pdf")

# A report is about a year at the most: beyond it nobody reads, and a leap year is a year, too.
PERIOD_MAX = timedelta(days=366)

# Of so many seconds ago, figures that change are new enough for whoever asks for the same again.
FRESH_S = 60

# Kinds whose figures of a settled draw change only with what is paid on it, or with another result. Not those that
# say what can still be claimed: that changes by the day.
LASTING = frozenset({"draw_sales", "statement", "hierarchy"})

_NO_FILE_NAME = re.compile(r"[^A-Za-z0-9._-]+")


def check_period(since: datetime, before: datetime) -> None:
    """Raises Invalid unless the period (since <= … < before) has a length, and not too much of it."""
    if since >= before:
        raise Invalid(errors=[{"path": "to", "message": "must lie after `from`"}])
    if before - since > PERIOD_MAX:
        raise Invalid(errors=[{"path": "to", "message": f"a period of {PERIOD_MAX.days} days at the most"}])


def request_digest(*parts: str | int | datetime | None, stamp: Sequence[int | str] = ()) -> bytes:
    """SHA-256 over what makes two requests equal. `stamp`: the state of what the report is about."""
    told = [part.timestamp() if isinstance(part, datetime) else part for part in parts]
    return hashlib.sha256(repr((told, list(stamp))).encode()).digest()


def file_name(*words: str, extension: str) -> str:
    """What a downloaded file is called: letters, digits, dots, dashes and lines, on every system."""
    return "_".join(_NO_FILE_NAME.sub("-", word).strip("-.") for word in words if word) + f".{extension}"
