"""Two roots from two sources: what agrees is sealed, what differs is not, and the report says where."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
import redis
from sqlalchemy import func, insert, select

import tasks.seal
from actions import seals, voiding
from actions.draws import close
from actions.reconcile import reconcile
from actions.void import void
from models.dead_letters import DeadLetter
from models.settlement import Seal, SealBlock
from rules.errors import NoSuchDraw, NotSealed, SamePerson, WrongState
from rules.merkle import EMPTY_ROOT, leaf_hash, root
from rules.tickets import Line, Ticket, gap_leaf_text, leaf_text
from tasks.persist import persist
from tasks.seal import seal
from tests.integration.after_sales import (
    Journal,
    as_owner,
    at_once,
    drain,
    failures,
    jump,
    killed,
    later,
    read_draw,
    rewrite_journal,
    rung,
    sealed,
    sell_many,
    status,
)
from tests.integration.conftest import Lottery


def leaf_of(receipt: dict[str, Any], voided: bool = False, annulled: bool = False) -> bytes:
    """The leaf as the holder of the receipt computes it."""
    lines = tuple(Line(line["play"], line["number"], line["stake"]) for line in receipt["lines"])
    at = round(datetime.fromisoformat(receipt["accepted_at"]).timestamp() * 1000)
    ticket = Ticket(receipt["draw_id"], receipt["serial"], receipt["id"], receipt["agent_id"], at, lines, 0)
    return leaf_hash(leaf_text(ticket, voided, annulled))


def test_the_sealed_root_is_the_one_that_the_receipts_give(lottery: Lottery) -> None:
    agent = lottery.person(pesos=1000)
    draw = lottery.draw()
    receipts = [
        lottery.sell(draw, agent, "s046:10", "r123:5"),
        *(lottery.sell(draw, agent, f"s00{i}:1") for i in range(5)),
    ]
    void(lottery.res, agent, receipts[2]["number"], "wrong number")
    with pytest.raises(NotSealed):
        seals.published(lottery.res, draw, full=False)
    drain(lottery, draw)
    assert seal(lottery.res, draw)

    body = seals.published(lottery.res, draw, full=True)
    leaves = [leaf_of(receipt, voided=index == 2) for index, receipt in enumerate(receipts)]
    assert body["merkle_root"] == root(leaves).hex()
    assert {name: body[name] for name in ("tree_size", "late", "restored", "gaps")} == {
        "tree_size": 6,
        "late": False,
        "restored": 0,
        "gaps": [],
    }
    assert (body["count"], body["voided"], body["stake"]) == (6, 1, 1900)
    assert not {"count", "voided", "stake"} & seals.published(lottery.res, draw, full=False).keys()
    row = read_draw(lottery.res, draw)
    assert row.status == "sealed"
    assert row.sealed_at is not None
    assert row.sealed_at.isoformat() == body["sealed_at"]
    assert not seal(lottery.res, draw)


def test_a_draw_without_tickets_seals_with_the_empty_root(lottery: Lottery) -> None:
    draw = lottery.draw()
    sealed(lottery, draw)
    body = seals.published(lottery.res, draw, full=True)
    assert (body["tree_size"], body["merkle_root"], body["count"]) == (0, EMPTY_ROOT.hex(), 0)


def test_the_seal_of_an_unknown_draw_is_not_found(lottery: Lottery) -> None:
    with pytest.raises(NoSuchDraw):
        seals.published(lottery.res, "3D-20260101-1400", full=False)
    assert not seal(lottery.res, "3D-20260101-1400")


def test_nothing_is_sealed_before_the_close_marker_is_persisted(lottery: Lottery) -> None:
    agent, draw = lottery.person(pesos=100), lottery.draw()
    lottery.sell(draw, agent)
    persist(lottery.res, draw)
    assert not seal(lottery.res, draw)
    close(lottery.res, lottery.person("admin"), draw)
    assert not seal(lottery.res, draw)
    persist(lottery.res, draw)
    assert rung(lottery, "draws.seal", draw)
    assert seal(lottery.res, draw)


def test_a_waiting_dead_letter_and_a_stopped_draw_block_the_seal(lottery: Lottery) -> None:
    draw = lottery.draw()
    lottery.sell(draw, lottery.person(pesos=100))
    drain(lottery, draw)
    letter = {
        "draw_id": read_draw(lottery.res, draw).id,
        "serial": 9,
        "sub": 0,
        "body": b"t|",
        "error": "x",
        "kind": "record",
        "queue": "persist",
    }
    with lottery.res.sessions.begin() as session:
        session.execute(insert(DeadLetter).values(letter))
    assert not seal(lottery.res, draw, force=True)
    with as_owner(lottery.res) as owner:
        owner.execute("UPDATE dead_letters SET status = 'replayed', ended_at = now()")
        owner.execute("UPDATE draws SET stopped = 'a conflict'")
    assert not seal(lottery.res, draw, force=True)
    with as_owner(lottery.res) as owner:
        owner.execute("UPDATE draws SET stopped = NULL")
    assert seal(lottery.res, draw)


def out_of_balance(lottery: Lottery, draw: str) -> dict[str, Any]:
    """Tries to seal, which must fail and leave the draw closed; the report."""
    before = len(failures(lottery.res))
    assert not seal(lottery.res, draw, force=True)
    found = failures(lottery.res)
    assert len(found) == before + 1
    assert status(lottery.res, draw) == "closed"
    with lottery.res.sessions() as session:
        assert session.scalar(select(func.count()).select_from(Seal)) == 0
    return dict(found[-1])


@pytest.fixture
def drained(lottery: Lottery) -> tuple[Lottery, str]:
    """A draw of 30 tickets, one of them voided, ready to be sealed."""
    agent, draw = lottery.person(pesos=1000), lottery.draw()
    held = sell_many(lottery, draw, agent, 30)
    lottery.res.gate.void(draw, held[11], agent, 300_000, "wrong number")
    drain(lottery, draw)
    return lottery, draw


def test_an_altered_digit_in_the_database_is_named_and_not_sealed(drained: tuple[Lottery, str]) -> None:
    lottery, draw = drained
    with as_owner(lottery.res) as owner:
        owner.execute("UPDATE ticket_lines SET number = '999' WHERE serial = 17 AND line_no = 1")
    report = out_of_balance(lottery, draw)
    assert report["failed"] == ["leaves", "roots", "bets"]
    assert report["bets"] == [["straight", "016"], ["straight", "999"]]
    assert report["differing"] == 1
    (found,) = report["serials"]
    assert found["serial"] == 17
    assert "3D straight 016 100" in found["journal"]
    assert "3D straight 999 100" in found["database"]
    assert report["journal"]["root"] != report["database"]["root"]


def test_a_draw_out_of_balance_is_not_read_again_at_once_but_seals_when_mended(
    drained: tuple[Lottery, str],
) -> None:
    lottery, draw = drained
    with as_owner(lottery.res) as owner:
        owner.execute("UPDATE ticket_lines SET number = '999' WHERE serial = 17 AND line_no = 1")
        out_of_balance(lottery, draw)
        owner.execute("UPDATE ticket_lines SET number = '016' WHERE serial = 17 AND line_no = 1")
        assert not seal(lottery.res, draw)
        assert len(failures(lottery.res)) == 1
        owner.execute("UPDATE seal_failures SET failed_at = failed_at - interval '61 seconds'")
    assert seal(lottery.res, draw)


@pytest.mark.parametrize(
    ("change", "failed", "serial"),
    [
        ("DELETE FROM tickets WHERE serial = 5", {"leaves", "roots", "serials", "closing", "sums", "agents"}, 5),
        ("DELETE FROM ticket_lines WHERE serial = 5", {"leaves", "roots", "serials", "closing", "sums", "bets"}, 5),
        ("UPDATE ticket_lines SET stake = 200 WHERE serial = 5", {"leaves", "roots", "closing", "sums", "bets"}, 5),
        ("UPDATE tickets SET stake = 200 WHERE serial = 5", {"leaves", "roots", "agents"}, 5),
        ("UPDATE tickets SET agent_id = agent_id + 1 WHERE serial = 5", {"leaves", "roots", "agents"}, 5),
        (
            "UPDATE tickets SET accepted_at = accepted_at + interval '1 ms' WHERE serial = 5",
            {"leaves", "roots"},
            5,
        ),
        ("UPDATE tickets SET id = gen_random_uuid() WHERE serial = 5", {"leaves", "roots"}, 5),
        ("UPDATE voids SET ticket_serial = 5", {"voids", "closing", "sums", "bets"}, None),
        ("DELETE FROM voids", {"voids", "closing", "sums", "agents", "bets"}, None),
        ("UPDATE voids SET stake = 900", {"voids"}, None),
        (
            "INSERT INTO gaps SELECT draw_id, 31, 40, now() FROM positions",
            {"leaves", "roots", "serials", "closing"},
            40,
        ),
        ("UPDATE closings SET tickets = 31", {"marker", "closing"}, None),
        ("UPDATE positions SET stake = stake + 100", {"sums"}, None),
        ("UPDATE agent_sums SET stake = stake + 100", {"sums", "agents"}, None),
        ("UPDATE exposures SET stake = stake + 100 WHERE key = '016'", {"bets"}, None),
    ],
)
def test_any_change_in_the_database_keeps_the_draw_closed(
    drained: tuple[Lottery, str], change: str, failed: set[str], serial: int | None
) -> None:
    lottery, draw = drained
    with as_owner(lottery.res) as owner:
        owner.execute(change)
    report = out_of_balance(lottery, draw)
    assert set(report["failed"]) <= failed
    assert report["failed"]
    if serial is not None:
        assert [item["serial"] for item in report["serials"]] == [serial]


def altered(records: Journal) -> Journal:
    """Somebody's winning number written over ticket 7."""
    return [(place, raw.replace(b"s006:", b"s999:") if place == b"7-0" else raw) for place, raw in records]


