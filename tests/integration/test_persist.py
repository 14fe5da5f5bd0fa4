"""From the journal into the database, on real servers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
import pytest
from sqlalchemy import select, text

import tasks.persist
from actions import void
from actions.dead_letters import replay
from actions.store_records import DrainStopped
from models.dead_letters import DeadLetter
from models.draws import Draw, Position, draw_by_name
from models.ledger import balances
from models.people import Wallet
from models.tickets import AgentSum, Ticket, TicketLine, Void, exposure_of
from rules.errors import IntakeUnavailable
from tasks.persist import persist
from tests.conftest import Database
from tests.integration.after_sales import rung
from tests.integration.conftest import Lottery, new_id
from tests.integration.dying import Deaths, Died


def rows(lottery: Lottery, model: type) -> list:  # type: ignore[type-arg]
    with lottery.res.sessions() as session:
        return list(session.scalars(select(model)))


def wallet(lottery: Lottery, agent: int) -> int:
    with lottery.res.sessions() as session:
        return session.get_one(Wallet, agent).balance


@contextmanager
def owner(database: Database) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database.owner_url.replace("+psycopg", "", 1), autocommit=True) as connection:
        yield connection


def test_what_was_sold_stands_in_the_database_with_its_sums_wallets_and_ledger(lottery: Lottery) -> None:
    agent, draw = lottery.person(pesos=100), lottery.draw()
    sold = [lottery.sell(draw, agent, "s046:10", "r321:5") for _ in range(3)]
    void.void(lottery.res, agent, sold[1]["number"], "typed wrong")
    assert persist(lottery.res, draw) == 5  # the open record, three tickets, one void
    assert [(t.serial, str(t.id), t.stake, t.available) for t in rows(lottery, Ticket)] == [
        (r["serial"], r["id"], r["stake"], r["available"]) for r in sold
    ]
    assert [(line.line_no, line.number) for line in rows(lottery, TicketLine)][:2] == [(1, "046"), (2, "321")]
    assert [(v.ticket_serial, v.stake, v.reason) for v in rows(lottery, Void)] == [(2, 1500, "typed wrong")]
    (position,) = rows(lottery, Position)
    assert (position.serial, position.sub, position.tickets, position.stake) == (3, 1, 3, 4500)
    assert (position.voids, position.voided_stake) == (1, 1500)
    with lottery.res.sessions() as session:
        assert exposure_of(session, position.draw_id) == {
            ("straight", "046"): 2000,
            ("rambolito", "123"): 1000,
        }
        assert dict(balances(session)) == {"cash": -10_000, "sales": 3000, "wallet": 7000}
    assert wallet(lottery, agent) == 7000
    assert [(s.tickets, s.voids) for s in rows(lottery, AgentSum)] == [(3, 1)]


def test_persisting_again_changes_nothing(lottery: Lottery) -> None:
    agent, draw = lottery.person(pesos=100), lottery.draw()
    lottery.sell(draw, agent)
    persist(lottery.res, draw)
    assert persist(lottery.res, draw) == 0
    assert wallet(lottery, agent) == 9000


def test_two_workers_at_once_store_every_ticket_once(lottery: Lottery) -> None:
    agent, draw = lottery.person(pesos=1000), lottery.draw()
    for index in range(60):
        lottery.sell(draw, agent, f"s{index:03}:1")
    workers = [threading.Thread(target=persist, args=(lottery.res, draw)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [t.serial for t in rows(lottery, Ticket)] == list(range(1, 61))
    assert wallet(lottery, agent) == 94_000


def test_a_row_that_is_there_already_is_a_repeat_if_equal_and_stops_the_draw_if_not(
    lottery: Lottery, database: Database
) -> None:
    agent, draw = lottery.person(pesos=100), lottery.draw()
    lottery.sell(draw, agent)
    persist(lottery.res, draw)
    lottery.sell(draw, agent)
    with owner(database) as connection:
        connection.execute("UPDATE positions SET serial = 0, sub = 1")
    persist(lottery.res, draw)
    assert wallet(lottery, agent) == 8000, "the repeat was booked again"
    with owner(database) as connection:
        connection.execute("UPDATE positions SET serial = 0, sub = 1")
        connection.execute("UPDATE ticket_lines SET number = '047' WHERE serial = 1")
    with pytest.raises(DrainStopped, match="ticket 1 in the journal is not"):
        persist(lottery.res, draw)
    assert rows(lottery, Draw)[0].stopped is not None
    with pytest.raises(IntakeUnavailable):
        lottery.sell(draw, agent)


def test_one_row_that_the_database_refuses_becomes_a_dead_letter_and_the_others_are_stored(
    lottery: Lottery, database: Database
) -> None:
    agent, draw = lottery.person(pesos=100), lottery.draw()
    numbers = [lottery.sell(draw, agent, f"s{n}:1")["number"] for n in ("100", "200", "300", "400", "500")]
    void.void(lottery.res, agent, numbers[2], "its ticket is the bad one")
    with owner(database) as connection:
        connection.execute("ALTER TABLE ticket_lines ADD CONSTRAINT not_300 CHECK (number <> '300')")
    persist(lottery.res, draw)
    assert [t.serial for t in rows(lottery, Ticket)] == [1, 2, 4, 5]
    letters = rows(lottery, DeadLetter)
    assert [(d.serial, d.sub, d.sqlstate) for d in letters] == [(3, 0, "23514"), (5, 1, None)]
    assert letters[0].record()[1].startswith(b"t|")
    assert "not_300" in letters[0].error
    assert wallet(lottery, agent) == 10_000 - 400

    assert not replay(lottery.res, letters[0].id).replayed, "the reason is still there"
    with owner(database) as connection:
        connection.execute("ALTER TABLE ticket_lines DROP CONSTRAINT not_300")
    assert not replay(lottery.res, letters[1].id).replayed, "a void waits for its ticket"
    assert replay(lottery.res, letters[0].id).replayed
    assert replay(lottery.res, letters[0].id).replayed, "a second replay finds it done"
    assert wallet(lottery, agent) == 10_000 - 500
    assert replay(lottery.res, letters[1].id).replayed
    assert wallet(lottery, agent) == 10_000 - 400
    assert [d.status for d in rows(lottery, DeadLetter)] == ["replayed", "replayed"]
    assert {t.serial for t in rows(lottery, Ticket)} == {1, 2, 3, 4, 5}


def write_garbage(lottery: Lottery, draw: str, serial: int) -> None:
    """A record of that draw that nobody can read."""
    raw = lottery.res.gate._client
    raw.xadd(f"draw:{draw}:journal", {"r": b"t|\xff\xfe"}, id=f"{serial}-0")
    raw.hset(f"draw:{draw}", "serial", serial)


def test_bytes_that_are_no_record_become_a_dead_letter(lottery: Lottery) -> None:
    agent, draw = lottery.person(pesos=100), lottery.draw()
    lottery.sell(draw, agent)
    write_garbage(lottery, draw, 2)
    lottery.sell(draw, agent)
    persist(lottery.res, draw)
    assert [(d.serial, d.body) for d in rows(lottery, DeadLetter)] == [(2, b"t|\xff\xfe")]
    assert [t.serial for t in rows(lottery, Ticket)] == [1, 3]


def test_dying_anywhere_leaves_a_refused_record_unread_or_kept(lottery: Lottery) -> None:
    agent, draw = lottery.person(pesos=100), lottery.draw()
    lottery.sell(draw, agent)
    write_garbage(lottery, draw, 2)
    deaths, place = Deaths(lottery.res), 0
    while place == 0 or deaths.disturbed:
        place += 1
        with deaths.at(place), suppress(Died):
            persist(lottery.res, draw)
        [position] = rows(lottery, Position)
        assert (position.serial >= 2) == (len(rows(lottery, DeadLetter)) == 1), place
    assert place > 2
    assert len(rows(lottery, DeadLetter)) == 1


def test_what_is_written_while_it_drains_is_stored_and_what_comes_after_its_last_look_rings(
    lottery: Lottery, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent, draw = lottery.person(pesos=100), lottery.draw()
    lottery.sell(draw, agent)
    read, look = lottery.res.journal.read_after, tasks.persist._has_more

    def read_and_sell(*arguments: Any) -> Any:
        monkeypatch.setattr(lottery.res.journal, "read_after", read)
        found = read(*arguments)
        lottery.sell(draw, agent)
        return found

    def look_and_sell(*arguments: Any) -> bool:
        found = look(*arguments)
        assert rung(lottery, "tickets.persist", draw)  # for the first sale alone
        assert len(lottery.rings.sent) == 1
        lottery.rings.sent.clear()
        lottery.sell(draw, agent)
        return found

    monkeypatch.setattr(lottery.res.journal, "read_after", read_and_sell)
    monkeypatch.setattr(tasks.persist, "_has_more", look_and_sell)
    persist(lottery.res, draw)
    assert [ticket.serial for ticket in rows(lottery, Ticket)] == [1, 2]
    assert rung(lottery, "tickets.persist", draw)


def test_more_than_ten_refused_records_condemn_nobody(lottery: Lottery, database: Database) -> None:
    agent, draw = lottery.person(pesos=100), lottery.draw()
    for _ in range(12):
        lottery.sell(draw, agent, "s300:1")
    with owner(database) as connection:
        connection.execute("ALTER TABLE ticket_lines ADD CONSTRAINT not_300 CHECK (number <> '300')")
    with pytest.raises(DrainStopped):
        persist(lottery.res, draw)
    assert (rows(lottery, DeadLetter), rows(lottery, Ticket)) == ([], [])
    assert wallet(lottery, agent) == 10_000
    lottery.sell(draw, agent, "s301:1")  # what is wrong is on our side: sales go on
    with owner(database) as connection:
        connection.execute("ALTER TABLE ticket_lines DROP CONSTRAINT not_300")
    persist(lottery.res, draw)
    assert len(rows(lottery, Ticket)) == 13


def test_a_missing_partition_stops_the_drain_and_condemns_nothing(lottery: Lottery, database: Database) -> None:
    agent, draw = lottery.person(pesos=100), lottery.draw()
    lottery.sell(draw, agent)
    with owner(database) as connection:
        connection.execute("ALTER TABLE tickets DETACH PARTITION tickets_2026_03")
    with pytest.raises(Exception, match="no partition"):
        persist(lottery.res, draw)
    assert rows(lottery, DeadLetter) == []
    with owner(database) as connection:
        connection.execute(
            "ALTER TABLE tickets ATTACH PARTITION tickets_2026_03 FOR VALUES FROM ('2026-03-01') TO ('2026-04-01')"
        )
    assert persist(lottery.res, draw) == 2


def test_a_serial_missing_in_the_journal_stops_the_draw(lottery: Lottery) -> None:
    agent, draw = lottery.person(pesos=100), lottery.draw()
    for _ in range(3):
        lottery.sell(draw, agent)
    lottery.res.gate._client.xdel(f"draw:{draw}:journal", "2-0")
    with pytest.raises(DrainStopped, match="from serial 1 to 3-0"):
        persist(lottery.res, draw)
    assert rows(lottery, Ticket) == []


def test_a_cancel_kills_an_id_sold_or_not_and_survives_a_repeat(lottery: Lottery) -> None:
    agent, draw, sold, unseen = lottery.person(pesos=100), lottery.draw(), new_id(), new_id()
    lottery.sell(draw, agent, ticket_id=sold)
    for _ in range(2):
        assert void.cancel(lottery.res, agent, draw, sold) == {"status": "voided"}
        assert void.cancel(lottery.res, agent, draw, unseen) == {"status": "never_sold"}
    persist(lottery.res, draw)
    assert [(v.kind, v.ticket_serial, v.stake) for v in rows(lottery, Void)] == [
        ("cancel", 1, 1000),
        ("cancel", None, 0),
    ]
    assert wallet(lottery, agent) == 10_000
    with lottery.res.sessions() as session:
        found = draw_by_name(session, draw)
        assert found is not None
        assert session.scalar(text("SELECT count(*) FROM exposures WHERE stake <> 0")) == 0
