"""What a batch of records gives to tell, once each, and that it costs a batch nothing that has nothing to tell."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import event

from actions.closing import complete_intents
from actions.draws import set_limits
from actions.void import void
from tasks.persist import persist
from tests.integration.after_sales import as_owner
from tests.integration.conftest import Lottery
from tests.integration.hearing import Team, change, rows, told_to


@pytest.fixture
def team(lottery: Lottery) -> Team:
    return Team(lottery)


def test_low_credit_is_told_once_until_there_is_enough_again(lottery: Lottery, team: Team) -> None:
    res, draw = lottery.res, lottery.draw()
    agent = lottery.person(pesos=600, parent=team.coordinator, limit=100)

    def sells(*lines: str) -> dict[str, Any]:
        receipt = lottery.sell(draw, agent, *lines)
        persist(res, draw)
        return receipt

    sells("s001:200")  # ₱500 left is not less than ₱500
    assert told_to(res, agent, "low_credit") == []
    first = sells("s002:1")
    sells("s003:1")
    sells("s004:1")
    for user in (agent, team.coordinator):
        assert [item["data"] for item in told_to(res, user, "low_credit")] == [{"agent_id": agent, "available": 49_900}]
    for user in (team.sibling, team.area, team.admin):
        assert told_to(res, user, "low_credit") == []
    lottery.load(agent, 2)
    void(res, agent, str(first["number"]), "a slip")
    persist(res, draw)
    sells("s005:1", "s006:1")
    assert len(told_to(res, agent, "low_credit")) == 2


def test_a_number_sold_out_is_told_once_whatever_becomes_of_it(lottery: Lottery, team: Team) -> None:
    res, draw = lottery.res, lottery.draw()
    limits = {"by_number": {"straight": {"123": 5_000}, "rambolito": {"127": 0}}}
    set_limits(res, lottery.person("admin"), draw, limits)
    complete_intents(res, draw)
    agent = lottery.rich_agent()
    full = lottery.sell(draw, agent, "s046:1000")
    lottery.sell(draw, agent, "s047:999", "s123:50", "r321:1499")
    persist(res, draw)
    lottery.sell(draw, agent, "r123:1", "s048:1")
    persist(res, draw)
    void(res, agent, str(full["number"]), "a slip")
    persist(res, draw)
    lottery.sell(draw, agent, "s046:1000")
    lottery.sell(draw, agent, "s047:1")
    persist(res, draw)
    told = told_to(res, team.agent, "number.sold_out")
    numbers = [[(n["play"], n["number"], n["left"]) for n in item["data"]["numbers"]] for item in told]
    assert numbers == [
        [("straight", "046", 0), ("straight", "123", 0)],
        [("rambolito", "123", 0)],
        [("straight", "047", 0)],
    ]
    events = rows(res, "SELECT data, rooms FROM events WHERE name = 'number.sold_out' ORDER BY id")
    assert [row.data["number"] for row in events] == ["046", "123", "123", "047"]
    assert events[0].data == {"draw_id": draw, "play": "straight", "number": "046", "left": 0}
    assert events[0].rooms == ["all"]


def statements_of(lottery: Lottery, draw: str) -> list[str]:
    """What one batch asks of the database."""
    found: list[str] = []
    engine = lottery.res.sessions.kw["bind"]

    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        found.append(" ".join(statement.split()))

    event.listen(engine, "before_cursor_execute", note)
    try:
        persist(lottery.res, draw)
    finally:
        event.remove(engine, "before_cursor_execute", note)
    return found


def test_a_batch_with_nothing_to_tell_asks_nothing_more_of_the_database(lottery: Lottery) -> None:
    draw, agent = lottery.draw(), lottery.rich_agent()
    for i in range(30):
        lottery.sell(draw, agent, f"s{i:03d}:1", f"r{i + 120}:1")
    asked = statements_of(lottery, draw)
    assert not any(word in one for one in asked for word in ("notifications", "sold_out", "INTO events", "FROM users"))
    assert sum(one.startswith("SAVEPOINT") for one in asked) == 1  # of the rows
    assert sum("INTO exposures" in one for one in asked) == 1
    assert sum("UPDATE wallets" in one for one in asked) == 1


def test_a_batch_that_fills_many_numbers_tells_of_all_at_once(lottery: Lottery, team: Team) -> None:
    draw, agent = lottery.draw(), lottery.rich_agent()
    for i in range(40):
        lottery.sell(draw, agent, f"s{i:03d}:1000")
    asked = statements_of(lottery, draw)
    assert sum("INTO sold_out" in one for one in asked) == 1
    assert sum("INTO notifications" in one for one in asked) == 1
    assert sum("INTO events" in one for one in asked) == 2
    (item,) = told_to(lottery.res, team.agent, "number.sold_out")
    assert len(item["data"]["numbers"]) == 40
    assert item["text"].endswith("and 20 more.")


@pytest.mark.parametrize("wrong", ["'{}'", "'{\"stake_straight\": -5}'", '\'{"stake_straight": "much"}\''])
def test_limits_that_make_no_sense_keep_no_ticket_from_being_stored(lottery: Lottery, wrong: str) -> None:
    draw, agent = lottery.draw(), lottery.rich_agent()
    change(lottery.res, f"UPDATE draws SET limits = {wrong}")
    lottery.sell(draw, agent, "s046:1000")
    assert persist(lottery.res, draw) > 0
    assert [tuple(row) for row in rows(lottery.res, "SELECT count(*) FROM tickets")] == [(1,)]


def test_what_cannot_be_told_keeps_no_ticket_from_being_stored(lottery: Lottery, team: Team) -> None:
    draw = lottery.draw()
    with as_owner(lottery.res) as sql:
        sql.execute("ALTER TABLE notifications ADD CHECK (kind NOT IN ('number.sold_out', 'low_credit'))")
    lottery.sell(draw, team.agent, "s046:1000", "s047:1000")
    lottery.sell(draw, team.sibling, *(f"s{i:03d}:990" for i in range(10)))
    assert persist(lottery.res, draw) > 0
    assert [tuple(row) for row in rows(lottery.res, "SELECT count(*) FROM tickets")] == [(2,)]
    assert told_to(lottery.res, team.agent, "number.sold_out") == []
