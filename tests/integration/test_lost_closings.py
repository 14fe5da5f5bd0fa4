"""What somebody meant for a draw happens, also when the gate lost the draw, or its close marker, on the way."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from actions import closing, draws, voiding
from actions.reconcile import reconcile
from intake.gate_errors import Unreconciled
from tasks.close_draws import close_draws
from tasks.open_draws import open_draws
from tasks.persist import persist
from tasks.void_draw import void_draw
from tests.integration.after_sales import read_draw, status
from tests.integration.conftest import Lottery
from tests.integration.counters import books_are_right, gate_knows


def test_a_close_marker_that_was_lost_is_written_anew_before_the_cutoff(lottery: Lottery) -> None:
    draw = lottery.draw()
    lottery.sell(draw, lottery.rich_agent())
    draws.close(lottery.res, lottery.person("admin"), draw)
    lottery.res.gate._client.flushall()
    reconcile(lottery.res)
    close_draws(lottery.res)
    persist(lottery.res, draw)
    assert status(lottery.res, draw) == "closed"


def _close(lottery: Lottery, draw: str) -> None:
    closing.ask_to_close(lottery.res, lottery.person("admin"), draw)


def _move_cutoff(lottery: Lottery, draw: str) -> None:
    soon, drawn = lottery.res.clock.now() + timedelta(milliseconds=300), read_draw(lottery.res, draw).draws_at
    assert closing.ask_to_move_cutoff(lottery.res, lottery.person("admin"), draw, soon, drawn, "a storm")


@pytest.mark.parametrize("ask", [_close, _move_cutoff])
def test_a_draw_that_the_gate_lost_is_made_anew_to_be_closed(
    lottery: Lottery, ask: Callable[[Lottery, str], None]
) -> None:
    draw = lottery.draw()
    lottery.sell(draw, lottery.rich_agent())
    persist(lottery.res, draw)
    lottery.res.gate._client.delete(f"draw:{draw}")
    ask(lottery, draw)
    open_draws(lottery.res)
    with pytest.raises(Unreconciled):
        close_draws(lottery.res)
    reconcile(lottery.res)
    close_draws(lottery.res)
    if ask is _move_cutoff:
        lottery.wait_until(draw)
    close_draws(lottery.res)
    persist(lottery.res, draw)
    assert status(lottery.res, draw) == "closed"


def test_a_draw_that_never_reached_the_gate_waits_for_its_opening(
    lottery: Lottery, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("actions.draws.open_in_gate", lambda *_: False)
        draw = lottery.draw()
    _close(lottery, draw)
    assert close_draws(lottery.res) == 0
    open_draws(lottery.res)
    assert close_draws(lottery.res) == 1


def test_a_lost_draw_is_not_void_before_its_journal_is_stored(lottery: Lottery) -> None:
    draw, agent = lottery.draw(), lottery.person(pesos=100)
    lottery.sell(draw, agent)
    lottery.res.gate._client.delete(f"draw:{draw}")
    voiding.ask(lottery.res, lottery.person("admin"), draw, "the machine broke")
    voiding.confirm(lottery.res, lottery.person("admin"), draw)
    with pytest.raises(Unreconciled):
        void_draw(lottery.res, draw)
    reconcile(lottery.res)
    assert not void_draw(lottery.res, draw)
    assert persist(lottery.res, draw) == 3  # the open record, the ticket, the close marker
    assert void_draw(lottery.res, draw)
    assert persist(lottery.res, draw) == 0
    books_are_right(lottery.res)
    gate_knows(lottery, agent)
