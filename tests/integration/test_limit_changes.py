"""Limits changed while a draw sells: the gate takes them at once, the database keeps every version."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, time, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from actions import closing, draws
from actions.reconcile import reconcile
from intake.gate_errors import Unreconciled
from models.audit import AuditRow
from models.draws import DrawLimits, Intent
from rules.errors import CutoffPassed, IntakeUnavailable, Invalid, NoSuchDraw, SoldOut, WrongState
from rules.limits import Limits
from tasks.close_draws import close_draws
from tasks.open_draws import open_draws
from tasks.persist import persist
from tests.integration.after_sales import at_once, decide, drain, killed, later, read_draw
from tests.integration.conftest import Lottery
from tests.integration.counters import outcomes


def set_limits(lottery: Lottery, draw: str, **limits: Any) -> dict[str, Any]:
    return draws.set_limits(lottery.res, lottery.person("admin"), draw, limits)


def scheduled(lottery: Lottery) -> str:
    """A draw that opens in an hour."""
    now = lottery.res.clock.now()
    hours = [now + timedelta(hours=n) for n in (1, 4, 5)]
    times = dict(zip(("opens_at", "cutoff_at", "draws_at"), hours, strict=True))
    return str(draws.create(lottery.res, None, game="3D", date=date(2026, 5, 1), time=time(14), **times)["id"])


def versions(lottery: Lottery, draw: str) -> list[tuple[int, int]]:
    """(version, stake on a straight number) of every version kept."""
    with lottery.res.sessions() as session:
        query = select(DrawLimits).where(DrawLimits.draw_id == read_draw(lottery.res, draw).id)
        rows = session.scalars(query.order_by(DrawLimits.version)).all()
    return [(row.version, row.limits["stake_straight"]) for row in rows]


def held(lottery: Lottery, draw: str) -> dict[str, int]:
    """What the gate holds of the draw's limits."""
    client = lottery.res.gate._client
    names = ("limit_straight", "limit_rambolito", "limit_payout")
    amounts = [int(amount) for amount in client.hmget(f"draw:{draw}", names)]
    numbers = {field.decode(): int(amount) for field, amount in client.hgetall(f"draw:{draw}:limits").items()}
    return dict(zip(names, amounts, strict=True)) | numbers


def test_a_lower_limit_holds_for_the_next_sale(lottery: Lottery) -> None:
    draw, agent = lottery.draw(), lottery.rich_agent()
    lottery.sell(draw, agent, "s046:50")
    body = set_limits(lottery, draw, stake_straight=60_00)
    assert body["limits"][0] == {"play": "straight", "max": 60_00}
    assert body["limits"][1]["max"] == Limits().stake_rambolito
    lottery.sell(draw, agent, "s046:10")
    with pytest.raises(SoldOut):
        lottery.sell(draw, agent, "s046:1")
    set_limits(lottery, draw, stake_straight=40_00)  # below what is sold, which stays sold
    with pytest.raises(SoldOut):
        lottery.sell(draw, agent, "s046:1")
    assert set_limits(lottery, draw, stake_straight=61_00)["sold_out"] == []
    lottery.sell(draw, agent, "s046:1")
    assert versions(lottery, draw) == [(1, Limits().stake_straight), (2, 60_00), (3, 40_00), (4, 61_00)]
    assert read_draw(lottery.res, draw).limits_version == 4


def test_a_number_has_a_limit_of_its_own_until_it_is_left_out(lottery: Lottery) -> None:
    draw, agent = lottery.draw(), lottery.rich_agent()
    body = set_limits(lottery, draw, by_number={"straight": {"046": 5_00}, "rambolito": {"046": 0}}, payout=500_000_00)
    assert body["payout_limit"] == 500_000_00
    assert body["limits"][2:] == [
        {"play": "straight", "number": "046", "max": 5_00},
        {"play": "rambolito", "number": "046", "max": 0},
    ]
    lottery.sell(draw, agent, "s046:5", "s047:100")
    for line in ("s046:1", "r640:1"):
        with pytest.raises(SoldOut):
            lottery.sell(draw, agent, line)
    set_limits(lottery, draw, by_number={"straight": {"046": 6_00}})
    lottery.sell(draw, agent, "s046:1", "r640:1")
    assert len(set_limits(lottery, draw)["limits"]) == 2
    lottery.sell(draw, agent, "s046:100")