def lost(records: Journal) -> Journal:
    return [item for item in records if item[0] != b"7-0"]


def unreadable(records: Journal) -> Journal:
    return [(place, b"\x00\xff" if place == b"7-0" else raw) for place, raw in records]


def doubled(records: Journal) -> Journal:
    """Ticket 7 once more, behind the last one."""
    again = dict(records)[b"7-0"]
    tickets = [item for item in records if item[0].endswith(b"-0")]
    return [*tickets, (b"31-0", again), *[(b"31-1", raw) for _, raw in records if raw.startswith(b"z")]]


def unvoided(records: Journal) -> Journal:
    return [item for item in records if not item[1].startswith(b"v")]


def without_marker(records: Journal) -> Journal:
    return records[:-1]


def with_a_second_marker(records: Journal) -> Journal:
    return [*records, (b"99-1", records[-1][1])]


@pytest.mark.parametrize(
    ("change", "serials"),
    [
        (altered, [7]),
        (lost, [7]),
        (unreadable, [7]),
        (doubled, [31]),
        (unvoided, []),
        (without_marker, []),
        (with_a_second_marker, [99]),
    ],
)
def test_any_change_in_the_journal_keeps_the_draw_closed(
    drained: tuple[Lottery, str], change: Any, serials: list[int]
) -> None:
    lottery, draw = drained
    rewrite_journal(lottery.res, draw, change)
    report = out_of_balance(lottery, draw)
    assert [item["serial"] for item in report["serials"]] == serials


