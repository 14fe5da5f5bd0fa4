"""Which journals the watchdog of a worker holds against it: only those that a restart could help."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
from sqlalchemy import select, text, update

from actions.failure_kinds import failure_of
from actions.failures import note_failure
from actions.store_records import PERSIST
from intake.records import Position
from models.draws import Draw
from models.draws import Position as PositionRow
from tasks.persist import persist
from tests.integration.after_sales import as_owner, read_draw, sealed
from tests.integration.conftest import Lottery
from workers.watchdog import Judge, _waiting

Excused = Callable[[Lottery, str], AbstractContextManager[None]]


@contextmanager
def held(lottery: Lottery, draw: str) -> Iterator[None]:
    """As a drain at its batch, a seal or a rebuild holds it."""
    with lottery.res.sessions.begin() as session:
        draw_id = read_draw(lottery.res, draw).id
        session.execute(select(PositionRow).where(PositionRow.draw_id == draw_id).with_for_update())
        yield


@contextmanager
def stopped(lottery: Lottery, draw: str) -> Iterator[None]:
    change = update(Draw).where(Draw.name == draw)
    with lottery.res.sessions.begin() as session:
        session.execute(change.values(stopped="the journal differs"))
    yield
    with lottery.res.sessions.begin() as session:
        session.execute(change.values(stopped=None))


@contextmanager
def failed_lately(lottery: Lottery, draw: str) -> Iterator[None]:
    note_failure(lottery.res.sessions, failure_of(OSError("no room"), PERSIST, [draw], "persist"))
    yield
    with lottery.res.sessions.begin() as session:
        session.execute(text("UPDATE retries SET last_at = now() - interval '10 min'"))  # nobody came for it since


@contextmanager
def dead(lottery: Lottery, draw: str) -> Iterator[None]:
    note_failure(lottery.res.sessions, failure_of(ValueError("what"), PERSIST, [draw], "persist"))
    yield
    with as_owner(lottery.res) as sql:
        sql.execute("DELETE FROM dead_letters")


def test_a_journal_that_waits_is_named_with_where_it_is_stored_to(lottery: Lottery) -> None:
    draw, idle, agent = lottery.draw(), lottery.draw(minute=1), lottery.rich_agent()
    lottery.sell(idle, agent)
    persist(lottery.res, idle)
    lottery.sell(draw, agent)
    persist(lottery.res, draw)
    lottery.sell(draw, agent)
    assert _waiting(lottery.res, Judge()) == {draw: Position(1, 0)}


@pytest.mark.parametrize("excused", [held, stopped, failed_lately, dead])
def test_what_no_restart_would_mend_is_not_held_against_the_worker(lottery: Lottery, excused: Excused) -> None:
    draw, other, agent = lottery.draw(), lottery.draw(minute=1), lottery.rich_agent()
    for name in (draw, other):
        lottery.sell(name, agent)
    start = Position(0, 0)
    judge = Judge()
    judge.look(0, _waiting(lottery.res, judge), 0)
    with excused(lottery, draw):
        assert _waiting(lottery.res, judge) == {other: start}
    assert _waiting(lottery.res, judge) == {draw: start, other: start}


def test_looking_keeps_nobody_from_storing(lottery: Lottery) -> None:
    """The look at who holds a position takes a lock for a moment, and whoever comes just then would pass by: so it is
    taken only for a journal that nobody came for since the last look."""
    draw = lottery.draw()
    lottery.sell(draw, lottery.rich_agent())
    with held(lottery, draw):
        assert _waiting(lottery.res, Judge()) == {draw: Position(0, 0)}, "at the first look nobody is asked"


def test_a_draw_that_is_over_is_not_looked_at(lottery: Lottery) -> None:
    draw = lottery.draw()
    lottery.sell(draw, lottery.rich_agent())
    sealed(lottery, draw)
    assert _waiting(lottery.res, Judge()) == {}
