"""Winners and unclaimed prizes: each line and each centavo against the tickets, the payouts and the claims."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from actions.expiry import expire_draw
from actions.ticket_list import page as ticket_page
from models.people import User
from reports.kinds import Scope, Sources
from reports.prizes import prize_status
from reports.registry import KINDS
from rules.errors import NotSettled
from rules.tickets import parse_number, ticket_number
from runtime.clock import FixedClock
from tests.integration.after_sales import read_draw, time_to_claim_over
from tests.integration.conftest import Lottery
from tests.integration.counters import moved_in
from tests.integration.reporting import World, tickets, wins

VIEWERS = ("superadmin", "operator", "admin", "other_admin", "north", "inner", "south")


@pytest.fixture
def world(lottery: Lottery) -> World:
    made = World(lottery)
    made.run()
    return made


def paid_on(world: World) -> dict[str, tuple[int, int]]:
    """(paid, expired) by the ticket's number, the one from its claims, the other from its payout."""
    paid: dict[str, int] = {}
    for row in world.rows("SELECT number, prize FROM claims WHERE status = 'paid'"):
        paid[row.number] = paid.get(row.number, 0) + row.prize
    rows = world.rows("SELECT number, expired FROM payouts")
    return {row.number: (paid.get(row.number, 0), row.expired) for row in rows}


def winning(world: World, draw: str, seen: set[int]) -> dict[str, tuple[int, list[tuple[str, str, int, int]]]]:
    """(agent, winning lines) by the number of each ticket of the draw that wins, in the order of the tickets."""
    result = {world.corrected: "064", world.settled: "123"}[draw]
    mine = [sold for sold in tickets(world) if sold.draw == draw and sold.agent in seen]
    found = {ticket_number(draw, sold.serial): (sold.agent, wins(sold, result)) for sold in mine}
    return {number: (agent, lines) for number, (agent, lines) in found.items() if lines}


def test_every_winning_line_is_there_with_what_was_paid_on_it(world: World) -> None:
    for viewer in VIEWERS:
        for name in ("corrected", "settled"):
            must_have_every_winning_line(world, viewer, name)


def must_have_every_winning_line(world: World, viewer: str, name: str) -> None:
    user, draw = getattr(world, viewer), getattr(world, name)
    wanted, paid = winning(world, draw, world.seen(user)), paid_on(world)
    report = world.report("winners", user, draw)
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in report.tables["lines"]:
        rows.setdefault(row["number"], []).append(row)
    assert list(rows) == list(wanted)
    for number, (agent, lines) in wanted.items():
        mine = rows[number]
        assert [(row["play"], row["bet"], row["stake"], row["prize"]) for row in mine] == lines
        assert {row["user_id"] for row in mine} == {agent}
        prize = sum(line[3] for line in lines)
        was_paid, expired = paid.get(number, (0, 0))
        assert sum(row["paid"] for row in mine) == min(prize, was_paid)
        assert all(0 <= row["paid"] <= row["prize"] for row in mine)
        assert sum(row["due"] for row in mine) == max(0, prize - was_paid - expired)
        whole = [row["paid"] == row["prize"] for row in mine]
        assert whole == sorted(whole, reverse=True), "paid in the order of the lines"
    assert report.facts["tickets"] == len(wanted)
    assert report.facts["lines"] == sum(len(lines) for _, lines in wanted.values())
    assert report.facts["prize"] == sum(line[3] for _, lines in wanted.values() for line in lines)
    assert report.facts["paid_in_error"] == in_error(world, draw, world.seen(user), paid)
    assert report.facts["due"] == report.facts["prize"] - report.facts["paid"]


def in_error(world: World, draw: str, seen: set[int], paid: dict[str, tuple[int, int]]) -> int:
    """What was paid on tickets of these agents above what they win now, also where they win nothing."""
    sellers = {ticket_number(draw, sold.serial): sold.agent for sold in tickets(world) if sold.draw == draw}
    prizes = {n: sum(line[3] for line in lines) for n, (_, lines) in winning(world, draw, seen).items()}
    return sum(max(0, paid[n][0] - prizes.get(n, 0)) for n in paid if n in sellers and sellers[n] in seen)


def test_what_the_world_has_of_each_state(world: World) -> None:
    """Else the figures above would compare nothing with nothing."""
    states = {row["status"] for draw in (world.corrected, world.settled)
              for row in world.report("winners", world.superadmin, draw).tables["lines"]}  # fmt: skip
    assert states >= {"paid", "unpaid", "held"}
    assert world.report("winners", world.superadmin, world.corrected).facts["paid_in_error"] > 0
    assert world.rows("SELECT id FROM claims WHERE status IN ('pending', 'dropped')")