def test_the_same_limits_again_make_no_version(lottery: Lottery) -> None:
    draw = lottery.draw()
    for _ in range(3):
        set_limits(lottery, draw, stake_straight=60_00)
    assert [version for version, _ in versions(lottery, draw)] == [1, 2]


def test_a_draw_that_is_not_open_yet_opens_with_what_was_asked(lottery: Lottery) -> None:
    name = scheduled(lottery)
    body = set_limits(lottery, name, stake_straight=7_00, by_number={"straight": {"001": 1_00}})
    assert body["limits"] == [
        {"play": "straight", "max": 7_00},
        {"play": "rambolito", "max": Limits().stake_rambolito},
        {"play": "straight", "number": "001", "max": 1_00},
    ]
    assert set_limits(lottery, name, stake_rambolito=9_00)["limits"] == [
        {"play": "straight", "max": Limits().stake_straight},
        {"play": "rambolito", "max": 9_00},
    ]
    assert versions(lottery, name) == []
    set_limits(lottery, name, stake_straight=3_00)
    open_draws(later(lottery.res, 2))
    assert versions(lottery, name) == [(1, 3_00)]
    assert held(lottery, name)["limit_straight"] == 3_00


def test_limits_are_refused_where_nothing_sells_and_where_they_cannot_be(lottery: Lottery) -> None:
    draw = lottery.draw()
    for bad in ({"stake_straight": -1}, {"colour": 1}, {"by_number": {"straight": {"0046": 1}}}):
        with pytest.raises(Invalid):
            set_limits(lottery, draw, **bad)
    with pytest.raises(NoSuchDraw):
        set_limits(lottery, "3D-20260101-1400", payout=1)
    with pytest.raises(CutoffPassed):
        draws.set_limits(later(lottery.res), lottery.person("admin"), draw, {"payout": 1})
    drain(lottery, draw)
    with pytest.raises(WrongState):
        set_limits(lottery, draw, payout=1)
    assert [version for version, _ in versions(lottery, draw)] == [1]


def test_a_draw_that_latched_first_refuses_them(lottery: Lottery) -> None:
    draw = lottery.draw()
    lottery.res.gate.close(draw, asked=True)
    with pytest.raises(CutoffPassed):
        set_limits(lottery, draw, stake_straight=1_00)
    assert versions(lottery, draw) == [(1, Limits().stake_straight)]
    with lottery.res.sessions() as session:
        assert session.scalars(select(Intent.status).where(Intent.kind == "limits")).all() == ["refused"]
        outcome = session.scalars(select(AuditRow.outcome).where(AuditRow.action == "draw.limits")).all()
    assert outcome == ["done", "cutoff_passed"]


@pytest.mark.parametrize("dies", ["_apply", "_post"])
def test_who_dies_on_the_way_leaves_it_to_the_sweep(
    lottery: Lottery, monkeypatch: pytest.MonkeyPatch, dies: str
) -> None:
    draw = lottery.draw()
    with monkeypatch.context() as patch:
        patch.setattr(closing, dies, killed)
        with pytest.raises(KeyboardInterrupt):
            set_limits(lottery, draw, stake_straight=60_00)
    assert versions(lottery, draw) == [(1, Limits().stake_straight)]
    close_draws(lottery.res)
    close_draws(lottery.res)
    assert versions(lottery, draw)[1:] == [(2, 60_00)]
    assert held(lottery, draw)["limit_straight"] == 60_00


