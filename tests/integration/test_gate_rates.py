"""How fast one agent may sell, by a clock that the test moves."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from actions.sell import sell_batch
from intake.gate import Gate, Sale
from intake.gate_calls import Rates
from intake.replication import Replication
from intake.scripts import read_scripts
from rules import errors
from tests.integration.conftest import Lottery, line, new_id

SALES_PER_S = 20


class Clock:
    """The server's clock as the sale sees it, in milliseconds."""

    def __init__(self, lottery: Lottery) -> None:
        self._client = lottery.res.gate._client
        self.ms = lottery.res.rebuild.now_ms()
        self.forward(0)

    def forward(self, ms: int) -> None:
        self.ms += ms
        self._client.hset("clock", mapping={"s": self.ms // 1000, "us": self.ms % 1000 * 1000})


@pytest.fixture
def clock(lottery: Lottery) -> Clock:
    """The lottery sells at 20 sales and 2 batches a second of a clock that stands until it is moved."""
    scripts = read_scripts()
    text = scripts["sell"].text.replace("call('TIME')", "call('HMGET', 'clock', 's', 'us')")
    assert text != scripts["sell"].text
    scripts["sell"] = replace(scripts["sell"], text=text)
    lottery.res.rebuild._client.script_load(text)
    real = lottery.res.gate
    gate = Gate(real._client, scripts, real._witness, real._breaker, Replication(), Rates(SALES_PER_S, 2))
    gate.adopt(real.identity)
    lottery.res = replace(lottery.res, gate=gate)
    return Clock(lottery)


def code_of(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except errors.Problem as problem:
        return problem.code
    return "sold"


def spend_the_second(lottery: Lottery, draw: str, agent: int) -> None:
    """Every sale that the agent may make now."""
    for _ in range(SALES_PER_S):
        lottery.sell(draw, agent, "s046:1")


def batch(lottery: Lottery, draw: str, agent: int, *ids: str) -> list[str]:
    answers = sell_batch(lottery.res, [(draw, Sale(agent, one, (line("s123:1"),))) for one in ids])
    return [answer.code if isinstance(answer, errors.Problem) else "sold" for answer in answers]


def test_a_seconds_worth_is_sold_at_once_and_then_one_more_each_interval(lottery: Lottery, clock: Clock) -> None:
    agent, draw = lottery.person(pesos=100), lottery.draw()
    spend_the_second(lottery, draw, agent)
    for _ in range(3):  # what is refused does not count, however often it is asked
        with pytest.raises(errors.SlowDown) as refusal:
            lottery.sell(draw, agent, "s046:1")
        assert refusal.value.extra == {"retry_after": 1}
    clock.forward(49)
    assert code_of(lambda: lottery.sell(draw, agent, "s046:1")) == "slow_down"
    clock.forward(1)
    assert code_of(lambda: lottery.sell(draw, agent, "s046:1")) == "sold"
    assert code_of(lambda: lottery.sell(draw, agent, "s046:1")) == "slow_down"
    clock.forward(60_000)
    spend_the_second(lottery, draw, agent)  # a long rest saves no more than a second up
    assert code_of(lambda: lottery.sell(draw, agent, "s046:1")) == "slow_down"


def test_64_threads_get_a_seconds_worth_and_no_more(lottery: Lottery, clock: Clock) -> None:
    agent, draw = lottery.person(pesos=1000), lottery.draw()
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda _: code_of(lambda: lottery.sell(draw, agent, "s046:1")), range(64)))
    assert (found.count("sold"), found.count("slow_down")) == (SALES_PER_S, 44)


def test_a_rate_is_one_agents_and_another_sells_on(lottery: Lottery, clock: Clock) -> None:
    agent, other, draw = lottery.person(pesos=100), lottery.person(pesos=100), lottery.draw()
    spend_the_second(lottery, draw, agent)
    assert lottery.sell(draw, other)["status"] == "accepted"


def test_a_known_id_gets_its_receipt_at_any_rate_and_does_not_count(lottery: Lottery, clock: Clock) -> None:
    agent, draw, ticket_id = lottery.person(pesos=100), lottery.draw(), new_id()
    first = lottery.sell(draw, agent, "s046:1", ticket_id=ticket_id)
    for _ in range(2 * SALES_PER_S):
        assert lottery.sell(draw, agent, "s046:1", ticket_id=ticket_id) == first
    for _ in range(SALES_PER_S - 1):
        lottery.sell(draw, agent, "s046:1")
    assert code_of(lambda: lottery.sell(draw, agent, "s046:1")) == "slow_down"
    assert lottery.sell(draw, agent, "s046:1", ticket_id=ticket_id) == first


def test_sales_refused_for_credit_or_limits_count_and_earlier_refusals_do_not(lottery: Lottery, clock: Clock) -> None:
    agent, draw, shut = lottery.person(pesos=2000), lottery.draw(minute=1), lottery.draw(minute=2)
    lottery.res.gate.close(shut, asked=True)
    for _ in range(SALES_PER_S):
        assert code_of(lambda: lottery.sell(shut, agent, "s046:1")) == "draw_not_open"
    for _ in range(SALES_PER_S // 2):
        assert code_of(lambda: lottery.sell(draw, agent, "s046:1001")) == "sold_out"
        assert code_of(lambda: lottery.sell(draw, agent, "s046:2001")) == "insufficient_credit"
    assert code_of(lambda: lottery.sell(draw, agent, "s046:1")) == "slow_down"


def test_a_suspended_agent_and_an_ended_login_are_told_so_before_the_rate(lottery: Lottery, clock: Clock) -> None:
    agent, draw, session = lottery.person(pesos=100), lottery.draw(), "5f0c"
    spend_the_second(lottery, draw, agent)
    lottery.res.gate.end_sessions([session], 60)
    sale = Sale(agent, new_id(), (line("s046:1"),), session)
    answers = lottery.res.gate.sell(draw, [sale, sale._replace(session="other")])
    assert [type(answer) for answer in answers] == [errors.TokenRevoked, errors.SlowDown]
    lottery.res.gate.set_standing([(agent, True)], 1)
    assert isinstance(lottery.res.gate.sell(draw, [sale])[0], errors.AgentSuspended)


def test_a_clock_that_was_set_back_stops_nobody(lottery: Lottery, clock: Clock) -> None:
    agent, draw = lottery.person(pesos=100), lottery.draw()
    spend_the_second(lottery, draw, agent)
    clock.forward(-600_000)
    spend_the_second(lottery, draw, agent)
    assert code_of(lambda: lottery.sell(draw, agent, "s046:1")) == "slow_down"


def test_a_batch_counts_once_however_many_tickets_and_draws_it_has(lottery: Lottery, clock: Clock) -> None:
    agent, draws = lottery.person(pesos=1000), [lottery.draw(minute=1), lottery.draw(minute=2)]
    for _ in range(2):
        items = [(draws[i % 2], Sale(agent, new_id(), (line("s123:1"),))) for i in range(40)]
        assert not any(isinstance(answer, errors.Problem) for answer in sell_batch(lottery.res, items))
    assert code_of(lambda: batch(lottery, draws[0], agent, new_id())) == "slow_down"
    assert code_of(lambda: lottery.sell(draws[0], agent, "s046:1")) == "sold"  # sales are counted apart
    clock.forward(500)
    assert batch(lottery, draws[0], agent, new_id(), new_id()) == ["sold", "sold"]


def test_a_batch_over_the_rate_is_refused_whole_but_for_the_tickets_that_are_known(
    lottery: Lottery, clock: Clock
) -> None:
    agent, draw, known = lottery.person(pesos=100), lottery.draw(), new_id()
    assert batch(lottery, draw, agent, known) == ["sold"]
    assert batch(lottery, draw, agent, new_id()) == ["sold"]
    assert batch(lottery, draw, agent, known, known) == ["sold", "sold"]
    assert batch(lottery, draw, agent, new_id(), known, new_id()) == ["slow_down", "sold", "slow_down"]
    with pytest.raises(errors.SlowDown):
        batch(lottery, draw, agent, new_id(), new_id())
    assert [place.serial for place, _ in lottery.res.journal.all(draw)] == [0, 1, 2]


def test_a_refused_batch_stays_refused_to_its_end_while_the_clock_goes_on(lottery: Lottery, clock: Clock) -> None:
    agent, draw, gate = lottery.person(pesos=100), lottery.draw(), lottery.res.gate
    for _ in range(2):
        batch(lottery, draw, agent, new_id())
    sale = Sale(agent, new_id(), (line("s123:1"),))
    assert isinstance(gate.sell(draw, [sale], "late")[0], errors.SlowDown)
    clock.forward(10_000)
    assert isinstance(gate.sell(draw, [sale], "late")[0], errors.SlowDown)
    assert not isinstance(gate.sell(draw, [sale], "next")[0], errors.Problem)


def test_batches_of_one_agent_that_come_at_once_are_admitted_whole_or_not_at_all(
    lottery: Lottery, clock: Clock
) -> None:
    agent, draws = lottery.person(pesos=1000), [lottery.draw(minute=minute) for minute in (1, 2, 3)]

    def send(_: int) -> set[str]:
        items = [(draw, Sale(agent, new_id(), (line("s123:1"),))) for draw in draws for _ in range(5)]
        try:
            return {"refused" if isinstance(a, errors.Problem) else "sold" for a in sell_batch(lottery.res, items)}
        except errors.SlowDown:
            return {"slow"}

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(send, range(16)))
    assert (found.count({"sold"}), found.count({"slow"})) == (2, 14)
