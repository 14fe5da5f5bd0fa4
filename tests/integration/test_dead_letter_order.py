"""What waits with a dead letter, and what does not."""

from __future__ import annotations

from sqlalchemy import text

from actions import void
from tasks.persist import persist
from tests.integration.after_sales import as_owner
from tests.integration.conftest import Lottery


def letters(lottery: Lottery) -> list[tuple[int, int]]:
    with lottery.res.sessions() as session:
        rows = session.execute(text("SELECT serial, sub FROM dead_letters ORDER BY serial, sub"))
        return [(row.serial, row.sub) for row in rows]


def test_a_refused_void_does_not_condemn_the_void_of_another_ticket(lottery: Lottery) -> None:
    agent, draw = lottery.person(pesos=100), lottery.draw()
    first, second = lottery.sell(draw, agent), lottery.sell(draw, agent)
    with as_owner(lottery.res) as connection:
        connection.execute("ALTER TABLE voids ADD CONSTRAINT no_bad_reason CHECK (reason <> 'bad')")
    void.void(lottery.res, agent, first["number"], "bad")
    void.void(lottery.res, agent, second["number"], "good")
    persist(lottery.res, draw)
    assert letters(lottery) == [(2, 1)]
    with lottery.res.sessions() as session:
        assert session.scalar(text("SELECT ticket_serial FROM voids")) == 2


def test_a_void_of_a_refused_ticket_waits_with_it_and_others_do_not(lottery: Lottery) -> None:
    agent, draw = lottery.person(pesos=100), lottery.draw()
    with as_owner(lottery.res) as connection:
        connection.execute("ALTER TABLE ticket_lines ADD CONSTRAINT not_300 CHECK (number <> '300')")
    refused, stored = lottery.sell(draw, agent, "s300:1"), lottery.sell(draw, agent, "s301:1")
    void.void(lottery.res, agent, stored["number"], "typed wrong")
    void.void(lottery.res, agent, refused["number"], "typed wrong")
    persist(lottery.res, draw)
    assert letters(lottery) == [(1, 0), (2, 2)]
    with lottery.res.sessions() as session:
        assert session.scalar(text("SELECT ticket_serial FROM voids")) == 2
