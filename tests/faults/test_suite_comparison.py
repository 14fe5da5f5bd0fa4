"""The fault suite's comparison: nothing to complain of after a real run, and a complaint for whatever is tampered with.

A comparison that cannot fail would be worth nothing.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import time
from pathlib import Path

import pytest

from faults.breaking import superuser
from faults.disk import Disk
from faults.held import Paid, Refused
from faults.money_check import Money
from faults.plan import DrawPlan, Fault, Load, Plan
from faults.run import Run
from faults.sources import VoidRow
from faults.tail import Cut, CutRecord
from faults.tickets_check import World
from faults.verdict import Finding, commands, compare, look_around

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

# A short day on which nothing but one worker breaks: two draws, one of them corrected, the other void.
SETTLED, VOID = "3D-20260302-0600", "3D-20260302-0601"
PLAN = Plan(
    seed=7,
    seconds=17.0,
    faults=(Fault(5.0, "kill", "persist pool"),),
    draws=(
        DrawPlan(SETTLED, time(6, 0), 0.0, 15.0, "corrected", ("777", "888")),
        DrawPlan(VOID, time(6, 1), 0.0, 16.0, "void", ()),
    ),
    loads=(Load(4.0, 0, 700_00), Load(6.0, 1, -300_00)),
)

Tamper = Callable[[World, Money], None]


@pytest.fixture(scope="module")
def run(servers_dir: Path) -> Iterator[Run]:
    folder = servers_dir / "suite"
    folder.mkdir()
    played = Run(folder, PLAN, Disk(folder / "postgres", "not in a test"))
    try:
        played.play(4)
        yield played
    finally:
        played.stop()


def look(run: Run) -> tuple[World, Money]:
    return look_around(run.servers, run.sales, run.people, run.office.journals, run.breaker.cuts)


@pytest.fixture(scope="module")
def seen(run: Run) -> tuple[World, Money]:
    return look(run)


def complaints(findings: list[Finding]) -> dict[str, list[str]]:
    return {found.what: found.differences for found in findings if found.differences}


def test_nothing_differs_after_a_real_run(run: Run, seen: tuple[World, Money]) -> None:
    world, money = seen
    assert complaints([*compare(world, money), *commands(run.servers), *run.findings()]) == {}
    assert len(world.held.tickets) > 50
    assert {draw.status for draw in world.stored.draws.values()} == {"settled", "void"}
    assert world.held.voided
    assert world.held.cancelled
    assert world.stored.claims
    assert len(world.stored.draws[SETTLED].results) == 2
    assert run.sales.fates["passed"] > 100


# ── tampering with what was read ──────────────────────────────────────────────────────────────────────────


def any_place(world: World, draw: str = SETTLED) -> tuple[str, int]:
    """A ticket that counts, and that nobody touched since."""
    back = world.taken_back(world.stored.draws[draw])
    return next(place for place in sorted(world.held.tickets) if place[0] == draw and place[1] not in back)


def lose_a_ticket(world: World, money: Money) -> None:
    del world.stored.tickets[any_place(world)]


def alter_a_receipt(world: World, money: Money) -> None:
    place = any_place(world)
    world.held.tickets[place] = world.held.tickets[place]._replace(available=1)


def make_up_a_ticket(world: World, money: Money) -> None:
    del world.held.tickets[any_place(world)]


def sell_an_id_twice(world: World, money: Money) -> None:
    place = any_place(world)
    world.stored.tickets[SETTLED, 9_999] = world.stored.tickets[place]._replace(serial=9_999)


def jump_over_a_ticket(world: World, money: Money) -> None:
    _, serial = any_place(world)
    world.stored.draws[SETTLED].gaps.append((serial, serial))


def find_no_ticket(world: World, money: Money) -> None:
    world.held.not_found.append(world.held.receipts[any_place(world)]["number"])


def accept_late(world: World, money: Money) -> None:
    place = any_place(world)
    late = world.stored.draws[SETTLED].cutoff_ms
    for tickets in (world.stored.tickets, world.held.tickets):
        tickets[place] = tickets[place]._replace(accepted_ms=late)


def refuse_early(world: World, money: Money) -> None:
    before = world.stored.draws[SETTLED].cutoff_ms / 1000 - 0.001
    world.held.too_late.append(Refused(SETTLED, "cutoff_passed", before))


def forget_a_void(world: World, money: Money) -> None:
    next(draw for draw in world.stored.draws.values() if draw.voids).voids.pop()


def void_unasked(world: World, money: Money) -> None:
    ticket = world.stored.tickets[any_place(world)]
    row = VoidRow(1, 1, "void", ticket.serial, ticket.id, ticket.agent_id, 100, ticket.accepted_ms)
    world.stored.draws[SETTLED].voids.append(row)


def lose_a_cancel(world: World, money: Money) -> None:
    world.held.cancelled[SETTLED, world.stored.tickets[any_place(world)].id] = "never_sold"


def alter_the_journal(world: World, money: Money) -> None:
    tickets = world.journals[SETTLED].tickets
    place = any_place(world)
    tickets[place] = tickets[place]._replace(agent_id=1)


def stop_the_drain(world: World, money: Money) -> None:
    world.stored.draws[VOID].position = (1, 0)


def alter_the_seal(world: World, money: Money) -> None:
    assert isinstance(world.seals, dict)
    world.seals[SETTLED] = {**world.seals[SETTLED], "merkle_root": "00" * 32}


def miss_a_winner(world: World, money: Money) -> None:
    world.stored.winners[SETTLED, 1].popitem()


def show_other_prizes(world: World, money: Money) -> None:
    assert isinstance(money.settlements, dict)
    money.settlements[SETTLED] = {**money.settlements[SETTLED], "prizes": 1}


def pay_at_two_terminals(world: World, money: Money) -> None:
    paid = next(paid for paids in world.held.paid.values() for paid in paids)
    for paids in world.held.paid.values():
        if paid not in paids:
            paids.append(paid)


def pay_a_loser(world: World, money: Money) -> None:
    next(iter(world.held.paid.values())).append(Paid(999, "3-LOSER", 100, 0))


def pay_nobody(world: World, money: Money) -> None:
    world.stored.payouts.clear()


def keep_a_claim_quiet(world: World, money: Money) -> None:
    world.stored.claims.pop()


def change_a_wallet(world: World, money: Money) -> None:
    world.stored.balances[money.terminals[0].user_id] += 100


def show_other_credit(world: World, money: Money) -> None:
    assert isinstance(money.shown, dict)
    balance, available = money.shown[money.terminals[0].user_id]
    money.shown[money.terminals[0].user_id] = balance, available - 100


def post_elsewhere(world: World, money: Money) -> None:
    world.stored.accounts["sales"] += 100


@pytest.mark.parametrize(
    ("tamper", "what"),
    [
        (lose_a_ticket, "receipts lost"),
        (lose_a_ticket, "serials missing or used twice"),
        (alter_a_receipt, "tickets unlike their receipt"),
        (make_up_a_ticket, "tickets without a receipt"),
        (sell_an_id_twice, "ids sold twice"),
        (jump_over_a_ticket, "serials missing or used twice"),
        (jump_over_a_ticket, "receipts in a gap for no reason"),
        (find_no_ticket, "tickets not found"),
        (accept_late, "accepted after the cutoff"),
        (refuse_early, "refused as too late too early"),
        (forget_a_void, "voids and cancels that differ"),
        (void_unasked, "voids and cancels that differ"),
        (lose_a_cancel, "voids and cancels that differ"),
        (alter_the_journal, "journals that differ"),
        (stop_the_drain, "journals that differ"),
        (alter_the_seal, "seals that differ"),
        (accept_late, "seals that differ"),
        (miss_a_winner, "winners and prizes that differ"),
        (show_other_prizes, "winners and prizes that differ"),
        (pay_at_two_terminals, "prizes paid twice or too high"),
        (pay_a_loser, "prizes paid twice or too high"),
        (pay_nobody, "winners not paid"),
        (pay_nobody, "claims that differ"),
        (keep_a_claim_quiet, "claims that differ"),
        (change_a_wallet, "wallets that differ"),
        (show_other_credit, "wallets that differ"),
        (post_elsewhere, "accounts that differ"),
    ],
)
def test_whatever_is_changed_is_complained_of(seen: tuple[World, Money], tamper: Tamper, what: str) -> None:
    world, money = copy.deepcopy(seen)
    tamper(world, money)
    assert what in complaints(compare(replace(world), money))


def test_a_receipt_in_a_gap_is_no_difference_if_it_was_on_a_tail_that_was_cut_and_proves_itself(
    seen: tuple[World, Money],
) -> None:
    world, money = copy.deepcopy(seen)
    draw, serial = place = max(p for p in world.held.tickets if p[0] == VOID)
    ticket = world.stored.tickets.pop(place)
    world.stored.draws[draw].gaps.append((serial, serial))
    record = CutRecord(draw, serial, 0, f"t|{ticket.agent_id}|{ticket.id.replace('-', '')}|0|0|")
    fine = replace(world, cuts=[Cut(0.0, 100, (record,))], genuine={place: True})
    assert fine.lost == {place}
    told = {"receipts in a gap for no reason", "receipts lost", "tickets without a receipt"}
    assert not told & complaints(compare(fine, money)).keys()
    for wrong in (replace(fine, cuts=[]), replace(fine, genuine={place: False})):
        assert "receipts in a gap for no reason" in complaints(compare(wrong, money))


# ── tampering with the files and the rows themselves ──────────────────────────────────────────────────────


def test_a_changed_line_in_a_terminals_book_is_complained_of(run: Run) -> None:
    book = run.sales.book(run.people.terminals[0].counter.name)
    original = book.read_text()
    lines = original.splitlines()
    at = next(n for n, line in enumerate(lines) if '"status": 201' in line and '"serial"' in line)
    told = json.loads(lines[at])
    told["answer"]["lines"][0]["stake"] += 100
    try:
        book.write_text("\n".join([*lines[:at], json.dumps(told), *lines[at + 1 :], ""]))
        assert "tickets unlike their receipt" in complaints(compare(*look(run)))
        told["answer"] = {"code": "internal_error"}
        told["status"] = 500
        book.write_text("\n".join([*lines[:at], json.dumps(told), *lines[at + 1 :], ""]))
        found = complaints(compare(*look(run)))
        assert {"answers not in the contract", "tickets without a receipt"} <= found.keys()
        book.write_text("\n".join([*lines[:at], *lines[at + 1 :], ""]))
        assert "requests without an answer" in complaints(compare(*look(run)))
    finally:
        book.write_text(original)


@pytest.mark.parametrize(
    ("statement", "mend", "what"),
    [
        (
            "UPDATE ticket_lines SET stake = stake + 100 WHERE line_no = 1 AND serial = 3",
            "UPDATE ticket_lines SET stake = stake - 100 WHERE line_no = 1 AND serial = 3",
            {"tickets unlike their receipt", "journals that differ", "drawbreak books check"},
        ),
        (
            "UPDATE draws SET cutoff_at = cutoff_at - interval '10 s'",
            "UPDATE draws SET cutoff_at = cutoff_at + interval '10 s'",
            {"accepted after the cutoff"},
        ),
        (
            "UPDATE wallets SET balance = balance + 1",
            "UPDATE wallets SET balance = balance - 1",
            {"wallets that differ", "drawbreak books check"},
        ),
        (
            "INSERT INTO seal_failures (draw_id, difference) SELECT min(id), '{}' FROM draws",
            "DELETE FROM seal_failures",
            {"seals that failed"},
        ),
        (
            "UPDATE audit SET action = action || '!' WHERE id = 5",
            "UPDATE audit SET action = rtrim(action, '!') WHERE id = 5",
            {"drawbreak audit verify"},
        ),
    ],
)
def test_a_row_changed_by_hand_is_complained_of(run: Run, statement: str, mend: str, what: set[str]) -> None:
    with superuser(run.servers) as sql:
        sql.execute(statement)  # type: ignore[call-overload]
    try:
        found = complaints([*compare(*look(run)), *commands(run.servers)])
    finally:
        with superuser(run.servers) as sql:
            sql.execute(mend)  # type: ignore[call-overload]
    assert what <= found.keys()
    assert complaints(compare(*look(run))) == {}
