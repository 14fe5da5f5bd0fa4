"""What a rebuild writes back from the database has one source only: counted once, and never more than was lost."""

from __future__ import annotations

from sqlalchemy import text

from actions.reconcile import reconcile
from tasks.persist import persist
from tasks.seal import seal
from tests.integration.after_sales import as_owner, drain, failures, sealed
from tests.integration.conftest import Lottery


def seal_sizes(lottery: Lottery) -> tuple[int, int]:
    """(leaves, leaves that were restored) of the one seal."""
    with lottery.res.sessions() as session:
        size, restored = session.execute(text("SELECT tree_size, restored FROM seals")).one()
    return size, restored


def lose(lottery: Lottery, draw: str, *places: str) -> None:
    """The server lost these records, and only these."""
    lottery.res.gate._client.xdel(f"draw:{draw}:journal", *places)
    lottery.res.rebuild.fence()
    assert reconcile(lottery.res)


def test_leaves_restored_by_several_rebuilds_are_counted_once(lottery: Lottery) -> None:
    agent, draw = lottery.person(pesos=100), lottery.draw()
    for _ in range(3):
        lottery.sell(draw, agent)
    persist(lottery.res, draw)
    for _ in range(2):
        lottery.res.gate._client.flushall()
        assert reconcile(lottery.res)
    sealed(lottery, draw)
    assert seal_sizes(lottery) == (3, 3)


def test_only_what_was_lost_is_restored_and_it_stays_counted_through_the_next_rebuild(lottery: Lottery) -> None:
    agent, draw = lottery.person(pesos=100), lottery.draw()
    for _ in range(4):
        lottery.sell(draw, agent)
    persist(lottery.res, draw)
    before = list(lottery.res.journal.all(draw))
    lose(lottery, draw, "2-0")
    lose(lottery, draw, "4-0")
    assert list(lottery.res.journal.all(draw)) == before
    lottery.sell(draw, agent)
    sealed(lottery, draw)
    assert seal_sizes(lottery) == (5, 2)


def test_a_rebuild_that_lost_nothing_restores_nothing(lottery: Lottery) -> None:
    agent, draw = lottery.person(pesos=100), lottery.draw()
    lottery.sell(draw, agent)
    persist(lottery.res, draw)
    lottery.res.rebuild.fence()
    assert reconcile(lottery.res)
    sealed(lottery, draw)
    assert seal_sizes(lottery) == (1, 0)


def test_losing_one_record_does_not_throw_away_the_second_source_of_the_others(lottery: Lottery) -> None:
    agent, draw = lottery.person(pesos=100), lottery.draw()
    for number in ("111", "222", "333"):
        lottery.sell(draw, agent, f"s{number}:1")
    persist(lottery.res, draw)
    with as_owner(lottery.res) as connection:
        connection.execute("UPDATE ticket_lines SET number = '999' WHERE serial = 1")
    lose(lottery, draw, "3-0")
    drain(lottery, draw)
    assert not seal(lottery.res, draw)
    assert failures(lottery.res)