def test_a_long_difference_names_twenty_serials_and_counts_all(drained: tuple[Lottery, str]) -> None:
    lottery, draw = drained
    with as_owner(lottery.res) as owner:
        owner.execute("DELETE FROM tickets")
    report = out_of_balance(lottery, draw)
    assert report["differing"] == 30
    assert [item["serial"] for item in report["serials"]] == list(range(1, 21))
    assert all(item["database"] is None for item in report["serials"])


def test_a_gap_is_one_leaf_at_its_place(lottery: Lottery) -> None:
    agent, draw = lottery.person(pesos=100), lottery.draw()
    first = lottery.sell(draw, agent, "s046:10")
    jump(lottery, draw, 2, 1001)
    second = lottery.sell(draw, agent, "s047:10")
    assert second["serial"] == 1002
    sealed(lottery, draw)
    body = seals.published(lottery.res, draw, full=True)
    leaves = [leaf_of(first), leaf_hash(gap_leaf_text(draw, 2, 1001)), leaf_of(second)]
    assert (body["tree_size"], body["merkle_root"]) == (3, root(leaves).hex())
    assert (body["gaps"], body["count"]) == ([[2, 1001]], 2)


def test_what_a_rebuild_wrote_back_is_counted_as_restored(drained: tuple[Lottery, str]) -> None:
    lottery, draw = drained
    client = redis.Redis.from_url(lottery.res.settings.redis_url)
    client.flushall()
    client.script_flush()
    client.close()
    assert reconcile(lottery.res)
    assert seal(lottery.res, draw)
    # Thirty tickets, a void, the open record and the close marker.
    assert seals.published(lottery.res, draw, full=False)["restored"] == 30


