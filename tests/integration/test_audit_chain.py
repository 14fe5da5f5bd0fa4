"""The chain over the audit log: complete, in order, once; and whoever rewrites it is found out."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import psycopg
import pytest
from psycopg import errors as sql_errors
from sqlalchemy import select

import models.audit
from actions import audit_chain
from actions.audit import record
from actions.audit_chain import Head, canonical, heads_file, lengthen, torn_lines, verify
from models.audit import AuditLink, AuditRow
from runtime.origin import SYSTEM, Origin, set_origin
from tasks.audit import chain
from tests.conftest import Database
from tests.integration.conftest import Lottery

Tamper = Callable[..., None]


def deed(lottery: Lottery, about: str = "user:1", **after: Any) -> None:
    with lottery.res.sessions.begin() as session:
        record(session, "user.change", about, {"phone": "1"}, after or None)


def links(lottery: Lottery) -> list[tuple[int, int]]:
    with lottery.res.sessions() as session:
        return [(link.seq, link.audit_id) for link in session.scalars(select(AuditLink).order_by(AuditLink.seq))]


def findings(lottery: Lottery, *heads: str) -> list[str]:
    kept = heads or tuple(heads_file(lottery.res).read_text().splitlines())
    with lottery.res.sessions() as session:
        return verify(session, kept)[1]


@pytest.fixture
def tamper(database: Database) -> Tamper:
    """Runs SQL as the tables' owner, who may do what the application may not."""

    def run(statement: str, *values: Any) -> None:
        with psycopg.connect(database.owner_url.replace("+psycopg", "", 1)) as connection:
            connection.execute(statement, values)  # type: ignore[arg-type]

    return run


@pytest.fixture
def chained(lottery: Lottery) -> Lottery:
    """Ten deeds, chained in two batches."""
    for number in range(10):
        deed(lottery, f"user:{number}", name=f"ñ {number}", amount=number, nested={"b": [1, None], "a": True})
        if number == 4:
            chain(lottery.res)
    chain(lottery.res)
    assert findings(lottery) == []
    return lottery


def test_every_row_gets_one_link_in_order_and_the_chain_verifies(chained: Lottery) -> None:
    assert [seq for seq, _ in links(chained)] == list(range(1, 11))
    assert [row for _, row in links(chained)] == sorted(row for _, row in links(chained))
    assert chain(chained.res) == 0


def test_a_head_is_the_hash_over_the_rows_as_documented(chained: Lottery) -> None:
    with chained.res.sessions() as session:
        rows = session.scalars(select(AuditRow).order_by(AuditRow.id)).all()
        before = bytes(32)
        for row in rows:
            before = sha256(before + canonical(row)).digest()
    with chained.res.sessions() as session:
        assert verify(session, [])[0] == Head(10, before)
    assert f"10 {before.hex()}" in heads_file(chained.res).read_text().splitlines()


def test_a_row_whose_transaction_commits_late_is_chained_after_those_with_higher_ids(lottery: Lottery) -> None:
    late = lottery.res.sessions()
    record(late, "user.change", "user:late")
    late.flush()
    deed(lottery, "user:early")
    assert chain(lottery.res) == 1
    late.commit()
    late.close()
    assert chain(lottery.res) == 1
    ids = [row for _, row in links(lottery)]
    assert ids == sorted(ids, reverse=True)
    assert findings(lottery) == []


def test_a_deed_that_is_rolled_back_leaves_no_link_and_no_gap(lottery: Lottery) -> None:
    session = lottery.res.sessions()
    record(session, "user.change", "user:gone")
    session.flush()
    session.rollback()
    session.close()
    deed(lottery)
    assert chain(lottery.res) == 1
    assert links(lottery)[0][0] == 1
    assert findings(lottery) == []


def test_a_row_far_behind_the_end_is_found_by_the_look_at_the_whole_log(
    lottery: Lottery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_chain, "LOOK_BACK_IDS", 3)
    late = lottery.res.sessions()
    record(late, "user.change", "user:late")
    late.flush()
    for _ in range(5):
        deed(lottery)
    assert chain(lottery.res) == 5
    late.commit()
    late.close()
    assert chain(lottery.res) == 0
    assert chain(lottery.res, whole=True) == 1
    assert findings(lottery) == []


