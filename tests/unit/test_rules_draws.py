from datetime import UTC, date, datetime, time, timedelta
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.draws import (
    FIRST_DAY,
    LAST_DAY,
    TRANSITIONS,
    DrawKey,
    DrawStatus,
    default_times,
    draw_name,
    due_draws,
    manila_date,
    may_become,
    parse_draw_name,
)
from rules.errors import Invalid

ALLOWED = {
    "scheduled": "open voiding",
    "open": "closed voiding",
    "closed": "sealed voiding",
    "sealed": "resulted voiding",
    "resulted": "settling voiding",
    "settling": "settled settling",
    "settled": "settling",
    "voiding": "void",
    "void": "",
}

days = st.dates(FIRST_DAY, LAST_DAY)
minutes = st.builds(time, st.integers(0, 23), st.integers(0, 59))


@pytest.mark.parametrize(("status", "following"), list(product(DrawStatus, repeat=2)))
def test_a_draw_moves_only_along_the_diagram(status: DrawStatus, following: DrawStatus) -> None:
    assert may_become(status, following) == (following in ALLOWED[status].split())


def test_every_state_is_reached_and_only_void_is_the_end() -> None:
    reached = {following for targets in TRANSITIONS.values() for following in targets}
    assert reached == set(DrawStatus) - {DrawStatus.SCHEDULED}
    assert [status for status, targets in TRANSITIONS.items() if not targets] == [DrawStatus.VOID]


@settings(deadline=None)
@given(st.sampled_from(["3D", "2D"]), days, minutes)
def test_a_draw_name_reads_back(game: str, day: date, clock: time) -> None:
    assert parse_draw_name(draw_name(game, day, clock)) == DrawKey(game, day, clock)


def test_the_name_of_a_draw_is_its_game_date_and_time() -> None:
    assert draw_name("3D", date(2026, 11, 22), time(14)) == "3D-20261122-1400"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "3D-20261122-140",
        "3D-20261122-1400\n",
        "3d-20261122-1400",
        "4D-20261122-1400",
        "3D-20261131-1400",
        "3D-20261122-2400",
        "3D-20261122-1460",
        "3D-20191231-1400",
        "3D-30000101-1400",
        "3D-00000101-1400",
        "3D-\uff12\uff10261122-1400",
        "3D-20261122-1400-1",
        "3D_20261122_1400",
    ],
)
def test_what_no_draw_can_be_called_is_not_read(name: str) -> None:
    assert parse_draw_name(name) is None


def test_a_draw_without_a_possible_name_is_invalid_field_by_field() -> None:
    with pytest.raises(Invalid) as caught:
        draw_name("4D", date(2019, 12, 31), time(14, 0, 1))
    assert [error["path"] for error in caught.value.errors] == ["game", "date", "time"]
    with pytest.raises(Invalid):
        draw_name("3D", date(2026, 11, 22), time(14, tzinfo=UTC))


def test_the_default_times_are_the_evening_before_five_minutes_before_and_the_draw() -> None:
    opens_at, cutoff_at, draws_at = default_times(date(2026, 11, 22), time(14))
    assert opens_at == datetime(2026, 11, 21, 13, 0, tzinfo=UTC)
    assert cutoff_at == datetime(2026, 11, 22, 5, 55, tzinfo=UTC)
    assert draws_at == datetime(2026, 11, 22, 6, 0, tzinfo=UTC)
    assert {moment.tzinfo for moment in (opens_at, cutoff_at, draws_at)} == {UTC}


@settings(deadline=None)
@given(days, minutes)
def test_by_default_a_draw_opens_before_its_cutoff_whatever_its_time(day: date, clock: time) -> None:
    opens_at, cutoff_at, draws_at = default_times(day, clock)
    assert opens_at < cutoff_at <= draws_at
    assert draws_at.replace(tzinfo=None) == datetime.combine(day, clock) - timedelta(hours=8)


def test_the_day_in_manila_changes_at_four_in_the_afternoon_utc() -> None:
    midnight = datetime(2026, 11, 22, 16, 0, tzinfo=UTC)
    assert manila_date(midnight - timedelta(microseconds=1)) == date(2026, 11, 22)
    assert manila_date(midnight) == date(2026, 11, 23)
    with pytest.raises(ValueError, match="offset"):
        manila_date(datetime(2026, 11, 22))


def test_around_midnight_in_manila_the_schedule_neither_skips_nor_doubles_a_draw() -> None:
    midnight = datetime(2026, 12, 31, 16, 0, tzinfo=UTC)
    before = due_draws(manila_date(midnight - timedelta(seconds=1)), days=2)
    after = due_draws(manila_date(midnight), days=2)
    assert [day for day, _ in before] == [date(2026, 12, 31)] * 3 + [date(2027, 1, 1)] * 3
    assert before[3:] == after[:3]
    assert [clock for _, clock in after[:3]] == [time(14), time(17), time(21)]
    names = {draw_name("3D", *due) for due in before + after}
    assert len(names) == 9


def test_a_draw_just_after_midnight_opens_the_evening_before_and_closes_on_the_day_before() -> None:
    opens_at, cutoff_at, _ = default_times(date(2027, 1, 1), time(0, 0))
    assert (opens_at, cutoff_at) == (
        datetime(2026, 12, 31, 13, 0, tzinfo=UTC),
        datetime(2026, 12, 31, 15, 55, tzinfo=UTC),
    )


def test_cancelled_dates_have_no_draws_and_repeated_times_count_once() -> None:
    due = due_draws(date(2026, 12, 24), 3, times=(time(21), time(14), time(21)), cancelled_dates={date(2026, 12, 25)})
    assert due == [
        (date(2026, 12, 24), time(14)),
        (date(2026, 12, 24), time(21)),
        (date(2026, 12, 26), time(14)),
        (date(2026, 12, 26), time(21)),
    ]
    assert due_draws(date(2026, 12, 24), 0) == []
