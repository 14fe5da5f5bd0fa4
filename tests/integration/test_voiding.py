"""Voiding a draw: two persons, sales stop, and every stake goes back exactly once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, time, timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select

import tasks.void_draw
from actions import draws, opening, results, voiding
from actions.credit import push_outbox
from actions.reconcile import reconcile
from actions.void import void
from intake.gate_errors import Unreconciled
from models.dead_letters import DeadLetter
from models.draws import Intent
from models.ledger import Entry
from models.people import User, WalletOutbox
from rules.errors import DrawNotOpen, IntakeUnavailable, NoSuchDraw, SamePerson, WrongState
from tasks.open_draws import open_draws
from tasks.persist import persist
from tasks.seal import seal
from tasks.settle import settle
from tasks.void_draw import SumsDiffer, void_draw
from tests.integration.after_sales import (
    as_owner,
    at_once,
    decide,
    drain,
    killed,
    later,
    ledger,
    read_draw,
    resulted,
    rung,
    sealed,
    status,
    wallet,
)
from tests.integration.conftest import Lottery


@pytest.fixture
def sold(lottery: Lottery) -> tuple[Lottery, str, list[int]]:
    """A draw with ₱10 and ₱25 of two agents that count, and a voided ticket of a third."""
    agents = [lottery.person(pesos=100) for _ in range(3)]
    draw = lottery.draw()
    lottery.sell(draw, agents[0], "s046:10")
    lottery.sell(draw, agents[1], "s046:20", "r123:5")
    gone = lottery.sell(draw, agents[2], "s046:30")
    void(lottery.res, agents[2], gone["number"], "wrong number")
    return lottery, draw, agents


def check_refunded(lottery: Lottery, draw: str, agents: list[int]) -> None:
    """Every agent has what he began with, in the database and in the gate, and the books show it once."""
    res = lottery.res
    assert status(res, draw) == "void"
    assert [wallet(res, agent).balance for agent in agents] == [10_000] * 3
    assert ledger(res) == {"cash": -30_000, "wallet": 30_000, "sales": 0}
    with res.sessions() as session:
        entry = session.scalars(select(Entry).where(Entry.kind == "refund")).one()
        rows = session.scalars(select(WalletOutbox).where(WalletOutbox.reason == "refund")).all()
        assert session.scalars(select(Intent).where(Intent.status == "asked")).all() == []
    assert entry.note == "the machine broke"
    assert {row.user_id: row.amount for row in rows} == {agents[0]: 1_000, agents[1]: 2_500}
    push_outbox(res)
    other = lottery.draw(minute=7)
    assert [lottery.sell(other, agent, "s001:1")["available"] for agent in agents] == [9_900] * 3


def test_a_voided_open_draw_stops_selling_and_gives_every_stake_back(
    sold: tuple[Lottery, str, list[int]],
) -> None:
    lottery, draw, agents = sold
    persist(lottery.res, draw)
    second = decide(lottery, draw)
    assert rung(lottery, "draws.void", draw)
    with pytest.raises(DrawNotOpen):
        lottery.sell(draw, agents[0], "s046:1")
    assert not void_draw(lottery.res, draw)
    persist(lottery.res, draw)
    assert void_draw(lottery.res, draw)
    assert rung(lottery, "wallets.push")
    assert not void_draw(lottery.res, draw)
    check_refunded(lottery, draw, agents)
    assert voiding.confirm(lottery.res, second, draw) == {"status": "voiding", "draw_id": draw}


@pytest.mark.parametrize("bring", [drain, sealed, lambda lottery, draw: resulted(lottery, draw, "046")])
def test_a_closed_sealed_or_resulted_draw_can_be_voided(
    sold: tuple[Lottery, str, list[int]], bring: Callable[[Lottery, str], Any]
) -> None:
    lottery, draw, agents = sold
    bring(lottery, draw)
    decide(lottery, draw)
    assert not settle(lottery.res, draw)
    assert void_draw(lottery.res, draw)
    check_refunded(lottery, draw, agents)


def test_a_settling_or_settled_draw_cannot_be_voided(sold: tuple[Lottery, str, list[int]]) -> None:
    lottery, draw, _ = sold
    res = resulted(lottery, draw, "046")
    assert settle(res, draw)
    with pytest.raises(WrongState):
        voiding.ask(res, lottery.person("admin"), draw, "too late")


def test_a_draw_settled_between_the_two_persons_cannot_be_voided(
    sold: tuple[Lottery, str, list[int]],
) -> None:
    lottery, draw, _ = sold
    res = resulted(lottery, draw, "046")
    voiding.ask(res, lottery.person("admin"), draw, "wrong balls")
    assert settle(res, draw)
    with pytest.raises(WrongState):
        voiding.confirm(res, lottery.person("admin"), draw)
    assert status(res, draw) == "settled"


def test_voiding_needs_two_persons(lottery: Lottery) -> None:
    draw = lottery.draw()
    ada, ben, cy = (lottery.person("admin") for _ in range(3))
    with pytest.raises(WrongState):
        voiding.confirm(lottery.res, ben, draw)
    assert voiding.ask(lottery.res, ada, draw, "a reason")["status"] == "awaiting_confirmation"
    assert voiding.ask(lottery.res, ada, draw, "a better reason")["reason"] == "a better reason"
    with pytest.raises(WrongState):
        voiding.ask(lottery.res, ben, draw, "another's")
    with pytest.raises(SamePerson):
        voiding.confirm(lottery.res, ada, draw)
    assert status(lottery.res, draw) == "open"
    voiding.confirm(lottery.res, ben, draw)
    with pytest.raises(WrongState):
        voiding.confirm(lottery.res, cy, draw)
    with pytest.raises(WrongState):
        voiding.ask(lottery.res, cy, draw, "again")
    with pytest.raises(NoSuchDraw):
        voiding.ask(lottery.res, ada, "3D-20260101-1400", "none")


def test_what_somebody_asked_for_who_is_suspended_since_cannot_be_confirmed(lottery: Lottery) -> None:
    draw = lottery.draw()
    first, second, third = (lottery.person("admin") for _ in range(3))
    voiding.ask(lottery.res, first, draw, "fraud")
    with lottery.res.sessions.begin() as session:
        session.get_one(User, first).status = "suspended"
    with pytest.raises(WrongState, match="Nobody"):
        voiding.confirm(lottery.res, second, draw)
    assert voiding.ask(lottery.res, second, draw, "a reason of my own")["status"] == "awaiting_confirmation"
    assert voiding.confirm(lottery.res, third, draw)["status"] == "voiding"


def test_a_scheduled_draw_becomes_void_without_a_refund(lottery: Lottery) -> None:
    now = lottery.res.clock.now()
    hours = [now + timedelta(hours=n) for n in (1, 2, 3)]
    times = dict(zip(("opens_at", "cutoff_at", "draws_at"), hours, strict=True))
    body = draws.create(lottery.res, None, game="3D", date=date(2026, 5, 1), time=time(14), **times)
    decide(lottery, str(body["id"]))
    assert void_draw(lottery.res, str(body["id"]))
    assert status(lottery.res, str(body["id"])) == "void"
    assert ledger(lottery.res) == {}


def test_a_draw_without_tickets_becomes_void_without_an_entry(lottery: Lottery) -> None:
    draw = lottery.draw()
    drain(lottery, draw)
    decide(lottery, draw)
    assert void_draw(lottery.res, draw)
    assert ledger(lottery.res) == {}


def test_a_draw_that_never_reached_the_gate_becomes_void(lottery: Lottery, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(draws, "open_in_gate", lambda *_: False)
        draw = lottery.draw()
    decide(lottery, draw)
    assert void_draw(lottery.res, draw)
    assert status(lottery.res, draw) == "void"
    open_draws(lottery.res)
    assert not opening.open_in_gate(lottery.res, read_draw(lottery.res, draw).id)
    with pytest.raises(DrawNotOpen):
        # The gate has never heard of it.
        lottery.sell(draw, lottery.person(pesos=10))


def test_waiting_records_a_stopped_draw_and_wrong_sums_keep_the_stakes(
    sold: tuple[Lottery, str, list[int]],
) -> None:
    lottery, draw, agents = sold
    drain(lottery, draw)
    decide(lottery, draw)
    letter = {"draw_id": read_draw(lottery.res, draw).id, "serial": 9, "sub": 0, "body": b"t|", "error": "x"}
    letter |= {"kind": "record", "queue": "persist"}
    with lottery.res.sessions.begin() as session:
        session.execute(insert(DeadLetter).values(letter))
    assert not void_draw(lottery.res, draw)
    with as_owner(lottery.res) as owner:
        owner.execute("UPDATE dead_letters SET status = 'replayed', ended_at = now()")
        owner.execute("UPDATE draws SET stopped = 'a conflict'")
        assert not void_draw(lottery.res, draw)
        owner.execute("UPDATE draws SET stopped = NULL")
        owner.execute("UPDATE agent_sums SET stake = stake + 100 WHERE agent_id = %s", [agents[0]])
        with pytest.raises(SumsDiffer):
            void_draw(lottery.res, draw)
        owner.execute("UPDATE agent_sums SET stake = stake - 100 WHERE agent_id = %s", [agents[0]])
    assert void_draw(lottery.res, draw)
    check_refunded(lottery, draw, agents)


def test_the_stakes_go_back_once_when_several_do_it_at_once(sold: tuple[Lottery, str, list[int]]) -> None:
    lottery, draw, agents = sold
    drain(lottery, draw)
    decide(lottery, draw)
    answers = at_once(lambda: void_draw(lottery.res, draw))
    assert sorted(map(bool, answers)) == [False, False, False, True]
    assert all(isinstance(answer, bool) for answer in answers)
    check_refunded(lottery, draw, agents)


@pytest.mark.parametrize("line", ["lock_wallets", "loosen", "post", "advance"])
def test_who_dies_on_the_way_gives_nothing_back_and_the_next_one_everything(
    sold: tuple[Lottery, str, list[int]], monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    lottery, draw, agents = sold
    drain(lottery, draw)
    decide(lottery, draw)
    with monkeypatch.context() as patch:
        patch.setattr(tasks.void_draw, line, killed)
        with pytest.raises(KeyboardInterrupt):
            void_draw(lottery.res, draw)
    assert status(lottery.res, draw) == "voiding"
    assert wallet(lottery.res, agents[0]).balance == 9_000
    assert void_draw(lottery.res, draw)
    check_refunded(lottery, draw, agents)


def test_a_gate_that_is_away_does_not_hold_the_decision_up(
    sold: tuple[Lottery, str, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    lottery, draw, agents = sold

    def away(*_: object, **__: object) -> Any:
        raise IntakeUnavailable(retry_after=1)

    with monkeypatch.context() as patch:
        patch.setattr(lottery.res.gate, "close", away)
        decide(lottery, draw)
        with pytest.raises(IntakeUnavailable):
            void_draw(lottery.res, draw)
    void_draw(lottery.res, draw)
    persist(lottery.res, draw)
    assert void_draw(lottery.res, draw)
    check_refunded(lottery, draw, agents)


def test_a_rebuild_does_not_reopen_a_draw_that_is_being_voided(
    sold: tuple[Lottery, str, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    lottery, draw, agents = sold
    persist(lottery.res, draw)

    def unreconciled(*_: object, **__: object) -> Any:
        raise Unreconciled("rebuilding")

    with monkeypatch.context() as patch:
        patch.setattr(lottery.res.gate, "close", unreconciled)
        decide(lottery, draw)
    lottery.res.rebuild.fence()
    assert reconcile(lottery.res)
    with pytest.raises(DrawNotOpen):
        lottery.sell(draw, agents[0], "s046:1")
    void_draw(lottery.res, draw)
    persist(lottery.res, draw)
    assert void_draw(lottery.res, draw)
    check_refunded(lottery, draw, agents)


def test_sealing_settling_and_voiding_at_once_end_in_one_refund(sold: tuple[Lottery, str, list[int]]) -> None:
    lottery, draw, agents = sold
    drain(lottery, draw)
    voiding.ask(lottery.res, lottery.person("admin"), draw, "the machine broke")
    second = lottery.person("admin")

    def everything() -> None:
        seal(lottery.res, draw)
        voiding.confirm(lottery.res, second, draw)
        settle(lottery.res, draw)
        persist(lottery.res, draw)
        void_draw(lottery.res, draw)

    assert at_once(everything) == [None] * 4
    void_draw(lottery.res, draw)
    check_refunded(lottery, draw, agents)


def test_a_result_and_a_void_confirmed_at_once_leave_the_draw_voiding(
    sold: tuple[Lottery, str, list[int]],
) -> None:
    lottery, draw, agents = sold
    sealed(lottery, draw)
    res, row = later(lottery.res), read_draw(lottery.res, draw)
    one, two, three = (lottery.person("admin") for _ in range(3))
    results.enter(res, one, draw, "046", row.date, row.time)
    voiding.ask(res, one, draw, "the machine broke")
    calls: list[Callable[[], Any]] = [
        lambda: results.confirm(res, two, draw, "046", row.date, row.time),
        lambda: voiding.confirm(res, three, draw),
    ]
    turns = iter(calls)
    answers = at_once(lambda: next(turns)(), times=2)
    assert {"status": "voiding", "draw_id": draw} in answers
    assert all(isinstance(answer, dict | WrongState) for answer in answers)
    assert not settle(res, draw)
    assert void_draw(res, draw)
    check_refunded(lottery, draw, agents)
