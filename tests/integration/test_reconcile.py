"""A server that comes back with less than it promised: noticed, rebuilt, and what was lost declared."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select, text

from actions import void
from actions.reconcile import reconcile
from actions.witnessing import gather, list_self
from intake.gate_errors import Unreconciled
from intake.records import Position, decode
from intake.witness import Witness, read_folder
from models.tickets import Gap, Ticket
from rules import errors
from runtime.embedded_valkey import Valkey
from runtime.settings import Settings
from tasks.persist import persist
from tests.integration.conftest import Lottery, make_resources, new_id
from tests.integration.lost_servers import cut_tail, kill, sell_on
from tests.integration.test_gate_errors import gate_state


def test_a_flushed_server_is_rebuilt_with_right_limits_and_credit_and_the_loss_is_a_gap(
    lottery: Lottery,
) -> None:
    agent, draw = lottery.person(pesos=5000), lottery.draw()
    kept, cancelled, killed = new_id(), new_id(), new_id()
    first = lottery.sell(draw, agent, "s046:600", "r123:5", ticket_id=kept)
    lottery.sell(draw, agent, "s046:100", ticket_id=cancelled)
    void.cancel(lottery.res, agent, draw, cancelled)
    void.cancel(lottery.res, agent, draw, killed)
    persist(lottery.res, draw)
    before = gate_state(lottery, draw, agent)
    lost = lottery.sell(draw, agent, "s999:7")
    lottery.res.gate._client.flushall()
    with pytest.raises(Unreconciled):
        lottery.sell(draw, agent)
    assert reconcile(lottery.res)
    after = gate_state(lottery, draw, agent)
    assert after[0][2:] == before[0][2:]
    assert after[1:] == before[1:]
    assert lottery.sell(draw, agent, "s046:600", "r123:5", ticket_id=kept) == first
    for dead in (cancelled, killed):
        with pytest.raises(errors.IdCancelled):
            lottery.sell(draw, agent, ticket_id=dead)
    with pytest.raises(errors.SoldOut) as refusal:
        lottery.sell(draw, agent, "s046:401")
    assert refusal.value.extra["lines"][0]["left"] == 40_000
    later = lottery.sell(draw, agent, "s046:400")
    assert later["serial"] > lost["serial"]
    persist(lottery.res, draw)
    with lottery.res.sessions() as session:
        gap = session.scalars(select(Gap)).one()
        assert gap.first_serial <= lost["serial"] <= gap.last_serial < later["serial"]
        assert list(session.scalars(select(Ticket.serial).order_by(Ticket.serial))) == [1, 2, later["serial"]]


def test_a_restarted_server_that_kept_everything_declares_no_gap(fragile: Lottery, own_valkey: Valkey) -> None:
    agent, draw = fragile.person(pesos=100), fragile.draw()
    fragile.sell(draw, agent)
    persist(fragile.res, draw)
    fragile.sell(draw, agent)
    state = gate_state(fragile, draw, agent)
    kill(own_valkey)
    own_valkey.start()
    with pytest.raises(errors.IntakeUnavailable):
        fragile.sell(draw, agent)
    assert reconcile(fragile.res)
    assert gate_state(fragile, draw, agent) == state
    assert sell_on(fragile, draw, agent)["serial"] == 3


def test_no_serial_is_issued_twice_after_the_append_only_file_lost_its_tail(
    fragile: Lottery, own_valkey: Valkey
) -> None:
    agent, draw = fragile.person(pesos=500), fragile.draw()
    sold = [fragile.sell(draw, agent) for _ in range(3)]
    persist(fragile.res, draw)
    sold += [fragile.sell(draw, agent) for _ in range(3)]
    kill(own_valkey)
    cut_tail(own_valkey, 300)
    own_valkey.start()
    more = [sell_on(fragile, draw, agent) for _ in range(3)]
    serials = [receipt["serial"] for receipt in sold + more]
    assert len(set(serials)) == len(serials)
    persist(fragile.res, draw)
    with fragile.res.sessions() as session:
        gaps = session.scalars(select(Gap)).all()
        stored = set(session.scalars(select(Ticket.serial)))
        wallet = session.scalar(text("SELECT balance FROM wallets"))
    lost = set(serials) - stored
    assert lost, "the cut was meant to lose a ticket"
    assert all(any(gap.first_serial <= serial <= gap.last_serial for gap in gaps) for serial in lost)
    assert wallet == 50_000 - 1000 * len(stored)


def test_a_journal_that_lost_what_was_persisted_is_written_back_from_the_database(lottery: Lottery) -> None:
    agent, draw = lottery.person(pesos=500), lottery.draw()
    numbers = [lottery.sell(draw, agent, "s046:10", "r210:2")["number"] for _ in range(3)]
    void.void(lottery.res, agent, numbers[1], "a | reason")
    persist(lottery.res, draw)
    sold = list(lottery.res.journal.all(draw))
    lottery.res.gate._client.flushall()
    reconcile(lottery.res)
    assert list(lottery.res.journal.all(draw))[1:] == sold[1:]
    assert [back for *_, back in lottery.res.journal.entries(draw)] == [True] * 5


def test_a_draw_that_somebody_meant_to_close_stays_closed_through_a_rebuild(lottery: Lottery) -> None:
    agent, draw = lottery.person(pesos=100), lottery.draw()
    lottery.sell(draw, agent)
    from actions.draws import close

    close(lottery.res, lottery.person("admin"), draw)
    lottery.res.gate._client.flushall()
    reconcile(lottery.res)
    with pytest.raises(errors.DrawNotOpen):
        lottery.sell(draw, agent)
    closed = lottery.res.gate.close(draw, asked=False)
    assert closed is not None
    persist(lottery.res, draw)
    with lottery.res.sessions() as session:
        assert session.scalar(text("SELECT status FROM draws")) == "closed"


def test_a_gate_that_knows_less_than_a_process_has_answered_for_refuses(lottery: Lottery) -> None:
    agent, draw = lottery.person(pesos=100), lottery.draw()
    lottery.sell(draw, agent)
    assert lottery.res.witness is not None
    lottery.res.witness.note(draw, Position(5, 0))
    with pytest.raises(Unreconciled) as refusal:
        lottery.sell(draw, agent)
    assert refusal.value.why == "witness"


def test_a_slot_that_stays_silent_makes_the_draw_jump_ahead(lottery: Lottery) -> None:
    agent, draw = lottery.person(pesos=100), lottery.draw()
    lottery.sell(draw, agent)
    with lottery.res.sessions.begin() as session:
        session.execute(text("INSERT INTO witness_slots (slot) VALUES ('elsewhere/0')"))
    assert gather(lottery.res)[1] == ["elsewhere/0"]
    lottery.res.rebuild.fence()
    reconcile(lottery.res)
    assert lottery.sell(draw, agent)["serial"] == 1002
    records = [decode(raw) for _, raw in lottery.res.journal.all(draw)]
    assert records[2].text().endswith("|2|1001")


def test_a_waiting_dead_letter_keeps_its_place_through_a_rebuild(lottery: Lottery) -> None:
    agent, draw, ticket_id = lottery.person(pesos=100), lottery.draw(), new_id()
    lottery.sell(draw, agent, "s046:10", ticket_id=ticket_id)
    with lottery.res.sessions.begin() as session:
        session.execute(text("SELECT 1"))
    raw = list(lottery.res.journal.all(draw))[1][1]
    persist(lottery.res, draw)
    state = gate_state(lottery, draw, agent)
    _make_dead(lottery, raw)
    lottery.res.gate._client.flushall()
    reconcile(lottery.res)
    assert gate_state(lottery, draw, agent)[1:] == state[1:]
    assert lottery.sell(draw, agent, "s046:10", ticket_id=ticket_id)["serial"] == 1


def _make_dead(lottery: Lottery, raw: bytes) -> None:
    """As if the database had refused the one ticket."""
    import psycopg

    url = lottery.res.settings.owner_database_url
    assert url is not None
    with psycopg.connect(url.replace("+psycopg", "", 1)) as connection:
        for statement in (
            "DELETE FROM ticket_lines",
            "DELETE FROM tickets",
            "DELETE FROM exposures",
            "DELETE FROM agent_sums",
            "UPDATE positions SET tickets = 0, stake = 0",
            "UPDATE wallets SET balance = 10000",
        ):
            connection.execute(statement)
        connection.execute(
            "INSERT INTO dead_letters (kind, queue, draw_id, serial, sub, body, error) "
            "SELECT 'record', 'persist', id, 1, 0, %s, 'test' FROM draws",
            [raw],
        )


def test_a_witness_file_outlives_its_process_and_its_slot_is_taken_over(tmp_path: Path) -> None:
    first = Witness(tmp_path)
    first.note("3D-20261122-1400", Position(17, 2))
    first.note("3D-20261122-1400", Position(17, 1))
    second = Witness(tmp_path)
    assert second.slot != first.slot
    second.close()
    first.close()
    successor = Witness(tmp_path)
    assert successor.slot == first.slot
    assert successor.seen("3D-20261122-1400") == Position(17, 2)
    assert read_folder(tmp_path) == {second.slot: {}}, "a living process answers for itself"
    successor.close()
    assert read_folder(tmp_path)[successor.slot] == {"3D-20261122-1400": Position(17, 2)}


def test_two_reconcilers_at_once_make_one_generation(lottery: Lottery, settings: Settings) -> None:
    from concurrent.futures import ThreadPoolExecutor

    agent, draw = lottery.person(pesos=100), lottery.draw()
    lottery.sell(draw, agent)
    list_self(lottery.res)
    other, _ = make_resources(settings)
    lottery.res.gate._client.flushall()
    with ThreadPoolExecutor(4) as pool:
        rebuilt = list(pool.map(reconcile, [lottery.res, other, lottery.res, other]))
    assert sum(rebuilt) >= 1
    assert lottery.res.gate.identity == other.gate.identity
    assert lottery.sell(draw, agent)["serial"] > 1
    other.close()
