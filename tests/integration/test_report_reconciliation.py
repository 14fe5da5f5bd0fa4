"""Gate, journal and database side by side: what agrees, what is only late, and that every kind of difference shows."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
from sqlalchemy import event

from actions.credit import push_outbox
from actions.dead_letters import replay
from actions.void import void
from reports import side_by_side, tally
from rules.errors import IntakeUnavailable
from tasks.persist import persist
from tests.integration.after_sales import jump, rewrite_journal, sealed
from tests.integration.conftest import Lottery
from tests.integration.refusing import Refused, annul_all, reconcile_anew, refuse_300, take_300
from tests.integration.reporting import Read, Sold, World, tickets
from tests.integration.wallets import take

MONEY = ("stake", "voided_stake", "live")


@pytest.fixture
def world(lottery: Lottery) -> World:
    return World(lottery)


@pytest.fixture
def gate(world: World) -> Iterator[redis.Redis]:
    client = redis.Redis.from_url(world.res.settings.redis_url)
    yield client
    client.close()


def agrees(report: Read) -> bool:
    differing = [row for table in ("counts", "stakes", "bets", "wallets") for row in report.tables[table]]
    assert (report.facts["agrees"] == "yes") == (not any(row["difference"] for row in differing))
    return bool(report.facts["agrees"] == "yes")


def figure(report: Read, draw: str, name: str) -> dict[str, Any]:
    return report.by("stakes" if name in MONEY else "counts", "draw_id", "figure")[draw, name]


def counted(sold: list[Sold]) -> dict[str, int]:
    stake, back = sum(s.stake for s in sold), sum(s.stake for s in sold if s.voided)
    figures = {"tickets": len(sold), "voids": sum(s.voided for s in sold)}
    return figures | {"stake": stake, "voided_stake": back, "live": stake - back}


@pytest.mark.parametrize("viewer", ["superadmin", "operator"])
def test_a_draw_that_is_half_stored_agrees_but_for_the_lag(world: World, viewer: str) -> None:
    world.sell(world.open, 30)
    persist(world.res, world.open)
    stored = counted([sold for sold in tickets(world) if sold.draw == world.open])
    world.sell(world.open, 20)
    late = world.report("reconciliation", getattr(world, viewer), world.open)
    persist(world.res, world.open)
    all_of_it = counted([sold for sold in tickets(world) if sold.draw == world.open])
    assert agrees(late)
    assert late.facts["behind"] == 20 + 4
    for name, value in all_of_it.items():
        row = figure(late, world.open, name)
        assert (row["gate"], row["journal"]) == (value, value)
        assert (row["stored"], row["agents"], row["tickets"]) == (stored[name],) * 3
        assert row["behind"] == value - stored[name]
        assert name not in MONEY or row["ledger"] == stored[name]
        assert (row["seal"], row["letters"], row["difference"]) == (None, 0, 0)
    (draw,) = late.tables["draws"]
    assert (draw["bets"], draw["agrees"], draw["unread"]) == ("agree", "yes", 0)
    assert (draw["position"], draw["gate_last"], draw["journal_last"]) == ("30-0", "50-0", "50-0")
    assert figure(late, world.open, "records")["gate"] == 1 + 50 + 10
    assert figure(late, world.open, "last_serial")["behind"] == 20
    now = world.report("reconciliation", getattr(world, viewer), world.open)
    assert agrees(now)
    assert now.facts["behind"] == 0


def test_voids_of_stored_and_of_late_tickets_are_on_the_right_bets(world: World) -> None:
    first = world.lottery.sell(world.open, world.ana, "s046:5", "r123:2")
    persist(world.res, world.open)
    second = world.lottery.sell(world.open, world.bea, "r321:7")
    for agent, receipt in ((world.ana, first), (world.bea, second)):
        void(world.res, agent, receipt["number"], "typed wrong")
    report = world.report("reconciliation", world.superadmin, world.open)
    assert agrees(report)
    assert report.tables["draws"][0]["bets"] == "agree"
    assert figure(report, world.open, "live")["behind"] == -700


def test_wallets_are_balance_and_limit_less_what_is_on_its_way(world: World) -> None:
    world.pay()
    world.sell(world.open, 10)
    world.sell(world.settled, 5)
    persist(world.res, world.open)
    world.sell(world.open, 7)
    world.lottery.load(world.ana, 40, push=False)
    report = world.report("reconciliation", world.superadmin)
    assert agrees(report)
    rows = report.by("wallets", "user_id")
    assert set(rows) == set(world.agents)
    balances = dict(world.rows("SELECT user_id, balance FROM wallets"))
    for agent, row in rows.items():
        assert row["available"] == world.res.gate.credits([], [agent])[1][agent].available  # type: ignore[union-attr]
        assert row["balance"] == balances[agent]
        assert row["expected"] == row["balance"] + row["credit_limit"] - row["not_stored"] - row["not_applied"]
        assert row["available"] == row["expected"]
    assert (rows[world.ana]["not_applied"], rows[world.bea]["not_applied"]) == (4_000, 0)
    persist(world.res, world.open)
    persist(world.res, world.settled)
    moved = {agent: -row["not_stored"] for agent, row in rows.items()}
    assert {u: b - balances[u] for u, b in world.rows("SELECT user_id, balance FROM wallets") if u in rows} == moved
    one = world.report("reconciliation", world.superadmin, world.settled)
    assert agrees(one)
    assert {row["user_id"] for row in one.tables["wallets"]} == set(world.agents)


def test_a_deduction_under_way_may_have_been_applied(world: World) -> None:
    world.owner(
        "INSERT INTO intents (kind, user_id, payload, asked_by) "
        f"VALUES ('debit', {world.ana}, '{{\"amount\": 900}}', {world.admin})"
    )
    assert agrees(world.report("reconciliation", world.superadmin))
    world.res.gate.tighten(world.ana, "anything", 900)
    report = world.report("reconciliation", world.superadmin)
    assert agrees(report)
    assert report.by("wallets", "user_id")[world.ana]["asked"] == 900
    world.res.gate.tighten(world.ana, "something", 1)
    assert not agrees(world.report("reconciliation", world.superadmin))


def test_what_the_gate_was_told_after_the_snapshot_is_not_compared(world: World) -> None:
    world.owner(f"UPDATE wallets SET outbox_seq = outbox_seq - 1 WHERE user_id = {world.ana}")
    report = world.report("reconciliation", world.superadmin)
    assert report.by("wallets", "user_id")[world.ana]["difference"] is None
    assert (report.facts["wallets_moved"], report.facts["agrees"]) == (1, "yes")


def test_all_live_draws_are_there_when_none_is_named(world: World) -> None:
    world.sell(world.open, 5)
    sealed(world.lottery, world.settled)
    report = world.report("reconciliation", world.superadmin)
    assert {row["draw_id"] for row in report.tables["draws"]} == {world.open, world.corrected, world.voided}
    assert agrees(report)


@pytest.mark.parametrize("after", ["corrected", "settled", "voided"])
def test_draws_that_are_over_agree_with_their_seal(world: World, after: str) -> None:
    world.run()
    draw = getattr(world, after)
    report = world.report("reconciliation", world.superadmin, draw)
    assert agrees(report)
    seal = figure(report, draw, "tickets")["seal"]
    assert seal == (None if after == "voided" else 40)
    reconcile_anew(world.lottery.res)
    report = world.report("reconciliation", world.superadmin, draw)
    assert agrees(report)
    assert (figure(report, draw, "stake")["gate"], figure(report, draw, "stake")["journal"]) == (None, None)


def test_a_jump_is_no_difference(world: World) -> None:
    world.sell(world.open, 3)
    jump(world.lottery, world.open, 4, 1003)
    world.sell(world.open, 3)
    assert agrees(world.report("reconciliation", world.superadmin, world.open))
    persist(world.res, world.open)
    assert agrees(world.report("reconciliation", world.superadmin, world.open))


def test_a_rebuilt_gate_agrees(world: World) -> None:
    world.sell(world.open, 20)
    persist(world.res, world.open)
    world.sell(world.open, 5)
    reconcile_anew(world.lottery.res)
    push_outbox(world.res)
    assert agrees(world.report("reconciliation", world.superadmin))


@pytest.mark.parametrize("voided", [False, True])
def test_dead_letters_are_counted_where_they_count(lottery: Lottery, voided: bool) -> None:
    world = World(lottery)
    refuse_300(lottery.res)
    refused = Refused(lottery, voided=voided)
    report = world.report("reconciliation", world.superadmin, refused.draw)
    assert agrees(report)
    assert figure(report, refused.draw, "tickets")["letters"] == 1
    assert figure(report, refused.draw, "live")["letters"] == (0 if voided else 1_000)
    assert agrees(world.report("reconciliation", world.superadmin))
    annul_all(lottery, refused.letters[:1])
    push_outbox(lottery.res)
    assert agrees(world.report("reconciliation", world.superadmin, refused.draw))
    reconcile_anew(lottery.res)
    assert agrees(world.report("reconciliation", world.superadmin, refused.draw))


def test_a_replayed_letter_counts_as_every_ticket(lottery: Lottery) -> None:
    world = World(lottery)
    refuse_300(lottery.res)
    refused = Refused(lottery)
    take_300(lottery.res)
    assert replay(lottery.res, refused.letter).replayed
    report = world.report("reconciliation", world.superadmin, refused.draw)
    assert agrees(report)
    assert figure(report, refused.draw, "tickets")["letters"] == 0


@pytest.mark.parametrize(
    "harm",
    [
        "UPDATE agent_sums SET stake = stake + 100",
        "UPDATE agent_sums SET voids = voids + 1",
        "UPDATE positions SET tickets = tickets + 1",
        "UPDATE exposures SET stake = stake + 100",
        "UPDATE tickets SET stake = stake + 100 WHERE serial = 2",
        "DELETE FROM tickets WHERE serial = 2",
        "UPDATE wallets SET balance = balance + 1",
        "UPDATE postings SET amount = amount - 100 WHERE entry_id IN (SELECT id FROM entries WHERE kind = 'sale')",
    ],
)
def test_whatever_was_altered_in_the_database_shows(world: World, harm: str) -> None:
    world.sell(world.open, 10)
    persist(world.res, world.open)
    assert agrees(world.report("reconciliation", world.superadmin, world.open))
    world.owner(harm)
    assert not agrees(world.report("reconciliation", world.superadmin, world.open))


@pytest.mark.parametrize(
    ("key", "field"),
    [
        ("draw:{draw}", "tickets"),
        ("draw:{draw}", "stake"),
        ("draw:{draw}", "voided_stake"),
        ("draw:{draw}:exposure", "s046"),
        ("wallet:{agent}", "available"),
    ],
)
def test_whatever_was_altered_in_the_gate_shows(world: World, gate: redis.Redis, key: str, field: str) -> None:
    world.sell(world.open, 10)
    persist(world.res, world.open)
    gate.hincrby(key.format(draw=world.open, agent=world.ana), field, 100)
    assert not agrees(world.report("reconciliation", world.superadmin, world.open))


def test_whatever_was_altered_in_the_journal_shows(world: World) -> None:
    world.sell(world.open, 10)
    persist(world.res, world.open)
    rewrite_journal(world.res, world.open, lambda records: records[:4] + records[5:])
    report = world.report("reconciliation", world.superadmin, world.open)
    assert not agrees(report)
    assert figure(report, world.open, "records")["difference"] == -1


def test_with_too_much_behind_single_bets_are_not_compared(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.sell(world.open, 5)
    monkeypatch.setattr(side_by_side, "BEHIND_MAX", 4)
    report = world.report("reconciliation", world.superadmin, world.open)
    assert agrees(report)
    assert (report.tables["draws"][0]["bets"], report.tables["bets"]) == ("not compared", [])


def test_an_administrator_sees_his_own_agents_figures_and_nothing_of_whole_draws(world: World) -> None:
    world.sell(world.open, 30)
    persist(world.res, world.open)
    world.sell(world.open, 10)
    for viewer, mine in ((world.admin, set(world.agents[:4])), (world.other_admin, {world.xeno})):
        late = world.report("reconciliation", viewer, world.open)
        assert agrees(late)
        stored = counted([s for s in tickets(world) if s.draw == world.open and s.agent in mine])
        for name, value in stored.items():
            row = figure(late, world.open, name)
            assert (row["agents"], row["tickets"]) == (value, value)
            assert (row["gate"], row["stored"], row["seal"]) == (None, None, None)
            assert row["journal"] == value + row["behind"]
            assert name not in MONEY or row["ledger"] == value
        assert {row["user_id"] for row in late.tables["wallets"]} == mine
        (draw,) = late.tables["draws"]
        assert (draw["position"], draw["gate_last"], draw["journal_last"], draw["unread"]) == (None,) * 4
        assert ("records" in {row["figure"] for row in late.tables["counts"]}) is False
        assert late.facts["behind"] is None


def test_who_sees_all_that_sold_sees_all_of_the_draw(world: World) -> None:
    for agent in world.agents[:4]:
        world.lottery.sell(world.open, agent, "s046:3")
    report = world.report("reconciliation", world.admin, world.open)
    assert agrees(report)
    assert figure(report, world.open, "tickets")["gate"] == 4
    world.lottery.sell(world.open, world.xeno, "s046:3")
    report = world.report("reconciliation", world.admin, world.open)
    assert figure(report, world.open, "tickets")["gate"] is None


def test_without_the_gate_there_is_nothing_to_hold_side_by_side(world: World, gate: redis.Redis) -> None:
    gate.hdel("gate", "generation")
    with pytest.raises(IntakeUnavailable):
        world.report("reconciliation", world.superadmin, world.open)


def test_taking_credit_away_leaves_everything_in_agreement(world: World) -> None:
    take(world.lottery, world.admin, world.ana, 17)
    assert agrees(world.report("reconciliation", world.superadmin))


def test_a_long_journal_is_no_transaction_that_was_left_open(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    world.sell(world.open, 20)
    monkeypatch.setattr(tally, "TOUCH_RECORDS", 5)
    engine = world.res.sessions.kw["bind"]
    event.listen(engine, "before_cursor_execute", lambda *call: asked.append(call[2]))
    assert agrees(world.report("reconciliation", world.superadmin, world.open))
    assert asked.count("SELECT 1") >= (1 + 20 + 4) // 5


def test_sales_voids_and_loads_that_go_on_meanwhile_are_no_differences(world: World) -> None:
    over = threading.Event()

    def busy() -> int:
        rounds = 0
        while not over.is_set():
            world.sell(world.open, 5)
            world.lottery.load(world.ana, 1)
            persist(world.res, world.open)
            rounds += 1
        return rounds

    with ThreadPoolExecutor(1) as pool:
        selling = pool.submit(busy)
        try:
            reports = [world.report("reconciliation", world.superadmin, draw) for draw in [world.open, None] * 6]
        finally:
            over.set()
        assert selling.result() > 1
    assert all(agrees(report) for report in reports)
    assert len({figure(report, world.open, "tickets")["gate"] for report in reports}) > 1
