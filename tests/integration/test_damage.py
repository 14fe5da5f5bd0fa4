"""What the server holds is damaged: the gate notices, the next reconcile mends it, and the others go on meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import text

from actions import closing
from actions.credit import push_outbox
from actions.reconcile import reconcile
from intake.gate_errors import DrawUnknown
from intake.records import Position
from intake.witness import Witness
from rules import errors
from runtime.settings import Settings
from tasks.close_draws import close_draws
from tasks.open_draws import open_draws
from tasks.persist import persist
from tasks.sweep import sweep_journals
from tests.integration.after_sales import as_owner, read_draw, status
from tests.integration.conftest import Lottery, make_resources
from tests.integration.lost_servers import sell_on

ROUNDS = 3


def spoil(lottery: Lottery, key: str) -> None:
    """Puts a string where a hash belongs: every script that touches it fails."""
    client = lottery.res.gate._client
    client.delete(key)
    client.set(key, "x")


def sweep_as_workers_do(lottery: Lottery, *sweeps: Callable[..., Any]) -> None:
    """Some rounds of sweeps; a worker that finds the gate away reconciles."""
    for _ in range(ROUNDS):
        for sweep in sweeps:
            try:
                sweep(lottery.res)
            except errors.IntakeUnavailable:
                reconcile(lottery.res)


def test_a_gate_that_knows_less_than_a_witness_sells_on_after_a_reconcile(lottery: Lottery) -> None:
    agent, draw = lottery.person(pesos=100), lottery.draw()
    lottery.sell(draw, agent)
    assert lottery.res.witness is not None
    lottery.res.witness.note(draw, Position(5, 0))
    assert int(str(sell_on(lottery, draw, agent)["serial"])) > 5


@pytest.mark.parametrize("key", ["draw:{draw}", "draw:{draw}:exposure", "draw:{draw}:ids", "wallet:{agent}"])
def test_a_damaged_key_is_made_anew(lottery: Lottery, key: str) -> None:
    agent, draw = lottery.person(pesos=100), lottery.draw()
    first = lottery.sell(draw, agent)
    spoil(lottery, key.format(draw=draw, agent=agent))
    receipt = sell_on(lottery, draw, agent)
    assert receipt["available"] == first["available"] - 1000


def test_a_lost_draw_is_made_anew(lottery: Lottery) -> None:
    agent, draw = lottery.person(pesos=100), lottery.draw()
    lottery.sell(draw, agent)
    persist(lottery.res, draw)
    lottery.res.gate._client.delete(f"draw:{draw}")
    sweep_as_workers_do(lottery, open_draws, sweep_journals)
    sell_on(lottery, draw, agent)


def test_a_ticket_whose_journal_entry_is_missing_is_found_again_after_a_reconcile(lottery: Lottery) -> None:
    agent, draw, ticket_id = lottery.person(pesos=100), lottery.draw(), "0" * 31 + "1"
    receipt = lottery.sell(draw, agent, ticket_id=ticket_id)
    persist(lottery.res, draw)
    lottery.res.gate._client.xdel(f"draw:{draw}:journal", "1-0")
    with pytest.raises(errors.IntakeUnavailable):
        lottery.sell(draw, agent, ticket_id=ticket_id)
    reconcile(lottery.res)
    assert lottery.sell(draw, agent, ticket_id=ticket_id) == receipt


def test_a_fresh_database_beside_an_old_folder_of_witnesses_sells(settings: Settings) -> None:
    old = Witness(settings.witness_dir)
    old.note("3D-20260301-0000", Position(5000, 0))
    old.close()
    res, rings = make_resources(settings)
    try:
        lottery = Lottery(res, rings)
        agent, draw = lottery.person(pesos=100), lottery.draw()
        assert draw == "3D-20260301-0000"
        sell_on(lottery, draw, agent)
    finally:
        res.close()


def test_a_damaged_draw_does_not_keep_the_others_from_closing(lottery: Lottery) -> None:
    agent = lottery.person(pesos=100)
    bad, good = lottery.draw(minute=1), lottery.draw(minute=2, cutoff_s=0.5)
    lottery.sell(bad, agent)
    lottery.sell(good, agent)
    closing.ask_to_close(lottery.res, lottery.person("admin"), bad)
    spoil(lottery, f"draw:{bad}")
    while lottery.res.clock.now() < read_draw(lottery.res, good).cutoff_at:
        time.sleep(0.02)
    sweep_as_workers_do(lottery, close_draws, sweep_journals)
    assert status(lottery.res, good) == "closed"
    assert status(lottery.res, bad) == "closed"


def test_a_server_that_is_flushed_in_the_middle_of_a_rebuild_is_rebuilt_again(
    lottery: Lottery, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent, draw = lottery.person(pesos=100), lottery.draw()
    lottery.sell(draw, agent)
    persist(lottery.res, draw)
    lottery.res.rebuild.fence()
    real = lottery.res.rebuild.write_wallets

    def after_a_flush(wallets: Any) -> None:
        lottery.res.gate._client.flushall()
        real(wallets)

    with monkeypatch.context() as patched, suppress(errors.IntakeUnavailable):
        patched.setattr(lottery.res.rebuild, "write_wallets", after_a_flush)
        reconcile(lottery.res)
    assert int(str(sell_on(lottery, draw, agent)["serial"])) > 1


def test_a_draw_that_cannot_be_drained_does_not_keep_the_sweep_from_the_others(lottery: Lottery) -> None:
    agent = lottery.person(pesos=10_000)
    bad, good = lottery.draw(minute=1), lottery.draw(minute=2)
    with as_owner(lottery.res) as connection:
        connection.execute("ALTER TABLE ticket_lines ADD CONSTRAINT not_300 CHECK (number <> '300')")
    for _ in range(12):  # more than are condemned in one batch
        lottery.sell(bad, agent, "s300:1")
    lottery.sell(good, agent, "s301:1")
    sweep_journals(lottery.res)
    with lottery.res.sessions() as session:
        assert session.scalar(text("SELECT count(*) FROM tickets")) == 1
        assert session.execute(text("SELECT task, arguments FROM retries")).all() == [("tickets.persist", [bad])]


def test_a_damaged_wallet_does_not_keep_loads_from_the_others(lottery: Lottery) -> None:
    damaged, healthy = lottery.person(), lottery.person()
    spoil(lottery, f"wallet:{damaged}")
    lottery.load(damaged, 10, push=False)
    lottery.load(healthy, 10, push=False)
    sweep_as_workers_do(lottery, push_outbox)
    for agent in (damaged, healthy):
        assert lottery.res.gate._client.hget(f"wallet:{agent}", "available") == b"1000"


def test_a_difference_stops_the_sales_though_the_gate_was_away_when_it_was_found(
    lottery: Lottery, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent, draw = lottery.person(pesos=100), lottery.draw()
    for _ in range(3):
        lottery.sell(draw, agent)
    lottery.res.gate._client.xdel(f"draw:{draw}:journal", "2-0")

    def away(*_: object) -> None:
        raise errors.IntakeUnavailable(retry_after=1)

    with monkeypatch.context() as patched:
        patched.setattr(lottery.res.gate, "stop", away)
        with pytest.raises(errors.IntakeUnavailable):
            persist(lottery.res, draw)
    assert read_draw(lottery.res, draw).stopped
    sweep_as_workers_do(lottery, sweep_journals)
    with pytest.raises(errors.IntakeUnavailable):
        lottery.sell(draw, agent)
    with lottery.res.sessions() as session:
        assert session.scalar(text("SELECT count(*) FROM tickets")) == 0


@pytest.mark.parametrize("reconciled", [False, True])
def test_stopping_a_draw_that_the_gate_lacks_leaves_nothing_in_its_way(lottery: Lottery, reconciled: bool) -> None:
    agent = lottery.person(pesos=100)
    lottery.res.rebuild.fence()
    draw = lottery.draw()
    if reconciled:
        reconcile(lottery.res)
    with suppress(errors.IntakeUnavailable, DrawUnknown):
        lottery.res.gate.stop(draw)
    reconcile(lottery.res)
    open_draws(lottery.res)
    sell_on(lottery, draw, agent)


def test_the_sweep_drains_a_full_server(fragile: Lottery) -> None:
    agent, draw = fragile.person(pesos=100), fragile.draw()
    fragile.sell(draw, agent)
    fragile.res.gate._client.config_set("maxmemory", "100kb")
    assert sweep_journals(fragile.res) == 2
    with pytest.raises(errors.IntakeUnavailable):
        fragile.sell(draw, agent)
    fragile.res.gate._client.config_set("maxmemory", "1gb")
    sweep_journals(fragile.res)
    assert fragile.sell(draw, agent)["serial"] == 2
