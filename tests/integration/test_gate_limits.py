"""The gate's limits against the pure rules: whatever is sold, both say the same."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import date, time, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from actions.opening import open_in_database, open_in_gate
from actions.reconcile import reconcile
from actions.sell import sell_batch
from intake.bets import summed
from intake.gate import Sale
from intake.gate_errors import DrawUnknown, Unreconciled
from models.draws import Draw, DrawLimits, Game
from rules import games, limits
from rules.errors import Problem, SoldOut
from rules.tickets import Line
from tasks.persist import persist
from tests.integration.conftest import Lottery, new_id

HOUR = timedelta(hours=1)

# Few numbers and large stakes, so that limits are met from every side.
_NUMBERS = {
    "3D": ["112", "121", "211", "123", "321", "213", "777"],
    "2D": ["01-02", "02-01", "11-11", "30-31"],
}


def _lines(game: str) -> st.SearchStrategy[list[Line]]:
    stakes = st.sampled_from([100, 5_000, 40_000, 83_300, 100_000, 150_000, 150_100])
    line = st.builds(Line, st.sampled_from(games.PLAYS), st.sampled_from(_NUMBERS[game]), stakes)
    return st.lists(line.filter(lambda bet: games.refusal(game, bet.play, bet.number) is None), min_size=1, max_size=10)


def _limits(game: str) -> st.SearchStrategy[limits.Limits]:
    """Some with limits of their own for some of the numbers, below and above the play's."""
    amounts = st.sampled_from([0, 50, 100, 4_999, 60_000, 100_000, 170_000])
    plays = {}
    for play in games.PLAYS:
        bets = [number for number in _NUMBERS[game] if games.refusal(game, play, number) is None]
        keys = sorted({games.match_key(game, play, number) for number in bets})
        plays[play] = st.dictionaries(st.sampled_from(keys), amounts, max_size=3)
    payouts = st.sampled_from([9_000_000, 60_000_000])
    return st.builds(limits.Limits, amounts, amounts, payouts, st.fixed_dictionaries({}, optional=plays))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), game=st.sampled_from(["3D", "2D"]))
def test_the_gate_and_the_rules_refuse_the_same_bets(lottery: Lottery, data: st.DataObject, game: str) -> None:
    agent = lottery.rich_agent()
    draw = lottery.draw(game, minute=lottery.next_minute())
    held = limits.Limits()
    exposure: dict[tuple[str, str], int] = {}
    for _ in range(data.draw(st.integers(1, 6))):
        if data.draw(st.booleans()):
            held = data.draw(_limits(game))
            assert lottery.res.gate.set_limits(draw, new_id(), held)
        lines = tuple(data.draw(_lines(game)))
        expected = limits.take(game, games.DEFAULT_PRIZES[game], held, exposure, lines)
        answer = sell_batch(lottery.res, [(draw, Sale(agent, new_id(), lines))])[0]
        if isinstance(answer, SoldOut):
            assert answer.extra["lines"] == [bet._asdict() for bet in expected]
        else:
            assert not isinstance(answer, Problem)
            assert expected == []
            for bet, stake in summed(game, lines).items():
                exposure[bet] = exposure.get(bet, 0) + stake
        assert {b: s for b, s in lottery.res.gate.exposures([draw])[0].items() if s} == exposure


def _left(lottery: Lottery, draw: str, *lines: str) -> list[object]:
    with pytest.raises(SoldOut) as refusal:
        lottery.sell(draw, lottery.rich_agent(), *lines)
    return [item["left"] for item in refusal.value.extra["lines"]]  # type: ignore[attr-defined]


def test_an_intent_about_limits_is_answered_once_and_refused_when_the_draw_sells_no_more(lottery: Lottery) -> None:
    draw, gate, first, second, late = lottery.draw(), lottery.res.gate, new_id(), new_id(), new_id()
    low = limits.Limits(by_number={"straight": {"046": 500}, "rambolito": {"123": 700}})
    assert gate.set_limits(draw, first, low)
    assert gate.set_limits(draw, second, limits.Limits(stake_straight=900))
    assert gate.set_limits(draw, first, low), "the same answer, and no second effect"
    assert _left(lottery, draw, "s046:10", "r321:2000") == [900, 150_000]
    gate.close(draw, asked=True)
    assert not gate.set_limits(draw, late, low)
    assert not gate.set_limits(draw, late, low)
    assert gate.set_limits(draw, second, limits.Limits(stake_straight=900))
    with pytest.raises(DrawUnknown):
        gate.set_limits("3D-20300101-1400", new_id(), low)


