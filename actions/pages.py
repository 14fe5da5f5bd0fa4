"""Lists are shown a page at a time, the newest first; a cursor names the last item of the page before."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TypeVar

from rules.errors import Invalid

Row = TypeVar("Row")

_NUMBER = re.compile(r"\A[0-9]{1,18}\Z")


def not_a_cursor() -> Invalid:
    """What a cursor is refused with that this list has not given."""
    return Invalid(errors=[{"path": "cursor", "message": "not a cursor of this list"}])


def place_of(cursor: str | None) -> int | None:
    """The number under which the page begins, for lists in the order of one; None: the first page. Raises Invalid."""
    if cursor is None:
        return None
    if not _NUMBER.match(cursor):
        raise not_a_cursor()
    return int(cursor)


def cursor_after(rows: Sequence[Row], limit: int, number: Callable[[Row], int]) -> str | None:
    """The cursor of the next page, of rows that were asked for with one more than `limit`; None: there is none."""
    return str(number(rows[limit - 1])) if len(rows) > limit else None