def test_chains_at_once_while_deeds_are_done_give_one_chain_without_gaps(
    lottery: Lottery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_chain, "ROWS_MAX", 7)
    monkeypatch.setattr(models.audit, "READ_AT_ONCE", 50)
    stop = threading.Event()

    def keep_chaining(_: int) -> int:
        done = 0
        while not stop.is_set():
            done += chain(lottery.res)
        return done

    with ThreadPoolExecutor(7) as pool:
        chaining = [pool.submit(keep_chaining, number) for number in range(3)]
        doing = [pool.submit(lambda: [deed(lottery, f"user:{number}") for number in range(75)]) for _ in range(4)]
        for done in doing:
            done.result()
        stop.set()
        counts = [future.result() for future in chaining]
    assert sum(counts) + chain(lottery.res) == 300
    assert [seq for seq, _ in links(lottery)] == list(range(1, 301))
    assert findings(lottery) == []


def test_a_chain_that_dies_before_its_head_is_kept_goes_on_the_next_time(
    lottery: Lottery, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError("no space left on device")

    deed(lottery)
    with monkeypatch.context() as patch:
        patch.setattr(audit_chain, "_append", full)
        with pytest.raises(OSError, match="no space"):
            lengthen(lottery.res)
    assert len(links(lottery)) == 1
    deed(lottery)
    assert lengthen(lottery.res)[0] == 1
    assert findings(lottery) == []


def test_the_heads_file_is_readable_by_its_owner_only(chained: Lottery) -> None:
    assert heads_file(chained.res).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE audit SET after = '{\"amount\": 7}' WHERE id = %s",
        "UPDATE audit SET actor_id = 99 WHERE id = %s",
        "UPDATE audit SET at = at + interval '1 microsecond' WHERE id = %s",
        "UPDATE audit SET outcome = 'forbidden' WHERE id = %s",
        "UPDATE audit SET before = NULL WHERE id = %s",
        "UPDATE audit_chain SET hash = decode(repeat('00', 32), 'hex') WHERE audit_id = %s",
    ],
)
def test_a_changed_row_or_link_is_found(chained: Lottery, tamper: Tamper, change: str) -> None:
    seq, row = links(chained)[4]
    tamper(change, row)
    assert any(f"link {seq}: row {row} or the link was changed" in found for found in findings(chained))
    assert findings(chained, "1 " + "00" * 32)


def test_a_deleted_row_is_found_with_its_link_or_without(chained: Lottery, tamper: Tamper) -> None:
    (_, first), (_, second) = links(chained)[3], links(chained)[6]
    tamper("ALTER TABLE audit_chain DROP CONSTRAINT audit_chain_audit_id_fkey")
    tamper("DELETE FROM audit WHERE id = %s", first)
    assert findings(chained) == [f"link 4: its row {first} is missing"]
    tamper("DELETE FROM audit_chain WHERE audit_id = %s", second)
    tamper("DELETE FROM audit WHERE id = %s", second)
    assert "links 7 to 7 are missing" in findings(chained)


def test_rows_taken_from_the_end_are_found_by_a_kept_head(chained: Lottery, tamper: Tamper) -> None:
    last = links(chained)[-1][1]
    tamper("DELETE FROM audit_chain WHERE audit_id = %s", last)
    tamper("DELETE FROM audit WHERE id = %s", last)
    with chained.res.sessions() as session:
        assert verify(session, [])[1] == []
    assert findings(chained) == ["head 10 is kept elsewhere and not in the chain: links were taken away"]


def test_a_chain_rewritten_as_a_whole_is_found_by_a_kept_head(chained: Lottery, tamper: Tamper) -> None:
    tamper("UPDATE audit SET actor_id = 99 WHERE id = %s", links(chained)[0][1])
    kept = heads_file(chained.res).read_text().splitlines()
    tamper("DELETE FROM audit_chain")
    heads_file(chained.res).unlink()
    assert chain(chained.res) == 10
    assert findings(chained) == []
    assert len(findings(chained, *kept)) == 2


def test_a_row_put_in_with_an_earlier_time_is_found(chained: Lottery, tamper: Tamper) -> None:
    tamper("INSERT INTO audit (at, action, object, outcome) VALUES (now() - interval '2 days', 'x', 'user:1', 'done')")
    assert any("is not chained, and older" in found for found in findings(chained))
    chain(chained.res)
    assert any("was written later" in found for found in findings(chained))


