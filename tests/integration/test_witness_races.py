"""Between the gate's answer and its note a process may be held up; no serial is issued twice all the same."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from actions import void
from actions.reconcile import reconcile
from actions.witnessing import answer, gather, list_self
from intake.records import Position
from rules import errors
from runtime.settings import Settings
from tasks.persist import persist
from tests.integration.conftest import Lottery, make_resources, new_id

WAIT_S = 20


@pytest.fixture
def other(lottery: Lottery, settings: Settings) -> Iterator[Lottery]:
    """A second API process on the same servers; nothing answers rounds for either of them by itself."""
    list_self(lottery.res)
    ended = threading.Event()

    def answer_rounds() -> None:
        while not ended.wait(0.05):
            if answer(lottery.res):
                reconcile(lottery.res)

    # The first process still answers while the second one starts.
    with ThreadPoolExecutor(1) as pool:
        answering = pool.submit(answer_rounds)
        res, rings = make_resources(settings)
        list_self(res)
        ended.set()
        answering.result()
    yield Lottery(res, rings)
    res.close()


class HeldUp:
    """A sale of a process that has the gate's answer in hand, and is not scheduled until `go_on`."""

    def __init__(self, lottery: Lottery, draw: str, agent: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self._go = threading.Event()
        answered = threading.Event()
        real = lottery.res.gate._note

        def note(of_draw: str, position: Position) -> None:
            answered.set()
            assert self._go.wait(WAIT_S)
            real(of_draw, position)

        monkeypatch.setattr(lottery.res.gate, "_note", note)
        self._pool = ThreadPoolExecutor(1)
        self._sale = self._pool.submit(lottery.sell, draw, agent, "s111:1")
        assert answered.wait(WAIT_S)

    def go_on(self) -> int:
        """Lets it go on; the serial that its terminal is told."""
        self._go.set()
        serial = int(self._sale.result(WAIT_S)["serial"])
        self._pool.shutdown()
        return serial


def test_a_serial_is_never_issued_twice_though_an_answer_was_on_its_way(
    lottery: Lottery, other: Lottery, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent, draw = lottery.person(pesos=500), lottery.draw()
    lottery.sell(draw, agent)
    persist(lottery.res, draw)
    held_up = HeldUp(lottery, draw, agent, monkeypatch)
    lottery.res.gate._client.flushall()
    assert reconcile(other.res)
    sold = other.sell(draw, agent, "s999:1")["serial"]
    told = held_up.go_on()
    assert sold != told
    persist(other.res, draw)
    with other.res.sessions() as session:
        first, last = session.execute(text("SELECT first_serial, last_serial FROM gaps")).one()
    assert first <= told <= last


def test_a_round_is_answered_with_what_was_on_its_way(
    lottery: Lottery, other: Lottery, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent, draw = lottery.person(pesos=500), lottery.draw()
    held_up = HeldUp(lottery, draw, agent, monkeypatch)
    with ThreadPoolExecutor(2) as pool:
        gathered = pool.submit(gather, other.res)
        answered = pool.submit(_answer_when_asked, lottery)
        told = held_up.go_on()
        assert answered.result(WAIT_S)
        witnessed, silent = gathered.result(WAIT_S)
    assert silent == []
    assert witnessed[draw] == Position(told, 0)


def _answer_when_asked(lottery: Lottery) -> bool:
    for _ in range(WAIT_S * 100):
        if answer(lottery.res):
            return True
        threading.Event().wait(0.01)
    return False


def test_who_has_answered_a_round_sells_no_more_until_it_has_reconciled(lottery: Lottery, other: Lottery) -> None:
    agent, draw = lottery.person(pesos=500), lottery.draw()
    lottery.sell(draw, agent)
    with ThreadPoolExecutor(1) as pool:
        gathered = pool.submit(gather, other.res)
        assert _answer_when_asked(lottery)
        gathered.result(WAIT_S)
    with pytest.raises(errors.IntakeUnavailable):
        lottery.sell(draw, agent)
    reconcile(lottery.res)
    assert lottery.sell(draw, agent)["serial"] == 2


def test_a_repeated_cancel_or_void_is_witnessed_by_who_answers_it(lottery: Lottery, settings: Settings) -> None:
    agent, draw, ticket_id = lottery.person(pesos=100), lottery.draw(), new_id()
    lottery.sell(draw, agent, ticket_id=ticket_id)
    # As if the process had died between the gate's answer and its note.
    died, _ = make_resources(settings, witness=False)
    for never_sold in (ticket_id, new_id()):
        first = void.cancel(died, agent, draw, never_sold)
        assert void.cancel(lottery.res, agent, draw, never_sold) == first
    died.close()
    assert lottery.res.witness is not None
    assert lottery.res.witness.seen(draw) >= Position(1, 2)


def test_a_repeated_sale_is_witnessed_by_who_answers_it(lottery: Lottery, settings: Settings) -> None:
    agent, draw, ticket_id = lottery.person(pesos=100), lottery.draw(), new_id()
    died, rings = make_resources(settings, witness=False)
    first = Lottery(died, rings).sell(draw, agent, ticket_id=ticket_id)
    died.close()
    assert lottery.sell(draw, agent, ticket_id=ticket_id) == first
    assert lottery.res.witness is not None
    assert lottery.res.witness.seen(draw) == Position(1, 0)
