"""Incidents that lotteries had while they sold, told in the docstrings (docs/incidents.md lists them)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import pytest
from sqlalchemy import text

from actions import draws, void
from actions.reconcile import reconcile
from rules import errors
from runtime.embedded_valkey import Valkey
from tasks.close_draws import close_draws
from tasks.persist import persist
from tasks.seal import seal
from tests.integration.after_sales import drain, status
from tests.integration.conftest import Lottery, new_id
from tests.integration.counters import books_are_right, gate_knows
from tests.integration.lost_servers import kill

PATIENCE_S = 60


def rebuilt(lottery: Lottery, draw: str) -> None:
    """Everything is stored, and then the gate is lost and made anew."""
    persist(lottery.res, draw)
    lottery.res.gate._client.flushall()
    assert reconcile(lottery.res)


def final_refusal(lottery: Lottery, draw: str, agent: int, ticket_id: str) -> str:
    """The code with which a sale is refused once the gate answers again."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        with pytest.raises(errors.Problem) as refusal:
            lottery.sell(draw, agent, ticket_id=ticket_id)
        if not isinstance(refusal.value, errors.IntakeUnavailable):
            return refusal.value.code
        assert time.monotonic() < deadline, "nobody asks the server that is back"
        time.sleep(0.1)


def test_a_failover_that_does_not_happen_before_a_draw(fragile: Lottery, own_valkey: Valkey) -> None:
    """The server died in the rush before the cutoff and none took its place; some terminals had sold, some had not."""
    agent, draw = fragile.person(pesos=1000), fragile.draw(cutoff_s=4)
    sold = {(ticket_id := new_id()): fragile.sell(draw, agent, ticket_id=ticket_id) for _ in range(5)}
    persist(fragile.res, draw)
    sold |= {(ticket_id := new_id()): fragile.sell(draw, agent, ticket_id=ticket_id) for _ in range(5)}
    cutoff = draws.one(fragile.res, draw)["cutoff_at"]
    kill(own_valkey)
    rush = new_id()
    while fragile.res.clock.now().isoformat() < cutoff:  # both in UTC
        with pytest.raises(errors.IntakeUnavailable):
            fragile.sell(draw, agent, ticket_id=rush)
        time.sleep(0.1)
    with pytest.raises(errors.IntakeUnavailable):
        fragile.sell(draw, agent, ticket_id=rush)
    own_valkey.start()
    assert reconcile(fragile.res)
    # Too late for what was not sold; and every receipt is good, also for who never saw it.
    assert final_refusal(fragile, draw, agent, rush) == "cutoff_passed"
    assert {ticket_id: fragile.sell(draw, agent, ticket_id=ticket_id) for ticket_id in sold} == sold
    close_draws(fragile.res)
    persist(fragile.res, draw)
    assert seal(fragile.res, draw)
    with fragile.res.sessions() as session:
        stored = session.execute(text("SELECT replace(id::text, '-', ''), serial FROM tickets")).all()
        assert dict(map(tuple, stored)) == {ticket_id: receipt["serial"] for ticket_id, receipt in sold.items()}
        assert session.scalar(text("SELECT count(*) FROM gaps")) == 0


@pytest.mark.parametrize(
    ("limits", "before", "bet", "most"),
    [
        pytest.param({}, (), "s046", 1000, id="straight"),
        pytest.param({}, (), "r123", 1500, id="rambolito"),
        pytest.param({"by_number": {"straight": {"046": 70_00}}}, (), "s046", 70, id="one-number"),
        # One outcome may cost ₱450 × 10; then ₱450 × 7 of it is taken, and ₱75 × 18 are left of it.
        pytest.param({"payout": 4_500_00}, (), "s046", 10, id="payout"),
        pytest.param({"payout": 4_500_00}, ("s213:7",), "r123", 18, id="payout-shared"),
        pytest.param({"payout": 4_500_00 - 1}, (), "s046", 9, id="payout-less-a-centavo"),
    ],
)
def test_off_by_one_at_a_limit(
    lottery: Lottery, limits: Mapping[str, Any], before: tuple[str, ...], bet: str, most: int
) -> None:
    """At a limit one peso too much was sold, or the last one never; and a void left one stake too little."""
    agent, draw = lottery.rich_agent(), lottery.draw()
    draws.set_limits(lottery.res, lottery.person("admin"), draw, limits)
    if before:
        lottery.sell(draw, agent, *before)

    def exactly(left: int) -> None:
        with pytest.raises(errors.SoldOut) as refusal:
            lottery.sell(draw, agent, f"{bet}:{left + 1}")
        assert refusal.value.extra["lines"][0]["left"] == left * 100

    exactly(most)
    with pytest.raises(errors.SoldOut):  # equal lines count together
        lottery.sell(draw, agent, f"{bet}:{most}", f"{bet}:1")
    whole = lottery.sell(draw, agent, f"{bet}:{most}")
    exactly(0)
    void.void(lottery.res, agent, whole["number"], "one peso less")
    lottery.sell(draw, agent, f"{bet}:{most - 1}")
    exactly(1)
    rebuilt(lottery, draw)
    exactly(1)
    lottery.sell(draw, agent, f"{bet}:1")
    exactly(0)


def test_voids_that_do_not_give_exposure_back(lottery: Lottery) -> None:
    """Voided tickets went on to count: a number stayed sold out that nobody held, and agents lost their credit."""
    agent, draw = lottery.person(pesos=1000), lottery.draw()

    def sold_out_and_given_back() -> None:
        """All of the number and of the credit; however often and in whichever way it is voided, it is back once."""
        sold = lottery.sell(draw, agent, "s046:1000", ticket_id=(ticket_id := new_id()))
        assert sold["available"] == 0
        with pytest.raises(errors.SoldOut):
            lottery.sell(draw, lottery.rich_agent(), "s046:1")
        void.void(lottery.res, agent, sold["number"], "the customer left")
        for _ in range(2):
            with pytest.raises(errors.AlreadyVoided):
                void.void(lottery.res, agent, sold["number"], "the customer left")
            assert void.cancel(lottery.res, agent, draw, ticket_id) == {"status": "voided"}
        with pytest.raises(errors.InsufficientCredit):
            lottery.sell(draw, agent, "s046:1000", "s047:1")

    sold_out_and_given_back()
    rebuilt(lottery, draw)
    sold_out_and_given_back()
    persist(lottery.res, draw)
    sold_out_and_given_back()
    drain(lottery, draw)
    with lottery.res.sessions() as session:
        sums = session.execute(text("SELECT tickets, stake, voids, voided_stake FROM positions")).one()
        assert tuple(sums) == (3, 300_000, 3, 300_000)
        assert session.execute(text("SELECT DISTINCT stake FROM exposures")).all() == [(0,)]
        assert session.scalar(text("SELECT sum(stake) - sum(voided_stake) FROM agent_sums")) == 0
    gate_knows(lottery, agent)
    books_are_right(lottery.res)
    assert status(lottery.res, draw) == "closed"
