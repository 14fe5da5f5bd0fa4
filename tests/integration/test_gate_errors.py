"""An error at each command of each script: nothing is ever half done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select

from actions.reconcile import reconcile
from intake.gate import Gate, Sale
from intake.gate_calls import Rates
from intake.replication import Replication
from intake.scripts import read_scripts
from models.draws import Draw
from rules.errors import AgentSuspended, AlreadyVoided, IntakeUnavailable, Problem, SoldOut, TokenRevoked
from rules.limits import Limits
from tests.integration.conftest import Lottery, line, new_id

COMMANDS_MAX = 40


def failing_gate(lottery: Lottery, script: str, command: int) -> Gate:
    """A gate whose script fails at its nth command, counted as it runs."""
    broken = f"""local commands = 0
local function call(...)
  commands = commands + 1
  if commands == {command} then error('injected') end
  return redis.call(...)
end
"""
    scripts = read_scripts()
    text = scripts[script].text.replace("local call = redis.call\n", broken)
    assert "injected" in text
    scripts[script] = replace(scripts[script], text=text)
    lottery.res.rebuild._client.script_load(text)
    healthy = lottery.res.gate
    gate = Gate(healthy._client, scripts, healthy._witness, healthy._breaker, Replication(), Rates())
    assert healthy.identity is not None
    gate.adopt(healthy.identity)
    return gate


def for_each_command(
    lottery: Lottery, script: str, attempt: Callable[[Gate, int], Any], check: Callable[[int], None]
) -> int:
    """Fails at the first command, the second … until the script runs through; returns how many failed."""
    for command in range(1, COMMANDS_MAX):
        gate = failing_gate(lottery, script, command)
        try:
            attempt(gate, command)
        except IntakeUnavailable:
            reconcile(lottery.res)
            check(command)
        else:
            return command - 1
    raise AssertionError("the script never ran through")


def gate_state(lottery: Lottery, draw: str, agent: int) -> tuple[Any, ...]:
    raw = lottery.res.gate._client
    fields = raw.hmget(f"draw:{draw}", "serial", "sub", "tickets", "stake", "voids", "voided_stake")
    return (
        [int(value) for value in fields],
        {field: stake for field, stake in lottery.res.gate.exposures([draw])[0].items() if stake},
        int(raw.hget(f"wallet:{agent}", "available")),
        raw.hlen(f"draw:{draw}:ids"),
    )


def test_a_sale_that_fails_at_any_command_is_taken_whole_or_not_at_all(lottery: Lottery) -> None:
    agent, draw = lottery.person(pesos=5000), lottery.draw()
    lines = (line("s046:10"), line("r123:5"))
    ids: list[str] = []

    def attempt(gate: Gate, _: int) -> None:
        ids.append(new_id())
        answer = gate.sell(draw, [Sale(agent, ids[-1], lines)])[0]
        assert not isinstance(answer, Problem)

    def check(command: int) -> None:
        taken = lottery.res.gate.find_id(draw, ids[-1]) is not None
        lottery.sell(draw, agent, "s046:10", "r123:5", ticket_id=ids[-1])  # the terminal asks again
        count = len(ids)
        assert gate_state(lottery, draw, agent) == (
            [count, 0, count, 1500 * count, 0, 0],
            {("straight", "046"): 1000 * count, ("rambolito", "123"): 500 * count},
            500_000 - 1500 * count,
            count,
        ), f"at command {command}, taken before asking again: {taken}"

    assert for_each_command(lottery, "sell", attempt, check) >= 12


def test_tickets_of_one_call_that_fails_at_any_command_are_taken_each_whole_or_not_at_all(lottery: Lottery) -> None:
    agent, draw = lottery.person(pesos=5000), lottery.draw()
    rounds: list[list[Sale]] = []

    def attempt(gate: Gate, _: int) -> None:
        rounds.append([Sale(agent, new_id(), (line(f"s04{digit}:10"), line("r123:5"))) for digit in range(3)])
        assert not any(isinstance(answer, Problem) for answer in gate.sell(draw, rounds[-1], batch=new_id()))

    def check(command: int) -> None:
        taken = [lottery.res.gate.find_id(draw, sale.id) is not None for sale in rounds[-1]]
        assert taken == sorted(taken, reverse=True), "never a later one without those before it"
        lottery.res.gate.sell(draw, rounds[-1], batch=new_id())  # the terminal asks again
        count = len(rounds)
        exposure = {("straight", f"04{digit}"): 1000 * count for digit in range(3)}
        assert gate_state(lottery, draw, agent) == (
            [3 * count, 0, 3 * count, 4500 * count, 0, 0],
            {**exposure, ("rambolito", "123"): 1500 * count},
            500_000 - 4500 * count,
            3 * count,
        ), f"at command {command}, taken before asking again: {taken}"

    assert for_each_command(lottery, "sell", attempt, check) >= 18


def test_a_void_that_fails_at_any_command_is_done_whole_or_not_at_all(lottery: Lottery) -> None:
    agent, draw = lottery.person(pesos=5000), lottery.draw()
    done = 0

    def attempt(gate: Gate, _: int) -> None:
        ticket_id = new_id()
        lottery.sell(draw, agent, "s046:10", "r123:5", ticket_id=ticket_id)
        held = lottery.res.gate.find_id(draw, ticket_id)
        assert held is not None
        attempt_ids.append(ticket_id)
        gate.void(draw, held, agent, 300_000, "a reason")

    attempt_ids: list[str] = []

    def check(command: int) -> None:
        nonlocal done
        held = lottery.res.gate.find_id(draw, attempt_ids[-1])
        assert held is not None
        try:
            lottery.res.gate.void(draw, held, agent, 300_000, "a reason")
        except AlreadyVoided:
            assert held.state == "v"
        done += 1
        state = gate_state(lottery, draw, agent)
        assert state[0][2:] == [done, 1500 * done, done, 1500 * done], f"at command {command}"
        assert (state[1], state[2], state[3]) == ({}, 500_000, done), f"at command {command}"

    assert for_each_command(lottery, "void", attempt, check) >= 10


@pytest.mark.parametrize("script", ["close", "open", "cutoff", "loosen"])
def test_what_fails_at_any_command_is_done_once_when_asked_again(lottery: Lottery, script: str) -> None:
    agent = lottery.person(pesos=100)
    draws: list[str] = []
    loads = 1

    def attempt(gate: Gate, command: int) -> None:
        nonlocal loads
        if script == "loosen":
            lottery.load(agent, 1, push=False)
            loads += 1
            gate.loosen(agent, loads, 100)
            return
        if script == "open":
            lottery.res.gate._client.delete("draw:3D-20300101-1400", "draw:3D-20300101-1400:journal")
            gate.open("3D-20300101-1400", {"id": 9, "opens_ms": 1, "cutoff_ms": 2})
            return
        draws.append(lottery.draw(minute=command))
        if script == "close":
            gate.close(draws[-1], asked=True)
        else:
            gate.move_cutoff(draws[-1], new_id(), lottery.res.rebuild.now_ms() + 60_000)

    def check(command: int) -> None:
        gate = lottery.res.gate
        if script == "close":
            first = gate.close(draws[-1], asked=True)
            assert first is not None
            assert (first[1].tickets, gate.close(draws[-1], asked=True)[:2]) == (0, first[:2])  # type: ignore[index]
        elif script == "cutoff":
            assert gate.move_cutoff(draws[-1], new_id(), lottery.res.rebuild.now_ms() + 60_000)
        elif script == "loosen":
            lottery.push(agent)
            held = [int(value) for value in gate._client.hmget(f"wallet:{agent}", "available", "seq")]
            assert held == [10_000 + 100 * (loads - 1), loads]

    assert for_each_command(lottery, script, attempt, check) >= 4


@pytest.mark.parametrize("script", ["limits", "tighten", "standing", "ended"])
def test_what_tightens_and_fails_at_any_command_has_no_half_effect_and_is_done_when_asked_again(
    lottery: Lottery, script: str
) -> None:
    draw, agents, intents = lottery.draw(), [], []
    limits = Limits(payout=70_000_000, by_number={"straight": {"046": 500}, "rambolito": {"123": 0}})

    def ask(gate: Gate) -> None:
        agent, intent = agents[-1], intents[-1]
        if script == "limits":
            assert gate.set_limits(draw, intent, limits)
        elif script == "tighten":
            assert gate.tighten(agent, intent, 4_000) == (True, 6_000)
        elif script == "standing":
            gate.set_standing([(agent, True)], 1)
        else:
            gate.end_sessions([intent], 60)

    def attempt(gate: Gate, _: int) -> None:
        agents.append(lottery.person(pesos=100))
        intents.append(new_id())
        ask(gate)

    def check(command: int) -> None:
        raw = lottery.res.gate._client
        own = (raw.hget(f"draw:{draw}", "numbered"), raw.exists(f"draw:{draw}:limits"))
        assert own == (b"0", 0), f"at command {command}"
        assert raw.hmget(f"wallet:{agents[-1]}", "available", "status") == [b"10000", None], f"at command {command}"
        ask(lottery.res.gate)
        if script == "limits":
            with pytest.raises(SoldOut) as refusal:
                lottery.sell(draw, agents[-1], "s046:6", "r321:1")
            assert [item["left"] for item in refusal.value.extra["lines"]] == [500, 0]
            lottery.res.rebuild.fence()  # PostgreSQL has not posted it: the next round begins with the old ones
            reconcile(lottery.res)
        elif script == "tighten":
            assert raw.hget(f"wallet:{agents[-1]}", "available") == b"6000"
        else:
            with pytest.raises(AgentSuspended if script == "standing" else TokenRevoked):
                lottery.res.gate.standing(agents[-1], intents[-1])

    assert for_each_command(lottery, script, attempt, check) >= (2 if script == "ended" else 3)


def test_a_sale_by_limits_of_numbers_that_fails_at_any_command_is_taken_whole_or_not_at_all(lottery: Lottery) -> None:
    agent, draw, ids = lottery.person(pesos=5000), lottery.draw(), []
    by_number = {"straight": {"046": 100_000}}
    with lottery.res.sessions.begin() as session:  # as it is once the intent is posted
        session.scalars(select(Draw)).one().limits = Limits(by_number=by_number).to_dict()
    assert lottery.res.gate.set_limits(draw, new_id(), Limits(by_number=by_number))

    def attempt(gate: Gate, _: int) -> None:
        ids.append(new_id())
        sale = Sale(agent, ids[-1], (line("s046:10"),), "a login")
        assert not isinstance(gate.sell(draw, [sale], batch=ids[-1])[0], Problem)

    def check(command: int) -> None:
        lottery.sell(draw, agent, "s046:10", ticket_id=ids[-1])
        count = len(ids)
        exposure = {("straight", "046"): 1000 * count}
        state = ([count, 0, count, 1000 * count, 0, 0], exposure, 500_000 - 1000 * count, count)
        assert gate_state(lottery, draw, agent) == state, f"at command {command}"

    assert for_each_command(lottery, "sell", attempt, check) >= 18


def test_limits_of_numbers_that_have_vanished_sell_nothing_until_a_rebuild(lottery: Lottery) -> None:
    agent, draw = lottery.person(pesos=100), lottery.draw()
    assert lottery.res.gate.set_limits(draw, new_id(), Limits(by_number={"straight": {"046": 500}}))
    lottery.res.gate._client.delete(f"draw:{draw}:limits")
    with pytest.raises(IntakeUnavailable):
        lottery.sell(draw, agent, "s777:1")
    reconcile(lottery.res)
    assert lottery.sell(draw, agent, "s777:1")["status"] == "accepted"
