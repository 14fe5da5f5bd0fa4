"""What got stuck is found: mended by the sweep whose matter it is, and shown in the log and in the metrics."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

import tasks.settle
import tasks.sweep
from actions import closing, deductions, results, standing
from actions.draws import create
from actions.failure_kinds import failure_of
from actions.failures import note_failure
from actions.resources import Resources
from rules.errors import IntakeUnavailable
from runtime.metrics import REGISTRY
from tasks.claims import expire_claims
from tasks.close_draws import close_draws
from tasks.found import AT_WORK
from tasks.open_draws import open_draws
from tasks.people import sweep_people
from tasks.persist import persist
from tasks.retries import ring_due
from tasks.seal import seal
from tasks.settle import settle
from tasks.stuck import STATES, look_for_stuck
from tasks.sweep import sweep_draws, sweep_journals, sweep_wallets
from tasks.void_draw import void_draw
from tests.integration.after_sales import (
    as_owner,
    decide,
    drain,
    later,
    resulted,
    rung,
    sealed,
    status,
    time_to_claim_over,
)
from tests.integration.conftest import Lottery
from tests.integration.dying import Died


def found(sweep: str) -> dict[str, float]:
    """What this sweep ever counted, by name."""
    samples = [sample for metric in REGISTRY.collect() for sample in metric.samples]
    return {
        s.labels["what"]: s.value
        for s in samples
        if s.name == "drawbreak_sweep_found_total" and s.labels["sweep"] == sweep
    }


def swept(sweep: str, run: Callable[[], Any]) -> dict[str, float]:
    """What one run of a sweep found: the same in the log as in the metrics, or it finds nothing and says nothing."""
    before = found(sweep)
    with capture_logs() as lines:
        run()
    counted = {what: count - before.get(what, 0) for what, count in found(sweep).items() if count != before.get(what)}
    logged = [line for line in lines if line["event"] == "swept" and line["sweep"] == sweep]
    assert [{k: v for k, v in line.items() if k not in ("event", "log_level", "sweep")} for line in logged] == (
        [counted] if counted else []
    )
    return counted


def wait_until_nobody_is_at_work() -> None:
    time.sleep(AT_WORK.total_seconds() + 0.2)


def test_a_journal_whose_ring_was_lost_is_stored(lottery: Lottery, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep, run = "sweep.journals", lambda: sweep_journals(lottery.res)
    draw, other, agent = lottery.draw(), lottery.draw(minute=1), lottery.rich_agent()
    monkeypatch.setattr(tasks.sweep, "RUNG_LATELY_MS", 60_000)
    for name in (draw, draw, other):
        lottery.sell(name, agent)
    assert swept(sweep, run) == {}, "what was rung for a moment ago is somebody's work"
    assert (persist(lottery.res, draw), persist(lottery.res, other)) == (3, 2), "with their open records"
    monkeypatch.setattr(tasks.sweep, "RUNG_LATELY_MS", 100)
    for _ in range(2):
        lottery.sell(draw, agent)
    time.sleep(0.2)
    assert swept(sweep, run) == {"journals": 1, "records": 2}
    assert swept(sweep, run) == {}


def test_a_record_that_seems_to_be_made_later_than_now_is_stored(
    lottery: Lottery, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = lottery.draw()
    lottery.sell(draw, lottery.rich_agent())
    monkeypatch.setattr(tasks.sweep, "RUNG_LATELY_MS", 60_000)
    assert sweep_journals(lottery.res) == 0
    real = lottery.res.rebuild.now_ms
    monkeypatch.setattr(lottery.res.rebuild, "now_ms", lambda: real() - 600_000)
    assert sweep_journals(lottery.res) == 2, "the server's clock was set back"


def test_outbox_rows_that_nobody_pushed_reach_the_gate(lottery: Lottery) -> None:
    sweep, run = "sweep.wallets", lambda: sweep_wallets(lottery.res)
    agent = lottery.person()
    lottery.load(agent, 10, push=False)
    assert swept(sweep, run) == {}, "whoever wrote it is about to push it"
    lottery.load(agent, 10, push=False)
    lottery.load(agent, 10, push=False)
    wait_until_nobody_is_at_work()
    assert swept(sweep, run) == {"outbox_rows": 2}
    assert swept(sweep, run) == {}
    assert lottery.sell(lottery.draw(), agent, "s046:30")


def test_an_intent_about_a_draw_that_died_half_way_is_completed(lottery: Lottery) -> None:
    sweep, run = "draws.close", lambda: close_draws(lottery.res)
    draw, other, admin = lottery.draw(), lottery.draw(minute=1), lottery.person("admin")
    closing.ask_to_close(lottery.res, admin, other)
    assert swept(sweep, run) == {}, "whoever asked is at work"
    closing.ask_to_close(lottery.res, admin, draw)
    wait_until_nobody_is_at_work()
    assert swept(sweep, run) == {"intents": 1}
    assert swept(sweep, run) == {}
    persist(lottery.res, draw)
    assert status(lottery.res, draw) == "closed"


def test_what_people_asked_for_and_nobody_finished_is_completed(lottery: Lottery) -> None:
    sweep, run = "sweep.people", lambda: sweep_people(lottery.res)
    admin, agent = lottery.person("superadmin"), lottery.person(pesos=100)
    identity = lottery.res.gate.identity
    lottery.res.gate.adopt(None)
    with pytest.raises(IntakeUnavailable):
        deductions.take(lottery.res, admin, agent, 500, "remittance", None, "key")
    with pytest.raises(IntakeUnavailable):
        standing.suspend(lottery.res, admin, agent, "test")
    lottery.res.gate.adopt(identity)
    assert swept(sweep, run) == {}, "whoever asked is at work"
    wait_until_nobody_is_at_work()
    assert swept(sweep, run) == {"intents": 1, "standing": 1}
    assert swept(sweep, run) == {}


def test_failures_are_counted_by_kind_and_tries_that_are_due_as_found(lottery: Lottery) -> None:
    def total(name: str, **labels: str) -> float:
        return REGISTRY.get_sample_value(f"drawbreak_{name}_total", labels) or 0

    sweep, run = "sweep.retries", lambda: ring_due(lottery.res)

    def totals() -> list[float]:
        kinds = [total("task_failures", kind=kind, task="draws.seal") for kind in ("passing", "permanent")]
        return [*kinds, total("dead_letters", kind="task")]

    before = totals()
    note_failure(lottery.res.sessions, failure_of(RuntimeError("odd"), "draws.seal", ["3D-20260301-0000"], "settle"))
    note_failure(lottery.res.sessions, failure_of(TypeError("odd"), "draws.seal", ["a", "b"], "settle"))
    assert totals() == [count + 1 for count in before]
    assert swept(sweep, run) == {}, "it is not time for another try"
    with as_owner(lottery.res) as sql:
        sql.execute("UPDATE retries SET due_at = now()")
    assert swept(sweep, run) == {"draws.seal": 1}
    assert rung(lottery, "draws.seal", "3D-20260301-0000")
    assert swept(sweep, run) == {}
    assert look_for_stuck(lottery.res) == 2
    assert (waiting("retries"), waiting("task_letters")) == (1, 1)


def test_prizes_that_nobody_claimed_are_counted(lottery: Lottery) -> None:
    draw = lottery.draw()
    lottery.sell(draw, lottery.rich_agent(), "s046:1")
    res = resulted(lottery, draw, "046")
    settle(res, draw)
    over = time_to_claim_over(res)
    assert swept("claims.expire", lambda: expire_claims(over)) == {"draws": 1, "centavos": 45_000}
    assert swept("claims.expire", lambda: expire_claims(over)) == {}


# ── stuck draws ─────────────────────────────────────────────────────────────────────────────────────────────


def sold(lottery: Lottery, cutoff_s: float = 3600) -> str:
    draw = lottery.draw(cutoff_s=cutoff_s)
    lottery.sell(draw, lottery.rich_agent())
    return draw


def scheduled(lottery: Lottery) -> str:
    now = lottery.res.clock.now()
    times = {"opens_at": now + timedelta(minutes=1), "cutoff_at": now + timedelta(hours=1)}
    made = create(
        lottery.res, None, game="3D", date=date(2026, 3, 9), time=now.min.time(), draws_at=times["cutoff_at"], **times
    )
    return str(made["id"])


def past_cutoff(lottery: Lottery) -> str:
    draw = sold(lottery, cutoff_s=0.5)
    lottery.wait_until(draw)
    return draw


def unsealed(lottery: Lottery) -> str:
    draw = sold(lottery)
    drain(lottery, draw)
    return draw


def confirmed(lottery: Lottery) -> str:
    draw = sold(lottery)
    resulted(lottery, draw, "046")
    return draw


def half_settled(lottery: Lottery) -> str:
    draw = sold(lottery)
    res = resulted(lottery, draw, "046")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(tasks.settle._FUNCTIONS, "prizes", _die)
        with pytest.raises(Died):
            settle(res, draw)
    return draw


def _die(*_: Any) -> None:
    raise Died


def half_voided(lottery: Lottery) -> str:
    draw = sold(lottery)
    decide(lottery, draw)
    persist(lottery.res, draw)
    return draw


def close_and_store(res: Resources, draw: str) -> None:
    close_draws(res)
    persist(res, draw)


CASES: dict[str, tuple[Callable[[Lottery], str], Callable[[Resources, str], Any], str | None]] = {
    # state: how a draw gets there, the step that nobody did, and what a sweep rings for if it does not do it itself
    "scheduled": (scheduled, lambda res, _: open_draws(res), None),
    "open": (past_cutoff, close_and_store, None),
    "closed": (unsealed, seal, "draws.seal"),
    "resulted": (confirmed, lambda res, draw: settle(later(res), draw), "draws.settle"),
    "settling": (half_settled, lambda res, draw: settle(later(res), draw), "draws.settle"),
    "voiding": (half_voided, void_draw, "draws.void"),
}


def stuck() -> dict[str, float | None]:
    return {state: REGISTRY.get_sample_value("drawbreak_draws_stuck", {"state": state}) for state in STATES}


def waiting(what: str) -> float | None:
    return REGISTRY.get_sample_value("drawbreak_waiting", {"what": what})


def age(res: Resources, state: str) -> None:
    """As if the one draw had been in its state for as long as is too long."""
    since, longest = STATES[state]
    with as_owner(res) as sql:
        sql.execute("UPDATE draws SET opens_at = now() - interval '1 day'")
        sql.execute(f"UPDATE draws SET {since.key} = now() - %s", [longest + timedelta(seconds=1)])


@pytest.mark.parametrize("state", CASES)
def test_a_stuck_draw_is_shown_rung_for_and_mended(lottery: Lottery, state: str) -> None:
    reach, step, task = CASES[state]
    draw = reach(lottery)
    assert status(lottery.res, draw) == state
    look_for_stuck(lottery.res)
    assert stuck() == dict.fromkeys(STATES, 0), "a moment ago is no reason to cry"
    age(lottery.res, state)
    with capture_logs() as lines:
        look_for_stuck(lottery.res)
    assert stuck() == {**dict.fromkeys(STATES, 0), state: 1}
    said = [line for line in lines if line["event"] == "draws_stuck"]
    assert [(line["count"], line[state]) for line in said] == [(1, [draw])]
    if task:
        lottery.rings.sent.clear()
        assert sweep_draws(lottery.res) == 1
        assert rung(lottery, task, draw)
    step(lottery.res, draw)
    assert status(lottery.res, draw) != state
    with capture_logs() as lines:
        look_for_stuck(lottery.res)
    assert stuck() == dict.fromkeys(STATES, 0)
    assert [line for line in lines if line["event"] == "draws_stuck"] == []


def test_a_settlement_that_stopped_in_a_step_is_counted_until_it_goes_on(lottery: Lottery) -> None:
    draw = half_settled(lottery)
    assert look_for_stuck(lottery.res) == 0
    with as_owner(lottery.res) as sql:
        sql.execute("UPDATE settlement_steps SET started_at = started_at - interval '10 min' WHERE status <> 'done'")
    with capture_logs() as lines:
        assert look_for_stuck(lottery.res) == 1
    assert waiting("settlement_steps") == 1
    assert [line["settlement_steps"] for line in lines if line["event"] == "waiting"] == [1]
    assert settle(later(lottery.res), draw)
    assert look_for_stuck(lottery.res) == 0
    assert waiting("settlement_steps") == 0
    assert [step["status"] for step in results.settlement(lottery.res, draw)["steps"]] == ["done"] * 4


def test_when_nothing_is_wrong_sweeps_say_nothing(lottery: Lottery) -> None:
    sealed(lottery, sold(lottery))
    sweeps = (sweep_journals, sweep_draws, sweep_wallets, sweep_people, close_draws, expire_claims, look_for_stuck)
    with capture_logs() as lines:
        assert [sweep(lottery.res) for sweep in sweeps] == [0] * len(sweeps)
    assert lines == []
