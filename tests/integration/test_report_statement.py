"""Statements: every figure against the postings, one by one; opening balance and movements make the closing one."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

import pytest

from actions.statements import summary
from models.balance_sheet import SHAPES
from rules.draws import MANILA
from rules.statements import COLUMNS, to_remit
from tests.integration.conftest import Lottery
from tests.integration.reporting import Moved, Read, World, postings, summed

TOPS = ("ana", "dina", "xeno", "inner", "north", "south", "admin", "other_admin", "superadmin", "operator")


@pytest.fixture
def world(lottery: Lottery) -> World:
    made = World(lottery)
    made.run()
    made.spread()
    return made


def moves(mine: Collection[Moved]) -> dict[str, int]:
    """By the names of the columns, and all together."""
    found = {column: sum(m.amount for m in mine if m.kind == kind) for kind, column in COLUMNS.items()}
    return found | {"change": sum(m.amount for m in mine)}


def remit(mine: Collection[Moved]) -> dict[str, int]:
    """What is to be handed in, from the postings alone."""
    by = {kind: sum(m.amount for m in mine if m.kind == kind) for kind in SHAPES}
    found = {
        "sales": -by["sale"],
        "voids": by["void"] + by["refund"],
        "prizes_paid": by["claim"],
        "commission": by["commission"],
        "remitted": by["remittance"],
    }
    to_hand_in = found["sales"] - found["voids"] - found["prizes_paid"] - found["commission"] - found["remitted"]
    return found | {"to_remit": to_hand_in}


def part(row: dict[str, Any], like: dict[str, int]) -> dict[str, Any]:
    return {name: row[name] for name in like}


def periods(world: World) -> list[tuple[datetime, datetime]]:
    """Everything; each day of Manila; and a part of a day."""
    now = world.lottery.res.clock.now().astimezone(MANILA)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    days = [midnight - timedelta(days=ago) for ago in (2, 1, 0)]
    return [
        (midnight - timedelta(days=30), midnight + timedelta(days=30)),
        *((day, day + timedelta(days=1)) for day in days),
        (now - timedelta(days=1, hours=1), now - timedelta(hours=23)),
        (midnight + timedelta(days=3), midnight + timedelta(days=4)),
    ]


def test_a_statement_names_every_kind_of_entry_that_a_wallet_knows() -> None:
    assert set(COLUMNS) == {kind for kind, accounts in SHAPES.items() if "wallet" in accounts}
    assert len(set(COLUMNS.values())) == len(COLUMNS)


def test_opening_and_movements_make_the_closing_balance(world: World) -> None:
    for top in TOPS:
        must_balance(world, top)


def must_balance(world: World, top: str) -> None:
    user, all_moved = getattr(world, top), postings(world)
    branch = world.below(user)
    for since, before in periods(world):
        report = world.report("statement", user, since=since, before=before)
        mine = [m for m in all_moved if m.user in branch and since <= m.at < before]
        facts = report.facts
        assert facts["opening"] == summed(all_moved, lambda m, s=since: m.user in branch and m.at < s)  # type: ignore[misc]
        assert facts["closing"] == summed(all_moved, lambda m, b=before: m.user in branch and m.at < b)  # type: ignore[misc]
        assert facts["opening"] + facts["change"] == facts["closing"]
        assert part(facts, remit(mine)) == remit(mine)
        must_be_the_days(report, mine)
        must_be_the_people(world, report, all_moved, branch, since, before)


def must_be_the_days(report: Read, mine: list[Moved]) -> None:
    rows = report.by("movements", "date", "draw_id")
    assert set(rows) == {(m.at.astimezone(MANILA).date(), m.draw) for m in mine}
    for (day, draw), row in rows.items():
        wanted = moves([m for m in mine if (m.at.astimezone(MANILA).date(), m.draw) == (day, draw)])
        assert part(row, wanted) == wanted
    assert report.totals["movements"] == moves(mine)


def must_be_the_people(
    world: World, report: Read, all_moved: list[Moved], branch: set[int], since: datetime, before: datetime
) -> None:
    if len(branch) == 1:
        assert "people" not in report.tables
        return
    rows = report.by("people", "user_id")
    moving = {m.user for m in all_moved if m.user in branch and m.at < before}
    within = {m.user for m in all_moved if m.user in branch and since <= m.at < before}
    assert within <= set(rows) <= moving
    for user, row in rows.items():
        mine = [m for m in all_moved if m.user == user and since <= m.at < before]
        assert part(row, moves(mine)) == moves(mine)
        assert row["to_remit"] == remit(mine)["to_remit"]
        assert row["opening"] == summed(all_moved, lambda m, u=user: m.user == u and m.at < since)  # type: ignore[misc]
        assert row["opening"] + row["change"] == row["closing"]
    for name in ("opening", "closing", "to_remit"):
        assert report.totals["people"][name] == report.facts[name]


def test_a_draws_statement_is_what_the_draw_moved(world: World) -> None:
    for top in TOPS:
        must_be_what_the_draw_moved(world, top)


def must_be_what_the_draw_moved(world: World, top: str) -> None:
    user, all_moved = getattr(world, top), postings(world)
    for draw in (world.corrected, world.settled, world.voided, world.open):
        report = world.report("statement", user, draw)
        mine = [m for m in all_moved if m.user in world.below(user) and m.draw == draw]
        assert part(report.facts, remit(mine)) == remit(mine)
        assert report.facts["change"] == sum(m.amount for m in mine)
        assert (report.facts["opening"], report.facts["closing"]) == (None, None)
        must_be_the_days(report, mine)
        people = {row["user_id"]: row["change"] for row in report.tables.get("people", ())}
        if people:
            assert people == {m.user: sum(o.amount for o in mine if o.user == m.user) for m in mine}


@pytest.mark.parametrize("top", ["ana", "inner", "north", "admin"])
def test_a_day_of_a_statement_is_the_days_summary(world: World, top: str) -> None:
    user = getattr(world, top)
    for since, before in periods(world)[1:4]:
        body = summary(world.res, user, user, since.date())
        facts = world.report("statement", user, since=since, before=before).facts
        figures = {name: body[name] for name in to_remit({})}
        assert part(facts, figures) == figures
        assert any(figures.values())


def test_what_one_of_a_branch_gives_another_is_on_both_wallets_and_not_in_the_sum(world: World) -> None:
    report = world.report("statement", world.north, **world.days())
    people = report.by("people", "user_id")
    assert people[world.bea]["remittances"] == 3_100
    assert people[world.inner]["remittances"] == -3_100 + 1_700
    assert report.facts["remitted"] == 50_000
    assert report.by("people", "user_id")[world.ana]["corrections"] == 900


def test_an_agents_statement_names_nobody_else(world: World) -> None:
    report = world.report("statement", world.ana, **world.days())
    assert set(report.tables) == {"movements"}
    assert (report.facts["top_id"], report.facts["top_role"]) == (world.ana, "agent")


def test_a_user_without_a_wallet_has_an_empty_statement(world: World) -> None:
    world.owner(f"DELETE FROM accounts WHERE user_id = {world.operator}")
    world.owner(f"DELETE FROM wallets WHERE user_id = {world.operator}")
    report = world.report("statement", world.operator, **world.days())
    assert (report.facts["opening"], report.facts["closing"], report.tables) == (0, 0, {"movements": []})
