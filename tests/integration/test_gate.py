"""The gate's decisions, in the order of the contract, on a real server."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from actions import draws, void
from actions.sell import sell_batch
from intake.gate import Sale
from rules import errors
from tests.integration.conftest import Lottery, line, new_id


def test_a_sale_gives_a_receipt_with_serial_one_and_takes_the_stake_from_the_credit(lottery: Lottery) -> None:
    agent, draw = lottery.person(pesos=100), lottery.draw()
    receipt = lottery.sell(draw, agent, "s046:10", "r123:5")
    assert (receipt["serial"], receipt["stake"], receipt["available"]) == (1, 1500, 8500)
    assert receipt["status"] == "accepted"
    assert [body["number"] for body in receipt["lines"]] == ["046", "123"]


def test_serials_run_without_gaps(lottery: Lottery) -> None:
    agent, draw = lottery.person(pesos=100), lottery.draw()
    assert [lottery.sell(draw, agent)["serial"] for _ in range(5)] == [1, 2, 3, 4, 5]


def test_a_repeated_id_gives_the_same_receipt_even_after_the_cutoff(lottery: Lottery) -> None:
    agent, draw, ticket_id = lottery.person(pesos=100), lottery.draw(), new_id()
    first = lottery.sell(draw, agent, ticket_id=ticket_id)
    lottery.res.gate.close(draw, asked=True)
    assert lottery.sell(draw, agent, ticket_id=ticket_id) == first
    with pytest.raises(errors.DrawNotOpen):
        lottery.sell(draw, agent)


def test_a_known_id_with_other_content_or_of_another_agent_is_a_conflict(lottery: Lottery) -> None:
    agent, other, draw, ticket_id = (
        lottery.person(pesos=99),
        lottery.person(pesos=99),
        lottery.draw(),
        new_id(),
    )
    lottery.sell(draw, agent, "s046:10", ticket_id=ticket_id)
    with pytest.raises(errors.IdConflict):
        lottery.sell(draw, agent, "s046:11", ticket_id=ticket_id)
    with pytest.raises(errors.IdConflict):
        lottery.sell(draw, other, "s046:10", ticket_id=ticket_id)


def test_an_id_belongs_to_its_draw(lottery: Lottery) -> None:
    agent, ticket_id = lottery.person(pesos=100), new_id()
    first = lottery.sell(lottery.draw(minute=1), agent, ticket_id=ticket_id)
    second = lottery.sell(lottery.draw(minute=2), agent, ticket_id=ticket_id)
    assert first["number"] != second["number"]


def test_the_first_call_at_the_cutoff_latches_the_draw_for_good(lottery: Lottery) -> None:
    agent, draw = lottery.person(pesos=100), lottery.draw()
    raw = lottery.res.gate._client
    cutoff = raw.hget(f"draw:{draw}", "cutoff_ms")
    raw.hset(f"draw:{draw}", "cutoff_ms", lottery.res.rebuild.now_ms())
    with pytest.raises(errors.CutoffPassed):
        lottery.sell(draw, agent)
    raw.hset(f"draw:{draw}", "cutoff_ms", cutoff)
    with pytest.raises(errors.CutoffPassed):
        lottery.sell(draw, agent)


def test_the_gates_clock_never_runs_backwards(lottery: Lottery) -> None:
    agent, draw = lottery.person(pesos=100), lottery.draw()
    ahead = lottery.res.rebuild.now_ms() + 600_000
    lottery.res.gate._client.hset(f"draw:{draw}", "last_ms", ahead)
    ticket_id = new_id()
    lottery.sell(draw, agent, ticket_id=ticket_id)
    held = lottery.res.gate.find_id(draw, ticket_id)
    assert held is not None
    assert held.record.accepted_ms == ahead


def test_a_ticket_is_refused_whole_and_equal_lines_count_together(lottery: Lottery) -> None:
    agent, draw = lottery.person(pesos=5000), lottery.draw()
    with pytest.raises(errors.SoldOut) as refusal:
        lottery.sell(draw, agent, "s046:600", "s046:600", "s111:1")
    assert refusal.value.extra["lines"] == [{"play": "straight", "number": "046", "left": 100_000}]
    assert lottery.res.gate.exposures([draw]) == [{}]
    assert lottery.sell(draw, agent, "s046:500", "s046:500")["stake"] == 100_000


def test_a_rambolito_and_a_straight_share_the_payout_that_an_outcome_may_cause(lottery: Lottery) -> None:
    agent, draw = lottery.person(pesos=9000), lottery.draw()
    lottery.sell(draw, agent, "s112:1000")
    # ₱450,000 of ₱600,000 are taken on 112; a rambolito on its digits pays 150 to 1.
    with pytest.raises(errors.SoldOut) as refusal:
        lottery.sell(draw, agent, "r211:1001")
    assert refusal.value.extra["lines"] == [{"play": "rambolito", "number": "211", "left": 100_000}]
    lottery.sell(draw, agent, "r211:1000")
    with pytest.raises(errors.SoldOut):
        lottery.sell(draw, agent, "r121:1")
    # The other way round: ₱225,000 on any order of 445 leave room for ₱833 straight on each of them.
    lottery.sell(draw, agent, "r445:1500")
    with pytest.raises(errors.SoldOut) as refusal:
        lottery.sell(draw, agent, "s454:834")
    assert refusal.value.extra["lines"] == [{"play": "straight", "number": "454", "left": 83_300}]


def test_credit_is_never_exceeded_and_the_refusal_says_what_is_left(lottery: Lottery) -> None:
    agent, draw = lottery.person(pesos=15), lottery.draw()
    lottery.sell(draw, agent, "s046:10")
    with pytest.raises(errors.InsufficientCredit) as refusal:
        lottery.sell(draw, agent, "s046:6")
    assert refusal.value.extra["available"] == 500
    with pytest.raises(errors.InsufficientCredit):
        lottery.sell(draw, lottery.person(), "s046:1")


def test_an_answer_to_another_sale_becomes_nobodys_receipt(lottery: Lottery, monkeypatch: pytest.MonkeyPatch) -> None:
    agent, draw, gate = lottery.rich_agent(), lottery.draw(), lottery.res.gate
    mine, others = (Sale(agent, new_id(), (line("s046:10"),)) for _ in range(2))
    run, answers = gate._run, []

    def kept(calls: Any, **how: Any) -> Any:
        answers.append(run(calls, **how))
        return answers[-1]

    monkeypatch.setattr(gate, "_run", kept)
    for _ in range(2):
        gate.sell(draw, [others])
    assert [answer[0][2][0] for answer in answers] == [b"sold", b"again"]
    for answer in answers:
        monkeypatch.setattr(gate, "_run", lambda _, answer=answer, **__: answer)
        with pytest.raises(RuntimeError, match=others.id):
            gate.sell(draw, [mine])


def test_a_refused_id_may_be_used_again(lottery: Lottery) -> None:
    agent, draw, ticket_id = lottery.person(), lottery.draw(), new_id()
    with pytest.raises(errors.InsufficientCredit):
        lottery.sell(draw, agent, ticket_id=ticket_id)
    lottery.load(agent, 10)
    assert lottery.sell(draw, agent, ticket_id=ticket_id)["serial"] == 1


def test_an_unknown_draw_is_told_apart_from_one_that_is_not_open_yet(lottery: Lottery) -> None:
    agent = lottery.person(pesos=10)
    with pytest.raises(errors.NoSuchDraw):
        lottery.sell("3D-20300101-1400", agent)
    later = lottery.res.clock.now().replace(year=2031)
    draws.create(lottery.res, None, game="3D", date=later.date(), time=later.time().replace(second=0, microsecond=0))
    name = f"3D-{later:%Y%m%d-%H%M}"
    with pytest.raises(errors.DrawNotOpen):
        lottery.sell(name, agent)


def test_above_its_share_of_memory_the_gate_sells_no_more_but_voids_and_closes(lottery: Lottery) -> None:
    agent, draw = lottery.person(pesos=100), lottery.draw()
    number = lottery.sell(draw, agent)["number"]
    lottery.res.gate.set_full(True)
    with pytest.raises(errors.IntakeUnavailable):
        lottery.sell(draw, agent)
    assert void.void(lottery.res, agent, number, "wrong number")["status"] == "voided"
    assert lottery.res.gate.close(draw, asked=True) is not None
    lottery.res.gate.set_full(False)


def test_at_the_servers_own_memory_limit_sales_are_refused_and_closing_still_works(lottery: Lottery) -> None:
    agent, draw = lottery.person(pesos=100), lottery.draw()
    number = lottery.sell(draw, agent)["number"]
    raw = lottery.res.gate._client
    raw.config_set("maxmemory", 1)
    try:
        with pytest.raises(errors.IntakeUnavailable) as refusal:
            lottery.sell(draw, agent)
        assert type(refusal.value) is errors.IntakeUnavailable  # full, and not half done
        assert void.void(lottery.res, agent, number, "")["status"] == "voided"
        assert lottery.res.gate.close(draw, asked=True) is not None
    finally:
        raw.config_set("maxmemory", 0)


def test_a_batch_answers_each_ticket_as_if_it_were_sent_alone(lottery: Lottery) -> None:
    agent, first, second = lottery.person(pesos=30), lottery.draw(minute=1), lottery.draw(minute=2)
    repeated = new_id()
    asked = [
        (first, repeated, 10),
        (second, new_id(), 10),
        (first, repeated, 10),
        (first, new_id(), 90),
        ("3D-20300101-1400", new_id(), 1),
    ]
    answers = sell_batch(lottery.res, [(d, Sale(agent, i, (line(f"s046:{p}"),))) for d, i, p in asked])
    kinds = [a.code if isinstance(a, errors.Problem) else (a[0]["serial"], a[1]) for a in answers]
    assert kinds == [(1, False), (1, False), (1, True), "insufficient_credit", "no_such_draw"]


def test_64_threads_sell_exactly_the_last_thousand_pesos_of_one_number(lottery: Lottery) -> None:
    agents = [lottery.person(pesos=2000) for _ in range(8)]
    draw = lottery.draw()
    outcomes = _at_once(lambda i: lottery.sell(draw, agents[i % 8], "s046:50"))
    assert sum(outcome == "sold" for outcome in outcomes) == 20
    assert set(outcomes) == {"sold", "sold_out"}
    assert lottery.res.gate.exposures([draw]) == [{("straight", "046"): 100_000}]


def test_64_threads_spend_exactly_the_last_credit_of_one_agent(lottery: Lottery) -> None:
    agent, draw = lottery.person(pesos=100), lottery.draw()
    outcomes = _at_once(lambda i: lottery.sell(draw, agent, f"s{i:03}:7"))
    assert sum(outcome == "sold" for outcome in outcomes) == 14
    assert set(outcomes) == {"sold", "insufficient_credit"}
    assert lottery.res.gate._client.hget(f"wallet:{agent}", "available") == b"200"


def test_64_repeats_of_one_id_are_one_ticket(lottery: Lottery) -> None:
    agent, draw, ticket_id = lottery.person(pesos=1000), lottery.draw(), new_id()
    with ThreadPoolExecutor(64) as pool:
        receipts = list(pool.map(lambda _: lottery.sell(draw, agent, ticket_id=ticket_id), range(64)))
    assert all(receipt == receipts[0] for receipt in receipts)
    assert [place.serial for place, _ in lottery.res.journal.all(draw)] == [0, 1]


def _at_once(sale) -> list[str]:  # type: ignore[no-untyped-def]
    def attempt(index: int) -> str:
        while True:
            try:
                sale(index)
            except errors.IntakeUnavailable:
                continue
            except errors.Problem as problem:
                return problem.code
            return "sold"

    with ThreadPoolExecutor(64) as pool:
        return list(pool.map(attempt, range(64)))
