"""Reports of sales: each figure against the same made from the tickets, one by one; and nobody sees a stranger's."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import Any

import pytest

from actions.draws import close, set_limits
from models.people import User
from models.settlement import Seal
from rules.errors import DrawNotOpen
from tests.integration.after_sales import read_draw, sealed
from tests.integration.conftest import Lottery
from tests.integration.reporting import Read, Sold, World, postings, stakes_on, summed, tickets, wins

VIEWERS = ("superadmin", "operator", "admin", "other_admin", "north", "inner", "south")
FIGURES = (
    *("tickets", "stake", "voids", "voided_stake", "refunded", "net"),
    *("winners", "won_lines", "prizes", "commission"),
)


@pytest.fixture
def world(lottery: Lottery) -> World:
    made = World(lottery)
    made.run()
    return made


def expected(world: World, draws: Collection[str], users: Collection[int]) -> dict[str, int]:
    """FIGURES of these users in these draws, from every ticket and every posting."""
    results = {world.corrected: "064", world.settled: "123"}
    mine = [sold for sold in tickets(world) if sold.draw in draws and sold.agent in users]
    voided = [sold for sold in mine if sold.voided]
    won = {(sold.draw, sold.serial): wins(sold, results.get(sold.draw, "")) for sold in mine}
    moved = postings(world)
    stake, back = sum(sold.stake for sold in mine), sum(sold.stake for sold in voided)
    refunded = sum(sold.stake for sold in mine if sold.draw == world.voided and not sold.voided)
    return {
        "tickets": len(mine),
        "stake": stake,
        "voids": len(voided),
        "voided_stake": back,
        "refunded": refunded,
        "net": stake - back - refunded,
        "winners": sum(bool(lines) for lines in won.values()),
        "won_lines": sum(len(lines) for lines in won.values()),
        "prizes": sum(prize for lines in won.values() for *_, prize in lines),
        "commission": summed(moved, lambda m: m.kind == "commission" and m.draw in draws and m.user in users),
    }


def figures(found: dict[str, Any]) -> dict[str, Any]:
    return {name: found[name] for name in FIGURES}


def test_every_figure_of_a_draw_is_what_the_tickets_say(world: World) -> None:
    for viewer in VIEWERS:
        must_every_figure_of_a_draw_is_what_the_tickets_say(world, viewer)


def must_every_figure_of_a_draw_is_what_the_tickets_say(world: World, viewer: str) -> None:
    for draw in (world.corrected, world.settled, world.voided, world.open):
        report = world.report("draw_sales", getattr(world, viewer), draw)
        seen = world.seen(getattr(world, viewer))
        assert figures(report.facts) == expected(world, [draw], seen)
        agents = report.by("agents", "user_id")
        assert set(agents) == seen & set(world.agents)
        for agent, row in agents.items():
            assert figures(row) == expected(world, [draw], [agent])
        facts = report.facts
        assert facts["commission_agents"] == sum(row["commission"] for row in agents.values())
        assert facts["commission_agents"] + facts["commission_above"] == facts["commission"]
        net, prizes = facts["net"], facts["prizes"]
        assert facts["payout_ratio"] == (prizes * 10_000 // net if net else None)
        must_say_plays(world, report, draw, seen)


def must_say_plays(world: World, report: Read, draw: str, seen: set[int]) -> None:
    result = {world.corrected: "064", world.settled: "123"}.get(draw, "")
    mine = [sold for sold in tickets(world) if sold.draw == draw and sold.agent in seen]
    staked = stakes_on(mine)
    won = [line for sold in mine for line in wins(sold, result)]
    rows = report.by("plays", "play")
    assert set(rows) == {play for play, _ in staked}
    for play, row in rows.items():
        lines = [line for line in won if line[0] == play]
        assert row["live_stake"] == sum(stake for bet, stake in staked.items() if bet[0] == play)
        assert row["won_lines"] == len(lines)
        assert (row["won_stake"], row["prizes"]) == (sum(line[2] for line in lines), sum(line[3] for line in lines))


def test_a_draw_says_its_seal_and_that_its_sums_were_checked(world: World) -> None:
    facts = world.report("draw_sales", world.north, world.settled).facts
    with world.res.sessions() as session:
        seal = session.get_one(Seal, read_draw(world.res, world.settled).id)
    assert (facts["merkle_root"], facts["tree_size"]) == (seal.merkle_root.hex(), 40)
    assert (facts["sealed_at"], facts["late"], facts["restored"], facts["gaps"]) == (seal.sealed_at, "no", 0, "none")
    assert (facts["result"], facts["status"], facts["version"]) == ("123", "settled", 1)
    assert facts["checked"] == "yes, at the seal"
    assert world.report("draw_sales", world.north, world.corrected).facts["version"] == 2
    facts = world.report("draw_sales", world.north, world.open).facts
    assert (facts["merkle_root"], facts["result"], facts["version"]) == (None, None, None)
    assert facts["checked"] == "not sealed yet: counted while storing, as far as 40-0 of the journal"
    world.owner("UPDATE agent_sums SET stake = stake + 100")
    assert world.report("draw_sales", world.north, world.settled).facts["checked"].startswith("NO")


@pytest.mark.parametrize("viewer", ["superadmin", "admin", "north"])
def test_a_period_is_all_draws_that_are_drawn_in_it(world: World, viewer: str) -> None:
    far = world.lottery.draw(minute=world.lottery.next_minute(), draws_s=50 * 3600)
    world.sell(far, 5)
    user = getattr(world, viewer)
    seen = world.seen(user)
    report = world.report("draw_sales", user, **world.days())
    draws = [world.corrected, world.settled, world.voided, world.open]
    assert figures(report.facts) == expected(world, draws, seen)
    assert report.facts["draws"] == 4
    rows = report.by("draws", "draw_id")
    assert set(rows) == set(draws)
    for draw, row in rows.items():
        assert figures(row) == expected(world, [draw], seen)
        assert row["checked"] == ("counted" if draw == world.open or draw == world.voided else "sealed")
        assert (row["merkle_root"] is None) == (row["checked"] == "counted")
    for agent, row in report.by("agents", "user_id").items():
        assert figures(row) == expected(world, draws, [agent])
    drawn_at = read_draw(world.res, world.open).draws_at
    later = drawn_at + timedelta(seconds=1)
    assert world.report("draw_sales", user, since=later, before=later + timedelta(hours=1)).tables["draws"] == []
    only = world.report("draw_sales", user, since=drawn_at, before=later).by("draws", "draw_id")
    assert set(only) == {world.open}


def test_each_level_of_the_hierarchy_holds_everything_below_it(world: World) -> None:
    for viewer in VIEWERS:
        must_each_level_of_the_hierarchy_holds_everything_below_it(world, viewer)


def must_each_level_of_the_hierarchy_holds_everything_below_it(world: World, viewer: str) -> None:
    user = getattr(world, viewer)
    seen = world.seen(user)
    draws = [world.corrected, world.settled, world.voided, world.open]
    for about, scope in ((draws[:1], {"draw": draws[0]}), (draws, world.days())):
        report = world.report("hierarchy", user, **scope)
        assert figures(report.facts) == expected(world, about, seen)
        rows = report.by("tree", "user_id")
        assert set(rows) <= seen
        assert seen & {*world.agents, world.north, world.inner, world.south} <= set(rows) | {world.superadmin}
        for one, row in rows.items():
            assert figures(row) == expected(world, about, world.below(one))
            assert row["agents"] == len(world.below(one) & set(world.agents))


def test_the_hierarchy_reads_from_the_top_down(world: World) -> None:
    names = {row.id: row.username for row in world.rows("SELECT id, username FROM users")}
    rows = world.report("hierarchy", world.north, world.settled).tables["tree"]
    assert (rows[0]["depth"], rows[0]["user_id"]) == (0, world.north)
    assert {row["user_id"]: row["path"] for row in rows}[world.ana] == " > ".join(
        names[one] for one in (world.north, world.inner, world.ana)
    )
    depths = {row["user_id"]: row["depth"] for row in rows}
    assert depths == {world.north: 0, world.inner: 1, world.carl: 1, world.ana: 2, world.bea: 2}
    parents, seen = dict(world.rows("SELECT id, parent_id FROM users")), set()
    for row in rows[1:]:
        seen.add(row["user_id"])
        assert parents[row["user_id"]] in seen | {world.north}


def test_who_was_moved_is_counted_where_he_stands_now(world: World) -> None:
    with world.res.sessions.begin() as session:
        carl = session.get_one(User, world.carl)
        carl.parent_id, carl.ancestors = world.south, [world.superadmin, world.admin, world.south]
    for viewer in (world.north, world.south):
        for kind in ("draw_sales", "hierarchy"):
            report = world.report(kind, viewer, world.settled)
            assert figures(report.facts) == expected(world, [world.settled], world.below(viewer))
            assert "where he stands now" in report.facts["standing"]


def test_exposure_is_what_stands_on_each_bet(world: World) -> None:
    for viewer in VIEWERS:
        must_exposure_is_what_stands_on_each_bet(world, viewer)


def must_exposure_is_what_stands_on_each_bet(world: World, viewer: str) -> None:
    user = getattr(world, viewer)
    seen = world.seen(user)
    draw = world.open
    set_limits(world.lottery.res, world.admin, draw, {"by_number": {"straight": {"046": 5_000_000}}})
    everyone = stakes_on([sold for sold in tickets(world) if sold.draw == draw])
    mine = stakes_on([sold for sold in tickets(world) if sold.draw == draw and sold.agent in seen])
    report = world.report("exposure", user, draw)
    rows = report.by("bets", "play", "number")
    assert {bet: row["live_stake"] for bet, row in rows.items()} == mine
    whole = mine == everyone
    assert whole == (viewer in ("superadmin", "operator"))
    limits = read_draw(world.res, draw).limits
    assert limits is not None
    for (play, number), row in rows.items():
        pays = 450 if play == "straight" else 150 if len(set(number)) == 2 else 75
        own = limits.get("by_number", {}).get(play, {}).get(number, limits[f"stake_{play}"])
        assert (row["limit"], row["pays"]) == (own, row["live_stake"] * pays)
        assert row["payout"] == max(costs(mine, f"{n:03d}") for n in range(1000) if hits(play, number, f"{n:03d}"))
        if whole:
            worst = (limits["payout"] - row["payout"]) // pays // 100 * 100
            assert row["left"] == max(0, min(own - row["live_stake"], worst))
        else:
            assert row["left"] is None
    assert [row["payout"] for row in rows.values()] == sorted((row["payout"] for row in rows.values()), reverse=True)
    assert report.facts["highest_payout"] == max(costs(mine, f"{n:03d}") for n in range(1000))
    assert report.facts["live_stake"] == sum(mine.values())


def hits(play: str, number: str, outcome: str) -> bool:
    return number == outcome if play == "straight" else sorted(number) == sorted(outcome)


def costs(staked: dict[tuple[str, str], int], outcome: str) -> int:
    """What the outcome would cost."""
    sold = Sold("", 0, 0, False, [(play, number, stake) for (play, number), stake in staked.items()])
    return sum(prize for *_, prize in wins(sold, outcome))


def test_a_draw_that_was_never_open_has_no_exposure(world: World) -> None:
    world.owner("UPDATE draws SET limits = NULL, status = 'voiding', opened_at = NULL, voiding_at = now() "
                f"WHERE name = '{world.open}'")  # fmt: skip
    with pytest.raises(DrawNotOpen):
        world.report("exposure", world.admin, world.open)


def test_a_draw_of_which_nothing_was_sold_is_reported_too(lottery: Lottery) -> None:
    world = World(lottery)
    sealed(lottery, world.open)
    for viewer in (world.superadmin, world.north):
        report = world.report("draw_sales", viewer, world.open)
        assert figures(report.facts) == dict.fromkeys(FIGURES, 0)
        assert (report.facts["payout_ratio"], report.facts["checked"]) == (None, "yes, at the seal")
        assert report.tables == {"agents": [], "plays": []}
        assert world.report("hierarchy", viewer, world.open).tables == {"tree": []}
        assert world.report("exposure", viewer, world.open).tables == {"bets": []}


def test_what_is_not_stored_yet_is_in_no_sum(lottery: Lottery) -> None:
    world = World(lottery)
    world.sell(world.open, 10)
    report = world.report("draw_sales", world.admin, world.open)
    assert report.facts["tickets"] == 0
    assert report.facts["checked"].endswith("0-0 of the journal")
    close(world.res, world.admin, world.open)