@pytest.mark.parametrize(
    ("money", "flags", "status"),
    [
        ((100, 100, 0), {"held": True}, "paid"),
        ((100, 0, 0), {}, "unpaid"),
        ((100, 40, 0), {}, "unpaid"),
        ((100, 0, 0), {"held": True, "pending": True}, "held"),
        ((100, 0, 0), {"pending": True, "over": True}, "claim_pending"),
        ((100, 0, 0), {"over": True}, "expired"),
        ((100, 40, 60), {}, "expired"),
    ],
)
def test_what_a_prize_is_called(money: tuple[int, int, int], flags: dict[str, bool], status: str) -> None:
    assert prize_status(*money, **({"held": False, "pending": False, "over": False} | flags)) == status


def test_unclaimed_is_what_wins_and_was_not_paid(world: World) -> None:
    for viewer in VIEWERS:
        must_be_what_was_not_paid(world, viewer)


def must_be_what_was_not_paid(world: World, viewer: str) -> None:
    user = getattr(world, viewer)
    seen, paid = world.seen(user), paid_on(world)
    wanted = {}
    for draw in (world.corrected, world.settled):
        for number, (agent, lines) in winning(world, draw, seen).items():
            prize = sum(line[3] for line in lines)
            if prize > paid.get(number, (0, 0))[0]:
                wanted[number] = (draw, agent, prize, paid.get(number, (0, 0))[0])
    now = world.res.clock.now()
    report = world.report("unclaimed", user, now=now, **world.days())
    rows = report.by("tickets", "number")
    assert {n: (r["draw_id"], r["user_id"], r["prize"], r["paid"]) for n, r in rows.items()} == wanted
    for row in rows.values():
        until = read_draw(world.res, row["draw_id"]).draws_at + timedelta(days=world.res.settings.claim_days)
        assert (row["claim_until"], row["days_left"]) == (until, (until - now).days)
        assert row["due"] == row["prize"] - row["paid"]
        assert row["status"] in ("unpaid", "held", "claim_pending")
    assert report.facts["unsettled"] == 2
    assert (report.facts["tickets"], report.facts["due"]) == (len(wanted), sum(r["due"] for r in rows.values()))
    one = world.report("unclaimed", user, world.settled)
    assert set(one.by("tickets", "number")) == {number for number, row in wanted.items() if row[0] == world.settled}
    assert set(one.tables) == {"tickets"}
    drawn = read_draw(world.res, world.open).draws_at
    assert world.report(
        "unclaimed", user, since=drawn + timedelta(days=1), before=drawn + timedelta(days=2)
    ).tables == {
        "tickets": [],
        "older": [],
    }


def test_what_expired_is_said_until_it_would_be_paid(world: World) -> None:
    over = time_to_claim_over(world.res)
    before = world.report("unclaimed", world.admin, world.settled)
    ended = before.tables["tickets"][0]["claim_until"]
    late = world.report("unclaimed", world.admin, world.settled, now=ended)
    assert {row["status"] for row in late.tables["tickets"]} <= {"expired", "held", "claim_pending"}
    assert {row["days_left"] for row in late.tables["tickets"]} == {0}
    just = world.report("unclaimed", world.admin, world.settled, now=ended - timedelta(seconds=1))
    assert [row["status"] for row in just.tables["tickets"]] == [row["status"] for row in before.tables["tickets"]]
    assert expire_draw(over, world.settled) > 0
    after = world.report("unclaimed", world.admin, world.settled)
    assert after.facts["prize"] == before.facts["prize"]
    booked = world.rows(
        "SELECT sum(amount) FROM postings p JOIN accounts a ON a.id = account_id WHERE kind = 'unclaimed'"
    )
    everyone = world.report("unclaimed", world.superadmin, world.settled)
    assert everyone.facts["expired"] == booked[0][0]
    assert everyone.facts["due"] == everyone.facts["prize"] - everyone.facts["paid"] - everyone.facts["expired"]
    winners = world.report("winners", world.superadmin, world.settled)
    assert winners.facts["expired"] == booked[0][0]
    assert "expired" in {row["status"] for row in winners.tables["lines"]}


def test_winners_of_an_older_system_are_told_on_the_day_they_moved_in(world: World) -> None:
    moved_in(world.lottery, world.ana, "OLD-1", prize=500_000)
    moved_in(world.lottery, world.dina, "OLD-2", prize=70_000)
    for viewer, numbers in ((world.north, {"OLD-1"}), (world.south, {"OLD-2"}), (world.admin, {"OLD-1", "OLD-2"})):
        report = world.report("unclaimed", viewer, **world.days())
        rows = report.by("older", "number")
        assert set(rows) == numbers
        assert report.facts["older_due"] == sum(row["due"] for row in rows.values())
        assert {row["draw_id"] for row in rows.values()} == {None}
    since = world.lottery.res.clock.now() + timedelta(days=1)
    assert world.report("unclaimed", world.admin, since=since, before=since + timedelta(1)).tables["older"] == []


