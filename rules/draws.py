"""Draws: their states, their names, and the schedule."""

import re
from collections.abc import Collection, Iterable
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import NamedTuple
from zoneinfo import ZoneInfo

from rules.errors import FieldError, Invalid
from rules.games import GAMES

MANILA = ZoneInfo("Asia/Manila")

SCHEDULE_TIMES = (time(14, 0), time(17, 0), time(21, 0))

# Sales open in the evening before, after that day's last draw, and stop a little before the draw.
OPENS_THE_EVENING_BEFORE = time(21, 0)
CUTOFF_BEFORE_DRAW = timedelta(minutes=5)

# A ticket number counts the draw's minutes from the first day in six base32 characters: no draw has a name
# that its tickets could not carry (rules/tickets.py asserts that the last day fits).
FIRST_DAY = date(2020, 1, 1)
LAST_DAY = date(2999, 12, 31)


class DrawStatus(StrEnum):
    """Where a draw stands.

    scheduled ──► open ──► closed ──► sealed ──► resulted ──► settling ──► settled
        │          │         │          │           │         ▲  │ ▲          │
        │          │         │          │           │         └──┘ └──────────┘
        ▼          ▼         ▼          ▼           ▼         a correction: the next version of the result
        └──────────┴─────────┴──────────┴───────────┴──► voiding ──► void
    """

    SCHEDULED = "scheduled"
    OPEN = "open"
    CLOSED = "closed"
    SEALED = "sealed"
    RESULTED = "resulted"
    SETTLING = "settling"
    SETTLED = "settled"
    VOIDING = "voiding"
    VOID = "void"


# Draws whose journal is in no seal yet.
LIVE = (DrawStatus.OPEN, DrawStatus.CLOSED, DrawStatus.VOIDING)
# Draws of which nothing is sealed.
UNSEALED = (DrawStatus.SCHEDULED, DrawStatus.OPEN, DrawStatus.CLOSED)
# Draws that sell, or will.
SELLING = (DrawStatus.SCHEDULED, DrawStatus.OPEN)

_S = DrawStatus
TRANSITIONS: dict[DrawStatus, frozenset[DrawStatus]] = {
    _S.SCHEDULED: frozenset({_S.OPEN, _S.VOIDING}),
    _S.OPEN: frozenset({_S.CLOSED, _S.VOIDING}),
    _S.CLOSED: frozenset({_S.SEALED, _S.VOIDING}),
    _S.SEALED: frozenset({_S.RESULTED, _S.VOIDING}),
    _S.RESULTED: frozenset({_S.SETTLING, _S.VOIDING}),
    _S.SETTLING: frozenset({_S.SETTLED, _S.SETTLING}),
    _S.SETTLED: frozenset({_S.SETTLING}),
    _S.VOIDING: frozenset({_S.VOID}),
    _S.VOID: frozenset(),
}


def may_become(status: DrawStatus, following: DrawStatus) -> bool:
    """Whether a draw goes from the one state to the other."""
    return following in TRANSITIONS[status]


class DrawKey(NamedTuple):
    """What a draw's name says: its game's code, and the nominal date and time in Manila."""

    game: str
    date: date
    time: time


def draw_name(game: str, date: date, time: time) -> str:
    """The draw's name, which is its id everywhere: 3D-20261122-1400.

    Invalid: no such game, a date outside FIRST_DAY to LAST_DAY, or a time that is not a whole minute.
    """
    errors: list[FieldError] = []
    if game not in GAMES:
        errors.append({"path": "game", "message": f"the games are {', '.join(GAMES)}"})
    if not FIRST_DAY <= date <= LAST_DAY:
        errors.append({"path": "date", "message": f"dates run from {FIRST_DAY} to {LAST_DAY}"})
    if time.second or time.microsecond or time.tzinfo:
        errors.append({"path": "time", "message": "a plain hour and minute, HH:MM"})
    if errors:
        raise Invalid(errors=errors)
    return f"{game}-{date:%Y%m%d}-{time:%H%M}"


_NAME = re.compile(r"\A([0-9A-Z]+)-([0-9]{4})([0-9]{2})([0-9]{2})-([0-9]{2})([0-9]{2})\Z")


def parse_draw_name(name: str) -> DrawKey | None:
    """Read a draw's name; None if no draw can have it."""
    match = _NAME.match(name)
    if match is None or match[1] not in GAMES:
        return None
    year, month, day, hour, minute = (int(part) for part in match.groups()[1:])
    try:
        key = DrawKey(match[1], date(year, month, day), time(hour, minute))
    except ValueError:  # the 31st of November, 25:00
        return None
    return key if FIRST_DAY <= key.date <= LAST_DAY else None


def default_times(date: date, time: time) -> tuple[datetime, datetime, datetime]:
    """(opens_at, cutoff_at, draws_at) in UTC for a nominal date and time in Manila."""
    opens_at = datetime.combine(date - timedelta(days=1), OPENS_THE_EVENING_BEFORE, MANILA)
    draws_at = datetime.combine(date, time, MANILA)
    cutoff_at = draws_at - CUTOFF_BEFORE_DRAW
    return opens_at.astimezone(UTC), cutoff_at.astimezone(UTC), draws_at.astimezone(UTC)


def manila_date(now: datetime) -> date:
    """The date on the calendar in Manila at an instant (aware)."""
    if now.tzinfo is None:
        raise ValueError("an instant needs its offset")
    return now.astimezone(MANILA).date()


def due_draws(
    today: date, days: int, times: Iterable[time] = SCHEDULE_TIMES, cancelled_dates: Collection[date] = ()
) -> list[tuple[date, time]]:
    """The nominal (date, time) of the draws that the schedule wants from today on for so many days, in order.

    Today counts whole, also what is over by now: the caller knows the time and the draws that exist.
    """
    ordered = sorted(set(times))
    dates = (today + timedelta(days=ahead) for ahead in range(days))
    return [(day, clock) for day in dates if day not in cancelled_dates for clock in ordered]
