"""Several tickets in one call of the gate: each as if it came alone."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actions.sell import sell_batch
from intake import gate as gate_module
from intake.gate import Held, Sale
from intake.gate_errors import Unreconciled
from rules.errors import IntakeUnavailable, Problem
from rules.limits import Limits
from tests.integration.conftest import Lottery, line, new_id

IDS = [f"{number:032x}" for number in range(6)]
BETS = st.sampled_from(["s046:5", "s046:20", "r046:5", "s640:10", "r122:10", "s122:15", "s777:40"])
TICKETS = st.lists(st.tuples(st.sampled_from(IDS), st.lists(BETS, min_size=1, max_size=3)), min_size=1, max_size=12)
LIMITS = Limits(stake_straight=4_000, stake_rambolito=2_500, payout=2_000_000, by_number={"straight": {"046": 3_000}})


def told(answer: Any) -> tuple[Any, ...]:
    """Everything of an answer but the time."""
    if isinstance(answer, Problem):
        return answer.code, answer.extra
    assert isinstance(answer, Held)
    record = answer.record
    return answer.serial, answer.state, answer.replayed, record.id, record.lines, record.available


def held(lottery: Lottery, draw: str, agent: int) -> tuple[Any, ...]:
    """All that the gate knows of the draw and the agent but times."""
    raw = lottery.res.gate._client
    records = [text.split(b"|") for _, text in lottery.res.journal.all(draw)]
    return (
        raw.hmget(f"draw:{draw}", "serial", "sub", "tickets", "stake", "latch"),
        {bet: stake for bet, stake in lottery.res.gate.exposures([draw])[0].items() if stake},
        raw.hget(f"wallet:{agent}", "available"),
        raw.hgetall(f"draw:{draw}:ids"),
        [(parts[0], parts[2], *parts[4:]) for parts in records[1:]],
    )


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tickets=TICKETS, full_at_once=st.booleans(), batch=st.booleans())
def test_tickets_of_one_call_are_answered_as_one_after_the_other(
    lottery: Lottery, tickets: list[tuple[str, list[str]]], full_at_once: bool, batch: bool
) -> None:
    found = []
    for together in (True, False):
        agent, draw = lottery.person(pesos=100), lottery.draw(minute=lottery.next_minute())
        gate, token = lottery.res.gate, new_id() if batch else ""
        assert gate.set_limits(draw, new_id(), LIMITS)
        lottery.sell(draw, agent, "s046:5", ticket_id=IDS[0])
        gate.cancel(draw, None, agent, IDS[1], 300_000)
        gate.set_full(full_at_once)
        sales = [Sale(agent, ticket_id, tuple(map(line, bets))) for ticket_id, bets in tickets]
        calls = [sales] if together else [[sale] for sale in sales]
        answers = [answer for call in calls for answer in gate.sell(draw, call, token)]
        gate.set_full(False)
        found.append(([told(answer) for answer in answers], held(lottery, draw, agent)))
    assert found[0] == found[1]


def test_a_draw_that_has_ended_or_was_never_opened_answers_every_ticket(lottery: Lottery) -> None:
    agent, draw, never = lottery.person(pesos=100), lottery.draw(cutoff_s=0.4), "3D-20300101-1400"
    known = Sale(agent, new_id(), (line("s046:5"),))
    lottery.res.gate.sell(draw, [known])
    lottery.wait_until(draw)
    new = [Sale(agent, new_id(), (line("s046:5"),)) for _ in range(2)]
    answers = sell_batch(lottery.res, [(draw, new[0]), (draw, known), (draw, new[1]), (never, new[0]), (never, new[1])])
    codes = [answer.code if isinstance(answer, Problem) else answer[1] for answer in answers]
    assert codes == ["cutoff_passed", True, "cutoff_passed", "no_such_draw", "no_such_draw"]
    assert lottery.res.gate._client.hget(f"draw:{draw}", "latch") == b"cutoff"


@pytest.mark.parametrize("fails_at", [1, 2, 3])
def test_what_was_sold_before_the_gate_went_away_has_its_receipts(
    lottery: Lottery, monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    monkeypatch.setattr(gate_module, "SALES_A_CALL", 2)
    agent, draw, gate = lottery.person(pesos=100), lottery.draw(), lottery.res.gate
    run, calls = gate._run, []

    def failing(*arguments: Any, **how: Any) -> Any:
        calls.append(arguments)
        if len(calls) == fails_at:
            raise Unreconciled("another server answers")
        return run(*arguments, **how)

    monkeypatch.setattr(gate, "_run", failing)
    items = [(draw, Sale(agent, new_id(), (line("s046:1"),))) for _ in range(5)]
    answers = sell_batch(lottery.res, items)
    refused = [isinstance(answer, IntakeUnavailable) for answer in answers]
    assert refused == [False] * 2 * (fails_at - 1) + [True] * (5 - 2 * (fails_at - 1))
    assert len(calls) == fails_at
    monkeypatch.setattr(gate, "_run", run)
    again = sell_batch(lottery.res, items)
    assert [answer[1] for answer in again if not isinstance(answer, Problem)] == [not lost for lost in refused]


def test_a_ticket_without_lines_is_not_even_sent(lottery: Lottery) -> None:
    agent, draw = lottery.person(pesos=100), lottery.draw()
    with pytest.raises(ValueError, match="a ticket has lines"):
        lottery.res.gate.sell(draw, [Sale(agent, new_id(), ())])
    assert lottery.sell(draw, agent)["serial"] == 1
