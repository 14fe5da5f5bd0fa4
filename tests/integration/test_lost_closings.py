"""A draw that somebody closed becomes closed, also when the gate lost it, or its close marker, on the way."""

from __future__ import annotations

import pytest

from actions import closing, draws
from actions.reconcile import reconcile
from rules.errors import IntakeUnavailable
from tasks.close_draws import close_draws
from tasks.open_draws import open_draws
from tasks.persist import persist
from tests.integration.after_sales import status
from tests.integration.conftest import Lottery


def test_a_close_marker_that_was_lost_is_written_anew_before_the_cutoff(lottery: Lottery) -> None:
    draw = lottery.draw()
    lottery.sell(draw, lottery.rich_agent())
    draws.close(lottery.res, lottery.person("admin"), draw)
    lottery.res.gate._client.flushall()
    reconcile(lottery.res)
    close_draws(lottery.res)
    persist(lottery.res, draw)
    assert status(lottery.res, draw) == "closed"


def test_a_draw_that_the_gate_lost_is_made_anew_to_be_closed(lottery: Lottery) -> None:
    draw = lottery.draw()
    lottery.sell(draw, lottery.rich_agent())
    persist(lottery.res, draw)
    lottery.res.gate._client.delete(f"draw:{draw}")
    closing.ask_to_close(lottery.res, lottery.person("admin"), draw)
    open_draws(lottery.res)
    with pytest.raises(IntakeUnavailable):
        close_draws(lottery.res)
    reconcile(lottery.res)
    close_draws(lottery.res)
    persist(lottery.res, draw)
    assert status(lottery.res, draw) == "closed"
