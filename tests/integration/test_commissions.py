"""Commissions: earned once per draw, by the rates and the places in the tree of when the draw opened."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

import tasks.persist
import tasks.settle
from actions.credit import push_outbox
from actions.void import void
from models.ledger import Account, Entry, Posting
from models.people import CommissionRate, User
from models.settlement import DrawReport
from tasks.settle import OutOfBalance, settle
from tests.integration.after_sales import as_owner, at_once, killed, resulted, rung, wallet
from tests.integration.conftest import Lottery
from tests.integration.counters import House, books_are_right, gate_knows


def rate(lottery: Lottery, user_id: int, bp: int, ancestors: list[int] | None = None) -> None:
    """Gives a user a rate from now on, at his place in the tree or another one."""
    with lottery.res.sessions.begin() as session:
        above = session.get_one(User, user_id).ancestors if ancestors is None else ancestors
        session.add(CommissionRate(user_id=user_id, bp=bp, ancestors=above))


class Area:
    """superadmin > admin > boss > coordinator > two agents; 8% for agents, 1.5% and 0.33% above, 9% for an admin."""

    def __init__(self, lottery: Lottery) -> None:
        self.lottery = lottery
        self.superadmin = lottery.person("superadmin")
        self.admin = lottery.person("admin", parent=self.superadmin)
        self.boss = lottery.person("coordinator", parent=self.admin)
        self.coordinator = lottery.person("coordinator", parent=self.boss)
        self.ana, self.bea = (lottery.person(pesos=1_000, parent=self.coordinator) for _ in range(2))
        for user, bp in ((self.ana, 800), (self.bea, 801), (self.coordinator, 150), (self.boss, 33), (self.admin, 900)):
            rate(lottery, user, bp)
        self.draw = lottery.draw()

    def settle(self, number: str = "731") -> Any:
        res = resulted(self.lottery, self.draw, number)
        assert settle(res, self.draw)
        books_are_right(res)
        return res

    def earned(self) -> dict[int, int]:
        with self.lottery.res.sessions() as session:
            query = select(Account.user_id, Posting.amount).join(Posting).join(Entry)
            rows = session.execute(query.where(Entry.kind == "commission", Account.user_id.is_not(None))).all()
        return {row.user_id: row.amount for row in rows}


@pytest.fixture
def area(lottery: Lottery) -> Area:
    return Area(lottery)


def test_everybody_in_the_chain_earns_on_sales_less_voids(area: Area) -> None:
    area.lottery.sell(area.draw, area.ana, "s046:13")
    gone = area.lottery.sell(area.draw, area.ana, "s046:50")
    void(area.lottery.res, area.ana, gone["number"], "wrong number")
    area.lottery.sell(area.draw, area.bea, "s046:7", "r123:4")
    res = area.settle()
    assert area.earned() == {
        area.ana: 104,  # 8% of ₱13
        area.bea: 88,  # 8.01% of ₱11 is 88.11
        area.coordinator: 19 + 16,  # 1.5% of each agent's: 19.5 and 16.5
        area.boss: 4 + 3,  # 0.33%: 4.29 and 3.63
    }
    assert wallet(res, area.ana).balance == 100_000 - 1_300 + 104
    assert wallet(res, area.boss).balance == 7
    with res.sessions() as session:
        report = session.scalars(select(DrawReport.body)).one()
    assert report["commissions"] == {"agents": 192, "coordinators": 42}
    assert [agent["commission"] for agent in report["agents"]] == [104, 88]
    assert rung(area.lottery, "wallets.push")
    push_outbox(res)
    gate_knows(area.lottery, area.ana)
    gate_knows(area.lottery, area.bea)


def test_the_rates_and_places_of_the_opening_count(area: Area) -> None:
    """Everything changes while the draw is open; the draw that opens then has the new rates."""
    beside = area.lottery.person("coordinator", parent=area.admin)
    rate(area.lottery, beside, 500)
    with area.lottery.res.sessions.begin() as session:
        ana = session.get_one(User, area.ana)
        ana.parent_id, ana.ancestors = beside, [area.superadmin, area.admin, beside]
    rate(area.lottery, area.ana, 1_000)
    second = area.lottery.draw(minute=9)
    for draw in (area.draw, second):
        area.lottery.sell(draw, area.ana, "s046:100")
    area.settle()
    assert area.earned() == {area.ana: 800, area.coordinator: 150, area.boss: 33}
    res = resulted(area.lottery, second, "731")
    assert settle(res, second)
    books_are_right(res)
    with res.sessions() as session:
        entry = session.scalars(select(Entry).where(Entry.kind == "commission").order_by(Entry.id.desc())).first()
        assert entry is not None
        query = select(Account.user_id, Posting.amount).join(Posting).where(Posting.entry_id == entry.id)
        assert set(session.execute(query).all()) == {(area.ana, 1_000), (beside, 500), (None, -1_500)}


def test_who_came_after_the_opening_has_his_first_rate(area: Area) -> None:
    late = area.lottery.person(pesos=100, parent=area.boss)
    rate(area.lottery, late, 250)
    rate(area.lottery, late, 9_999)
    without = area.lottery.person(pesos=100, parent=area.coordinator)
    area.lottery.sell(area.draw, late, "s046:100")
    area.lottery.sell(area.draw, without, "s046:100")
    area.settle()
    assert area.earned() == {late: 250, area.boss: 33}


def test_a_correction_earns_nobody_anything_again(area: Area) -> None:
    house = House(area.lottery)
    house.draw = area.draw
    area.lottery.sell(area.draw, area.ana, "s046:100")
    house.res = area.settle("046")
    before = area.earned()
    house.correct("064")
    house.correct("046")
    books_are_right(house.res)
    assert area.earned() == before
    with house.res.sessions() as session:
        assert len(session.scalars(select(Entry).where(Entry.kind == "commission")).all()) == 1


def test_no_commission_no_entry(lottery: Lottery) -> None:
    area = Area(lottery)
    area.settle()
    with lottery.res.sessions() as session:
        assert session.scalars(select(Entry.kind)).all() == ["load", "load"]


@pytest.mark.parametrize("line", ["lock_wallets", "add_to_balances", "loosen", "post"])
def test_a_kill_in_the_step_pays_nothing_and_the_next_one_everything(
    area: Area, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    area.lottery.sell(area.draw, area.ana, "s046:100")
    res = resulted(area.lottery, area.draw, "731")
    with monkeypatch.context() as patch:
        patch.setattr(tasks.settle, line, killed)
        with pytest.raises(KeyboardInterrupt):
            settle(res, area.draw)
    assert area.earned() == {}
    books_are_right(res)
    assert at_once(lambda: settle(res, area.draw)) == [True] * 4
    assert area.earned()[area.ana] == 800
    assert wallet(res, area.ana).balance == 100_000 - 10_000 + 800
    books_are_right(res)


def test_no_commissions_on_sums_that_were_not_sealed(area: Area) -> None:
    area.lottery.sell(area.draw, area.ana, "s046:100")
    res = resulted(area.lottery, area.draw, "731")
    with as_owner(res) as owner:
        owner.execute("UPDATE agent_sums SET stake = stake * 10")
    with pytest.raises(OutOfBalance):
        settle(res, area.draw)
    assert area.earned() == {}


def test_sales_go_on_while_commissions_are_booked(area: Area) -> None:
    """Commissions of five draws, while the same agents sell in another one: no deadlock, and gate = database."""
    second = area.lottery.draw(minute=30)
    draws = [area.lottery.draw(minute=40 + i) for i in range(5)]
    for draw in draws:
        area.lottery.sell(draw, area.ana, "s046:10")
        area.lottery.sell(draw, area.bea, "s046:10")
    ready = [(resulted(area.lottery, draw, "731"), draw) for draw in draws]

    def sell() -> bool:
        for i in range(20):
            area.lottery.sell(second, (area.ana, area.bea)[i % 2], f"s{i:03d}:1")
            tasks.persist.persist(area.lottery.res, second)
        return True

    turns = iter([sell, *(lambda r=r, d=d: settle(r, d) for r, d in ready)])
    assert at_once(lambda: next(turns)(), times=6) == [True] * 6  # type: ignore[no-untyped-call]
    tasks.persist.persist(area.lottery.res, second)
    push_outbox(area.lottery.res)
    for agent in (area.ana, area.bea):
        gate_knows(area.lottery, agent)
    books_are_right(area.lottery.res)