def test_without_the_gate_they_wait_and_the_caller_is_told(lottery: Lottery, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = lottery.draw()

    def away(*_: object, **__: object) -> Any:
        raise IntakeUnavailable(retry_after=1)

    with monkeypatch.context() as patch:
        patch.setattr(lottery.res.gate, "set_limits", away)
        with pytest.raises(IntakeUnavailable):
            set_limits(lottery, draw, stake_straight=60_00)
    set_limits(lottery, draw, stake_straight=Limits().stake_straight)  # the later wish counts, not the waiting one
    assert [stake for _, stake in versions(lottery, draw)] == [100_000, 60_00, 100_000]
    assert held(lottery, draw)["limit_straight"] == 100_000


def test_a_gate_rebuilt_between_its_answer_and_the_posting_is_asked_again(
    lottery: Lottery, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = lottery.draw()
    real = closing._apply

    def rebuilt(*arguments: Any) -> bool | None:
        answer = real(*arguments)
        lottery.res.rebuild.fence()
        assert reconcile(lottery.res)
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(closing, "_apply", rebuilt)
        with pytest.raises(Unreconciled):
            set_limits(lottery, draw, stake_straight=60_00, by_number={"straight": {"046": 1_00}})
    assert held(lottery, draw)["limit_straight"] == Limits().stake_straight
    close_draws(lottery.res)
    assert held(lottery, draw) == {
        "limit_straight": 60_00,
        "limit_rambolito": Limits().stake_rambolito,
        "limit_payout": Limits().payout,
        "s046": 1_00,
    }
    before = held(lottery, draw)
    lottery.res.rebuild.fence()
    assert reconcile(lottery.res)
    assert held(lottery, draw) == before
    assert [version for version, _ in versions(lottery, draw)] == [1, 2]


def test_a_void_ends_limits_that_wait(lottery: Lottery, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = lottery.draw()
    with monkeypatch.context() as patch:
        patch.setattr(closing, "complete_intents", lambda *_: 0)
        with pytest.raises(IntakeUnavailable):
            set_limits(lottery, draw, stake_straight=60_00)
    decide(lottery, draw)
    with lottery.res.sessions() as session:
        assert set(session.scalars(select(Intent.status))) <= {"posted", "refused"}


def test_limits_set_at_once_end_alike_in_gate_and_database(lottery: Lottery) -> None:
    draw = lottery.draw()
    admin = lottery.person("admin")
    amounts = iter(range(100, 60_00, 100))

    def one() -> None:
        for _ in range(6):
            draws.set_limits(lottery.res, admin, draw, {"stake_straight": next(amounts)})

    assert at_once(one, times=6) == [None] * 6
    close_draws(lottery.res)
    kept = versions(lottery, draw)
    assert [version for version, _ in kept] == list(range(1, 38))
    assert held(lottery, draw)["limit_straight"] == kept[-1][1] == read_draw(lottery.res, draw).limits["stake_straight"]


def test_no_sale_by_the_hundred_passes_the_limit_in_force(lottery: Lottery) -> None:
    """Once a lower limit is answered, nothing more is sold above it, whoever is selling."""
    draw, agent = lottery.draw(), lottery.rich_agent()
    admin = lottery.person("admin")
    sold_after: list[int] = []

    def sell() -> str:
        lottery.sell(draw, agent, "s046:1")
        return "sold"

    def lower() -> str:
        draws.set_limits(lottery.res, admin, draw, {"stake_straight": 30_00})
        sold_after.append(lottery.res.gate.exposures([draw])[0]["straight", "046"])
        return "lowered"

    calls: list[Callable[[], str]] = [sell] * 200
    calls.insert(20, lower)
    answers = outcomes(calls)
    persist(lottery.res, draw)
    sold = answers.count("sold") * 100
    exposure = lottery.res.gate.exposures([draw])[0]["straight", "046"]
    assert exposure == sold == max(sold_after[0], 30_00)
    assert set(answers) == {"sold", "sold_out", "lowered"}