def test_the_first_call_at_the_cutoff_refuses_new_limits(lottery: Lottery) -> None:
    draw, gate = lottery.draw(cutoff_s=0.5), lottery.res.gate
    lottery.wait_until(draw)
    assert not gate.set_limits(draw, new_id(), limits.Limits(payout=1))


def test_an_intent_read_before_a_rebuild_changes_nothing_after_it(lottery: Lottery) -> None:
    draw, gate = lottery.draw(), lottery.res.gate
    generation = gate.identity.generation if gate.identity else None
    lottery.res.rebuild.fence()
    reconcile(lottery.res)
    with pytest.raises(Unreconciled):
        gate.set_limits(draw, new_id(), limits.Limits(payout=1), generation=generation)
    with pytest.raises(Unreconciled):
        gate.move_cutoff(draw, new_id(), 1, generation=generation)
    assert lottery.sell(draw, lottery.rich_agent())["serial"] == 1


def test_sales_by_the_hundred_never_pass_the_limit_that_was_answered_for(lottery: Lottery) -> None:
    agents, draw, gate = [lottery.person(pesos=9000) for _ in range(8)], lottery.draw(), lottery.res.gate
    answered = threading.Event()

    def sell(index: int) -> tuple[bool, bool]:
        late = answered.is_set()
        try:
            lottery.sell(draw, agents[index % 8], "s046:2")
        except SoldOut:
            return late, False
        return late, True

    with ThreadPoolExecutor(16) as pool:
        sales = [pool.submit(sell, index) for index in range(100)]
        assert gate.set_limits(draw, new_id(), limits.Limits(by_number={"straight": {"046": 10_000}}))
        then = gate.exposures([draw])[0].get(("straight", "046"), 0)
        answered.set()
        sales += [pool.submit(sell, index) for index in range(100)]
        outcomes = [each.result() for each in sales]
    sold = 200 * sum(taken for _, taken in outcomes)
    assert gate.exposures([draw]) == [{("straight", "046"): sold}]
    assert sold == max(10_000, then), "what was sold before may be more; nothing was added to it"
    assert (True, True) not in outcomes or then < 10_000


def test_a_draw_opens_with_its_games_limits_of_numbers_and_its_own_and_a_rebuild_keeps_them(lottery: Lottery) -> None:
    games_own = {"straight": {"046": 700, "111": 0}, "rambolito": {"123": 300}}
    with lottery.res.sessions.begin() as session:
        session.get_one(Game, "3D").limits_by_number = games_own
    now = lottery.res.clock.now()
    asked = {"stake_rambolito": 9_000, "by_number": {"straight": {"046": 500}}}
    with lottery.res.sessions.begin() as session:
        draw = Draw(name="3D-20260401-1400", game="3D", date=date(2026, 4, 1), time=time(14), asked_limits=asked)
        draw.opens_at, draw.cutoff_at, draw.draws_at = now - HOUR, now + HOUR, now + HOUR
        session.add(draw)
        session.flush()
        draw_id, name = draw.id, draw.name
    assert open_in_database(lottery.res, draw_id)
    assert not open_in_database(lottery.res, draw_id)
    with lottery.res.sessions() as session:
        opened = session.get_one(Draw, draw_id)
        version = session.scalars(select(DrawLimits)).one()
    expected = {"straight": {"046": 500, "111": 0}, "rambolito": {"123": 300}}
    assert opened.limits == limits.Limits(stake_rambolito=9_000, by_number=expected).to_dict()
    assert (version.draw_id, version.version, version.limits) == (draw_id, opened.limits_version, opened.limits)
    assert open_in_gate(lottery.res, draw_id)
    lines = ("s046:10", "s111:10", "s777:2000", "r321:10", "r445:100")
    assert _left(lottery, name, *lines) == [500, 0, 100_000, 300, 9_000]
    lottery.sell(name, lottery.rich_agent(), "s046:2")
    persist(lottery.res, name)
    lottery.res.gate._client.flushall()
    reconcile(lottery.res)
    assert _left(lottery, name, *lines) == [300, 0, 100_000, 300, 9_000]
