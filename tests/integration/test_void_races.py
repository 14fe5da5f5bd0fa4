"""Voids against the draw break: what was answered `voided` stands before the close marker, and counts exactly."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial

from sqlalchemy import select

from actions import draws, void
from actions.reconcile import reconcile
from intake.bets import summed
from intake.gate import Held, Sale
from intake.records import CloseRecord, VoidRecord, decode
from models.tickets import AgentSum, Exposure, Void
from rules.errors import IntakeUnavailable
from rules.tickets import ticket_number
from tasks.close_draws import close_draws
from tasks.persist import persist
from tasks.seal import seal
from tests.integration.after_sales import read_draw, wallet
from tests.integration.conftest import Lottery, line, new_id
from tests.integration.counters import books_are_right, gate_knows, outcomes

SOLD, LOADED = 300, 100_000
AGENTS = 3


class Rush:
    """A draw with three hundred tickets of three agents, ₱2 and ₱1 each, that are all to be voided at once."""

    def __init__(self, lottery: Lottery) -> None:
        self.lottery, self.res = lottery, lottery.res
        self.draw = lottery.draw(minute=lottery.next_minute())
        self.agents = [lottery.person(pesos=LOADED // 100) for _ in range(AGENTS)]
        self.tickets: list[tuple[Sale, Held]] = []
        for n, agent in enumerate(self.agents):
            bets = [(line(f"s{i % 7:03}:2"), line(f"r{123 + (i + n) % 3}:1")) for i in range(SOLD // AGENTS)]
            sales = [Sale(agent, new_id(), two) for two in bets]
            for sale, held in zip(sales, lottery.res.gate.sell(self.draw, sales), strict=True):
                assert isinstance(held, Held)
                self.tickets.append((sale, held))

    def void(self, index: int) -> str:
        """By the ticket's number; every third by its id, as for a customer who left before the answer."""
        sale, held = self.tickets[index]
        if index % 3 == 0:
            return str(void.cancel(self.res, sale.agent_id, self.draw, sale.id)["status"])
        return str(void.void(self.res, sale.agent_id, ticket_number(self.draw, held.serial), "wrong number")["status"])

    def race(self, *others: Callable[[], object]) -> list[int]:
        """Makes all voids, and the others' calls in the midst; the serials of those that were answered `voided`."""
        order = list(range(SOLD))
        random.Random(11).shuffle(order)
        calls: list[Callable[[], object]] = [partial(_at_last, partial(self.void, index)) for index in order]
        for n, other in enumerate(others, 1):
            calls[SOLD * n // (len(others) + 1)] = partial(_both, other, calls[SOLD * n // (len(others) + 1)])
        answers = outcomes(calls)
        assert set(answers) <= {"voided", "void_window_over"}
        return sorted(self.tickets[i][1].serial for i, answer in zip(order, answers, strict=True) if answer == "voided")

    def close(self) -> None:
        draws.close(self.res, self.lottery.person("admin"), self.draw)


def _at_last(call: Callable[[], object]) -> object:
    """Whoever finds the gate being rebuilt asks again."""
    while True:
        try:
            return call()
        except IntakeUnavailable:
            time.sleep(0.01)


def _both(first: Callable[[], object], second: Callable[[], object]) -> object:
    _at_last(first)
    return second()


def must_count(rush: Rush, voided: Sequence[int]) -> None:
    """The journal ends with its close marker; before it stand the voids that were answered, and no others. The sums,
    the exposure and everybody's credit follow from them to the centavo."""
    res, live = rush.res, [one for one in rush.tickets if one[1].serial not in voided]
    records = [decode(raw) for _, raw in res.journal.all(rush.draw)]
    marker = records[-1]
    assert isinstance(marker, CloseRecord)
    found = [record for record in records if isinstance(record, VoidRecord) and record.stake]
    assert sorted(record.ticket_serial for record in found) == list(voided)
    assert (marker.tickets, marker.voids, marker.voided_stake) == (SOLD, len(voided), 300 * len(voided))
    spent = Counter[int]()
    exposure = Counter[tuple[str, str]]()
    for sale, _ in live:
        spent[sale.agent_id] += 300
        exposure.update(summed("3D", sale.lines))
    with res.sessions() as session:
        draw_id = read_draw(res, rush.draw).id
        stored = select(Void.ticket_serial).where(Void.draw_id == draw_id, Void.stake > 0).order_by(Void.ticket_serial)
        assert list(session.scalars(stored)) == list(voided)
        bets = session.scalars(select(Exposure).where(Exposure.draw_id == draw_id, Exposure.stake != 0))
        assert {(bet.play, bet.key): bet.stake for bet in bets} == exposure
        sums = session.scalars(select(AgentSum).where(AgentSum.draw_id == draw_id))
        assert {one.agent_id: one.stake - one.voided_stake for one in sums} == {a: spent[a] for a in rush.agents}
    assert {bet: stake for bet, stake in res.gate.exposures([rush.draw])[0].items() if stake} == exposure
    for agent in rush.agents:
        assert wallet(res, agent).balance == LOADED - spent[agent]
        gate_knows(rush.lottery, agent)
    books_are_right(res)
    assert seal(res, rush.draw)
    assert {rush.void(index) for index in _some(rush, voided)} <= {"voided"}


def _some(rush: Rush, voided: Sequence[int]) -> list[int]:
    """Tickets whose void, asked by id and repeated, gets the same answer also after the draw break."""
    return [i for i, (_, held) in enumerate(rush.tickets) if held.serial in voided and i % 3 == 0][:5]


def test_voids_by_the_hundred_while_somebody_closes_the_draw(lottery: Lottery) -> None:
    rush = Rush(lottery)
    voided = rush.race(partial(persist, rush.res, rush.draw), rush.close)
    assert 0 < len(voided) < SOLD
    persist(rush.res, rush.draw)
    must_count(rush, voided)


def test_voids_by_the_hundred_while_the_cutoff_comes(lottery: Lottery) -> None:
    """Nobody asks for the closing: the first void at or after the cutoff latches the draw."""
    rush = Rush(lottery)
    row, soon = read_draw(rush.res, rush.draw), rush.res.clock.now() + timedelta(milliseconds=250)
    draws.move_cutoff(rush.res, lottery.person("admin"), rush.draw, soon, row.draws_at, "a storm")

    def wait() -> None:
        lottery.wait_until(rush.draw)

    voided = rush.race(partial(persist, rush.res, rush.draw), wait, wait, wait, wait, wait, wait, wait, wait)
    assert len(voided) < SOLD
    assert close_draws(rush.res) == 1
    persist(rush.res, rush.draw)
    must_count(rush, voided)


def test_voids_by_the_hundred_while_the_draw_closes_and_is_rebuilt(lottery: Lottery) -> None:
    """A rebuild in the midst: who met it asks again, and nothing that was answered is lost."""
    rush = Rush(lottery)

    def rebuild() -> None:
        rush.res.rebuild.fence()
        _at_last(partial(reconcile, rush.res))

    voided = rush.race(rebuild, partial(persist, rush.res, rush.draw), rush.close, rebuild)
    assert len(voided) < SOLD
    persist(rush.res, rush.draw)
    must_count(rush, voided)


def test_a_ticket_voided_and_cancelled_by_many_at_once_gives_its_stake_back_once(lottery: Lottery) -> None:
    rush = Rush(lottery)
    sale, held = rush.tickets[0]
    number = ticket_number(rush.draw, held.serial)

    def by_number() -> object:
        return void.void(rush.res, sale.agent_id, number, "wrong number")["status"]

    def by_id() -> object:
        return void.cancel(rush.res, sale.agent_id, rush.draw, sale.id)["status"]

    answers = outcomes([by_number, by_id] * 100)
    assert set(answers) <= {"voided", "already_voided"}
    assert answers.count("voided") >= 100  # all who asked by its id
    rush.close()
    persist(rush.res, rush.draw)
    must_count(rush, [held.serial])