@pytest.mark.parametrize("kind", ["winners", "unclaimed"])
def test_a_draw_that_is_not_settled_has_no_winners_to_report(world: World, kind: str) -> None:
    for draw in (world.open, world.voided):
        with pytest.raises(NotSettled):
            world.report(kind, world.admin, draw)
    world.owner(f"UPDATE draws SET status = 'settling', settled_at = NULL WHERE name = '{world.settled}'")
    with pytest.raises(NotSettled):
        world.report(kind, world.superadmin, world.settled)


def test_no_code_of_a_ticket_is_in_any_of_it(world: World) -> None:
    codes = {receipt["code"] for receipts in world.receipts.values() for receipt in receipts}
    for kind, draw in (("winners", world.settled), ("unclaimed", world.settled)):
        text_ = str(world.report(kind, world.superadmin, draw).words())
        assert codes
        assert not any(code in text_ for code in codes)


def test_the_states_are_those_that_a_list_of_tickets_shows(world: World) -> None:
    listed = {"won": "unpaid", "paid": "paid", "claim_pending": "claim_pending", "expired": "expired"}
    draw = read_draw(world.res, world.settled)
    res = replace(world.res, clock=FixedClock(draw.draws_at + timedelta(hours=1)))
    shown = {}
    for status in listed:
        body = ticket_page(res, world.superadmin, draw=world.settled, status=status, limit=500)
        shown |= {item["number"]: status for item in body["items"]}
    rows = world.report("winners", world.superadmin, world.settled).tables["lines"]
    by_ticket: dict[str, set[str]] = {}
    for row in rows:
        by_ticket.setdefault(row["number"], set()).add(row["status"])
    for number, states in by_ticket.items():
        assert parse_number(number) is not None
        if "held" not in states:
            assert listed[shown[number]] in states


def test_what_was_paid_and_what_expired_lies_on_the_lines_in_their_order(world: World) -> None:
    draw = read_draw(world.res, world.settled)
    number = ticket_number(draw.name, 900)
    for line, prize in ((1, 450_000), (2, 75_000)):
        world.owner(
            "INSERT INTO winners (draw_id, version, serial, line_no, agent_id, play, number, stake, prize) "
            f"VALUES ({draw.id}, 1, 900, {line}, {world.ana}, 'straight', '123', 1000, {prize})"
        )
    for paid, expired, wanted in (
        (100_000, 380_000, [(100_000, 350_000, 0), (0, 30_000, 45_000)]),
        (460_000, 65_000, [(450_000, 0, 0), (10_000, 65_000, 0)]),
        (460_000, 0, [(450_000, 0, 0), (10_000, 0, 65_000)]),
        (900_000, 0, [(450_000, 0, 0), (75_000, 0, 0)]),
        (0, 525_000, [(0, 450_000, 0), (0, 75_000, 0)]),
    ):
        world.owner("DELETE FROM payouts WHERE serial = 900")
        world.owner(
            "INSERT INTO payouts (number, draw_id, serial, paid, expired) "
            f"VALUES ('{number}', {draw.id}, 900, {paid}, {expired})"
        )
        rows = [r for r in world.report("winners", world.north, draw.name).tables["lines"] if r["number"] == number]
        assert [(row["paid"], row["expired"], row["due"]) for row in rows] == wanted


MANY = 60_000


def test_memory_does_not_grow_with_the_winners(world: World) -> None:
    draw = read_draw(world.res, world.settled)
    world.owner(
        "INSERT INTO winners (draw_id, version, serial, line_no, agent_id, play, number, stake, prize) "
        f"SELECT {draw.id}, 1, 1000 + n, 1, {world.ana}, 'straight', '123', 100, 45000 "
        f"FROM generate_series(1, {MANY}) n"
    )
    for kind, table, about in (("winners", 0, draw), ("unclaimed", 0, draw)):
        with world.res.sessions() as session:
            sources = Sources(session, world.res.gate, world.res.journal, world.res.clock.now(), 365)
            document = KINDS[kind].build(sources, Scope(session.get_one(User, world.north), about))
            rows = iter(document.tables[table].rows)
            next(rows)
            # What the driver itself holds of a result is not seen here: with a cursor of the server's it is a part.
            assert session.scalar(text("SELECT count(*) FROM pg_cursors")) == 1
            tracemalloc.start()
            count = sum(1 for _ in rows)
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            session.execute(text("SELECT 1"))
        assert count >= MANY - 1
        assert peak < 4_000_000, f"{kind}: {peak} bytes for {count} rows"