def test_two_that_seal_at_once_make_one_seal(drained: tuple[Lottery, str]) -> None:
    lottery, draw = drained
    answers = at_once(lambda: seal(lottery.res, draw))
    assert sorted(map(bool, answers)) == [False, False, False, True]
    assert all(isinstance(answer, bool) for answer in answers)


def test_who_dies_before_the_commit_leaves_nothing_and_the_next_one_seals(
    drained: tuple[Lottery, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lottery, draw = drained
    with monkeypatch.context() as patch:
        patch.setattr(tasks.seal, "advance", killed)
        with pytest.raises(KeyboardInterrupt):
            seal(lottery.res, draw)
    with lottery.res.sessions() as session:
        assert session.scalar(select(func.count()).select_from(SealBlock)) == 0
    assert status(lottery.res, draw) == "closed"
    assert seal(lottery.res, draw)


def test_a_failed_analyze_does_not_undo_the_seal(drained: tuple[Lottery, str]) -> None:
    lottery, draw = drained
    with as_owner(lottery.res) as owner:
        owner.execute("REVOKE EXECUTE ON FUNCTION analyze_tickets(date) FROM drawbreak_app")
    with pytest.raises(Exception, match="analyze_tickets"):
        seal(lottery.res, draw)
    assert status(lottery.res, draw) == "sealed"


def test_a_draw_that_is_being_voided_is_not_sealed(drained: tuple[Lottery, str]) -> None:
    lottery, draw = drained
    voiding.ask(lottery.res, lottery.person("admin"), draw, "machine broke")
    voiding.confirm(lottery.res, lottery.person("admin"), draw)
    assert not seal(lottery.res, draw)


def test_a_late_seal_needs_two_superadmins_and_says_so(drained: tuple[Lottery, str]) -> None:
    lottery, draw = drained
    one, two, three = (lottery.person("superadmin") for _ in range(3))
    with pytest.raises(WrongState):
        seals.ask_late(lottery.res, one, draw, "before it is drawn")
    after = later(lottery.res)
    assert not seal(after, draw)
    with pytest.raises(WrongState):
        seals.confirm_late(after, two, draw)
    asked = seals.ask_late(after, one, draw, "the database was away")
    assert asked["status"] == "awaiting_confirmation"
    with pytest.raises(WrongState):
        seals.ask_late(after, three, draw, "me too")
    with pytest.raises(SamePerson):
        seals.confirm_late(after, one, draw)
    assert not seal(after, draw)
    confirmed = seals.confirm_late(after, two, draw)
    assert rung(lottery, "draws.seal", draw)
    assert seal(after, draw)
    body = seals.published(after, draw, full=True)
    assert (body["late"], body["reason"]) == (True, "the database was away")
    assert seals.confirm_late(after, two, draw) == confirmed
    with pytest.raises(WrongState):
        seals.confirm_late(after, three, draw)
    with pytest.raises(WrongState):
        seals.ask_late(after, three, draw, "again")
