"""What was closed, moved or ended stays so: no rebuild, no older server and no late answer opens it again."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from actions import closing
from actions.draws import move_cutoff
from actions.reconcile import reconcile
from models.draws import Draw
from rules import errors
from runtime.embedded_valkey import Valkey
from tasks.close_draws import close_draws
from tasks.open_draws import open_draws
from tasks.persist import persist
from tasks.sweep import sweep_journals
from tasks.void_draw import void_draw
from tests.integration.after_sales import decide, killed, read_draw, sealed, status
from tests.integration.conftest import Lottery, make_resources
from tests.integration.lost_servers import come_back_as, copy_data


def _seal(lottery: Lottery, draw: str) -> None:
    sealed(lottery, draw)


def _void(lottery: Lottery, draw: str) -> None:
    decide(lottery, draw)
    persist(lottery.res, draw)
    assert void_draw(lottery.res, draw)


def gate_field(lottery: Lottery, draw: str, name: str) -> bytes | None:
    raw: Any = lottery.res.gate._client
    found: bytes | None = raw.hget(f"draw:{draw}", name)
    return found


def gate_cutoff_s(lottery: Lottery, draw: str) -> float:
    return int(gate_field(lottery, draw, "cutoff_ms") or 0) / 1000


def half_moved_cutoff(lottery: Lottery, draw: str, in_s: float, monkeypatch: pytest.MonkeyPatch) -> float:
    """Moves the cutoff in the gate, and dies before that is posted; the new cutoff in seconds since 1970."""
    sooner = lottery.res.clock.now() + timedelta(seconds=in_s)
    with monkeypatch.context() as patched:
        patched.setattr(closing, "_post", killed)
        with pytest.raises(KeyboardInterrupt):
            move_cutoff(lottery.res, lottery.person("admin"), draw, sooner, sooner + timedelta(hours=1), "typhoon")
    assert abs(gate_cutoff_s(lottery, draw) - sooner.timestamp()) < 1
    return sooner.timestamp()


def stored_cutoff_s(lottery: Lottery, draw: str) -> float:
    row: Draw = read_draw(lottery.res, draw)
    return row.cutoff_at.timestamp()


@pytest.mark.parametrize("end", [_seal, _void], ids=["sealed", "void"])
def test_an_ended_draw_never_sells_after_its_server_came_back_as_it_was_while_it_sold(
    fragile: Lottery, own_valkey: Valkey, end: Callable[[Lottery, str], None]
) -> None:
    agent, draw = fragile.person(pesos=100), fragile.draw()
    fragile.sell(draw, agent)
    copy = copy_data(own_valkey)
    end(fragile, draw)
    ended = status(fragile.res, draw)
    come_back_as(own_valkey, copy)
    shutil.rmtree(fragile.res.witness_folder)  # a worker closed it, and workers keep no witness
    res, rings = make_resources(fragile.res.settings)
    try:
        with pytest.raises((errors.DrawNotOpen, errors.CutoffPassed)):
            Lottery(res, rings).sell(draw, agent)
        assert sweep_journals(res) == 0
        assert persist(res, draw) == 0
        assert status(res, draw) == ended
        with res.sessions() as session:
            assert session.scalar(text("SELECT count(*) FROM tickets")) == 1
    finally:
        res.close()


def test_a_latched_draw_stays_latched_through_a_rebuild_and_its_time_never_runs_back(lottery: Lottery) -> None:
    agent, draw = lottery.person(pesos=100), lottery.draw(cutoff_s=1.0)
    lottery.sell(draw, agent)
    lottery.wait_until(draw)
    with pytest.raises(errors.CutoffPassed):
        lottery.sell(draw, agent)
    assert gate_field(lottery, draw, "latch") == b"cutoff"
    lottery.res.rebuild.fence()
    assert reconcile(lottery.res)
    assert gate_field(lottery, draw, "latch") == b"cutoff"
    # A promoted server's clock may be slow: the gate's own time is what it was.
    assert int(gate_field(lottery, draw, "last_ms") or 0) >= int(gate_field(lottery, draw, "cutoff_ms") or 0)
    with pytest.raises(errors.CutoffPassed):
        lottery.sell(draw, agent)


def test_an_earlier_cutoff_that_the_gate_applied_survives_a_rebuild_before_it_was_posted(
    lottery: Lottery, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent, draw = lottery.person(pesos=100), lottery.draw()
    lottery.sell(draw, agent)
    cutoff_s = half_moved_cutoff(lottery, draw, 1, monkeypatch)
    lottery.wait_until(draw)
    with pytest.raises(errors.CutoffPassed):
        lottery.sell(draw, agent)
    lottery.res.rebuild.fence()
    assert reconcile(lottery.res)
    with pytest.raises(errors.CutoffPassed):
        lottery.sell(draw, agent)
    close_draws(lottery.res)  # completes what died between
    with pytest.raises(errors.CutoffPassed):
        lottery.sell(draw, agent)
    assert gate_cutoff_s(lottery, draw) == pytest.approx(cutoff_s, abs=1)


def test_an_earlier_cutoff_that_the_gate_applied_survives_the_loss_of_everything(
    lottery: Lottery, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent, draw = lottery.person(pesos=100), lottery.draw()
    lottery.sell(draw, agent)
    persist(lottery.res, draw)
    half_moved_cutoff(lottery, draw, 1, monkeypatch)
    lottery.wait_until(draw)
    with pytest.raises(errors.CutoffPassed):
        lottery.sell(draw, agent)
    lottery.res.gate._client.flushall()
    assert reconcile(lottery.res)
    with pytest.raises(errors.CutoffPassed):
        lottery.sell(draw, agent)


def test_a_draw_that_was_closed_before_the_gate_ever_opened_it_becomes_closed(lottery: Lottery) -> None:
    lottery.res.rebuild.fence()
    draw = lottery.draw()  # open in the database; the gate is away
    closing.ask_to_close(lottery.res, lottery.person("admin"), draw)
    assert reconcile(lottery.res)
    for sweep in (open_draws, close_draws, sweep_journals):
        sweep(lottery.res)
    assert status(lottery.res, draw) == "closed"
    with lottery.res.sessions() as session:
        assert session.scalar(text("SELECT status FROM intents")) == "posted"
        assert session.scalar(text("SELECT tickets FROM closings")) == 0


def test_a_draw_that_somebody_meant_to_close_opens_latched(lottery: Lottery) -> None:
    agent = lottery.person(pesos=100)
    lottery.res.rebuild.fence()
    draw = lottery.draw()
    closing.ask_to_close(lottery.res, lottery.person("admin"), draw)
    assert reconcile(lottery.res)
    open_draws(lottery.res)
    with pytest.raises(errors.DrawNotOpen):
        lottery.sell(draw, agent)


def test_an_intent_is_posted_only_for_the_generation_that_applied_it(
    lottery: Lottery, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent, draw = lottery.person(pesos=100), lottery.draw()
    lottery.sell(draw, agent)
    sooner = lottery.res.clock.now() + timedelta(minutes=20)
    real = lottery.res.gate.move_cutoff

    def then_everything_is_lost(*arguments: Any, **named: Any) -> bool:
        answer = real(*arguments, **named)
        lottery.res.gate._client.flushall()
        assert reconcile(lottery.res)  # this process's own background thread adopts what comes back
        return answer

    with monkeypatch.context() as patched:
        patched.setattr(lottery.res.gate, "move_cutoff", then_everything_is_lost)
        with pytest.raises(errors.IntakeUnavailable):
            move_cutoff(lottery.res, lottery.person("admin"), draw, sooner, sooner + timedelta(hours=1), "typhoon")
    close_draws(lottery.res)
    assert stored_cutoff_s(lottery, draw) == pytest.approx(sooner.timestamp(), abs=1)
    assert gate_cutoff_s(lottery, draw) == pytest.approx(sooner.timestamp(), abs=1)


def test_a_moved_cutoff_is_posted_though_the_draw_has_closed_meanwhile(
    lottery: Lottery, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent, draw = lottery.person(pesos=100), lottery.draw()
    lottery.sell(draw, agent)
    cutoff_s = half_moved_cutoff(lottery, draw, 1, monkeypatch)
    lottery.wait_until(draw)
    assert closing.close_in_gate(lottery.res, draw, asked=False)
    persist(lottery.res, draw)
    assert status(lottery.res, draw) == "closed"
    close_draws(lottery.res)
    assert stored_cutoff_s(lottery, draw) == pytest.approx(cutoff_s, abs=1)
    assert read_draw(lottery.res, draw).draws_at.timestamp() == pytest.approx(cutoff_s + 3600, abs=1)
    with lottery.res.sessions() as session:
        assert session.scalar(text("SELECT status FROM intents")) == "posted"