def test_an_old_row_that_nobody_chained_is_found_and_a_fresh_one_is_not(
    chained: Lottery, monkeypatch: pytest.MonkeyPatch
) -> None:
    deed(chained, "user:fresh")
    assert findings(chained) == []
    monkeypatch.setattr(audit_chain, "UNCHAINED_MAX", timedelta(0))
    assert [found.endswith("older than 0:00:00") for found in findings(chained)] == [True]


def test_of_many_findings_the_first_are_told(chained: Lottery, tamper: Tamper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_chain, "FINDINGS_MAX", 3)
    monkeypatch.setattr(models.audit, "READ_AT_ONCE", 2)
    tamper("UPDATE audit SET object = 'user:99'")
    assert [found.partition(":")[0] for found in findings(chained)] == ["link 1", "link 2", "link 3"]


def test_a_heads_file_that_is_none_is_found(chained: Lottery) -> None:
    assert findings(chained, "hello") == ["heads, line 1: not a head"]
    twice = "1 " + "00" * 32, "1 " + "11" * 32
    assert findings(chained, *twice)[0] == "heads, line 2: 1 stands there with another hash before"


@pytest.mark.parametrize("left", [1, 2, 3, 40, 65])
def test_a_head_that_was_written_in_part_is_no_finding_and_spoils_no_other(chained: Lottery, left: int) -> None:
    path = heads_file(chained.res)
    whole = path.read_bytes()
    path.write_bytes(whole + whole.splitlines()[0][:left])
    deed(chained)
    chain(chained.res)
    lines = path.read_text().splitlines()
    assert (len(lines), lines[2]) == (4, lines[0][:left])
    assert findings(chained) == []
    assert torn_lines(lines) == [3]
    assert findings(chained, *lines[:2], lines[2] + "!", lines[3]) == ["heads, line 3: not a head"]


def test_a_full_disk_is_told_and_the_next_head_stands_on_a_line_of_its_own(
    chained: Lottery, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    deed(chained)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda fd, data: write(fd, data[:9]))
        with pytest.raises(OSError, match="in part"):
            lengthen(chained.res)
    deed(chained)
    assert lengthen(chained.res)[0] == 1
    assert findings(chained) == []
    assert torn_lines(heads_file(chained.res).read_text().splitlines()) == [3]


def test_what_a_link_covers_does_not_change_with_the_table() -> None:
    row = AuditRow(id=7, at=datetime(2026, 1, 2, 3, 4, 5, 6, UTC), actor="ñ", action="login", object="user:1")
    row.before, row.after, row.outcome = None, {"b": [1], "a": True}, "done"
    assert canonical(row).decode() == (
        '{"action":"login","actor":"ñ","actor_id":null,"address":null,"after":{"a":true,"b":[1]},'
        '"at":"2026-01-02T03:04:05.000006+00:00","before":null,"id":7,"object":"user:1","outcome":"done",'
        '"request_id":null,"role":null}'
    )


@pytest.mark.parametrize("statement", ["UPDATE {} SET {} = {}", "DELETE FROM {}", "TRUNCATE {} CASCADE"])
@pytest.mark.parametrize(("table", "column"), [("audit", "outcome"), ("audit_chain", "hash")])
def test_the_application_itself_can_change_nothing_that_is_written(
    chained: Lottery, database: Database, statement: str, table: str, column: str
) -> None:
    with (
        psycopg.connect(database.url.replace("+psycopg", "", 1)) as connection,
        pytest.raises(sql_errors.InsufficientPrivilege),
    ):
        connection.execute(statement.format(table, column, column))  # type: ignore[arg-type]


def test_who_acts_and_from_where_is_written_and_the_system_is_nobody(lottery: Lottery) -> None:
    set_origin(Origin(7, "lola", "admin", "203.0.113.7", "r-1"))
    try:
        deed(lottery, "user:8")
    finally:
        set_origin(SYSTEM)
    deed(lottery, "draw:x")
    with lottery.res.sessions() as session:
        first, second = session.scalars(select(AuditRow).order_by(AuditRow.id)).all()
    assert (first.actor_id, first.actor, first.role, first.address, first.request_id) == (
        7,
        "lola",
        "admin",
        "203.0.113.7",
        "r-1",
    )
    assert (first.action, first.object, first.outcome) == ("user.change", "user:8", "done")
    assert (second.actor_id, second.actor, second.role, second.address) == (None, None, None, None)
