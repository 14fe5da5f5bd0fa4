"""Schedule, opening, closing and moving a cutoff."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, text

from actions import draws
from actions.closing import ask_to_close, ask_to_move_cutoff, complete_intents
from actions.opening import open_in_gate
from actions.reconcile import reconcile
from actions.tickets import Found, find_by_id
from models.draws import Draw, Intent, advance, draw_by_name
from rules import errors
from runtime.clock import FixedClock
from tasks.close_draws import close_draws
from tasks.open_draws import open_draws
from tasks.persist import persist
from tasks.schedule import schedule_draws
from tests.integration.conftest import Lottery, new_id


def state(lottery: Lottery, name: str) -> Draw:
    with lottery.res.sessions() as session:
        draw = draw_by_name(session, name)
        assert draw is not None
        return draw


def test_the_schedule_makes_three_draws_a_day_of_each_game_but_not_on_cancelled_dates(
    lottery: Lottery,
) -> None:
    noon = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)  # noon in Manila
    res = replace(lottery.res, clock=FixedClock(noon))
    draws.cancel_date(res, "3D", date(2026, 12, 1), "typhoon")
    assert schedule_draws(res) == 2 * 3 * res.settings.schedule_days - 3
    assert schedule_draws(res) == 0
    with res.sessions() as session:
        assert not session.scalars(select(Draw.name).where(Draw.game == "3D", Draw.date == date(2026, 12, 1))).all()
        assert session.scalar(text("SELECT to_regclass('tickets_2026_12') IS NOT NULL"))
    assert state(lottery, "3D-20261122-1400").draws_at == datetime(2026, 11, 22, 6, 0, tzinfo=UTC)


def test_the_schedule_does_not_make_draws_whose_cutoff_is_over(lottery: Lottery) -> None:
    evening = datetime(2026, 11, 22, 12, 55, tzinfo=UTC)  # 20:55 in Manila: the last draw of the day stops selling
    res = replace(lottery.res, clock=FixedClock(evening))
    schedule_draws(res)
    with res.sessions() as session:
        assert session.scalar(select(Draw.date).order_by(Draw.date)) == date(2026, 11, 23)


def test_a_draw_opens_when_its_time_has_come_with_prices_and_limits_frozen(lottery: Lottery) -> None:
    now = lottery.res.clock.now()
    body = draws.create(
        lottery.res,
        None,
        game="2D",
        date=now.date(),
        time=now.time().replace(second=0, microsecond=0),
        opens_at=now + timedelta(hours=1),
        cutoff_at=now + timedelta(hours=2),
        draws_at=now + timedelta(hours=3),
        limits={"stake_straight": 5_000},
    )
    assert open_draws(lottery.res) == 0
    later = replace(lottery.res, clock=FixedClock(now + timedelta(hours=1)))
    assert (open_draws(later), open_draws(later)) == (1, 0)
    row = state(lottery, body["id"])
    assert (row.status, row.limits["stake_straight"], row.prize_table["straight"]) == ("open", 5_000, 400)
    with lottery.res.sessions.begin() as session:
        session.execute(text("UPDATE games SET prize_table = '{}'"))
    assert draws.one(lottery.res, body["id"])["prize_table"]["straight"] == 400


def test_a_draw_is_made_once_and_its_times_must_be_in_order(lottery: Lottery) -> None:
    name = lottery.draw()
    row = state(lottery, name)
    with pytest.raises(errors.DrawExists):
        draws.create(lottery.res, None, game=row.game, date=row.date, time=row.time)
    now = lottery.res.clock.now()
    with pytest.raises(errors.Invalid):
        draws.create(
            lottery.res,
            None,
            game="2D",
            date=row.date,
            time=row.time,
            opens_at=now,
            cutoff_at=now,
            draws_at=now,
        )


def test_closing_waits_for_the_cutoff_by_the_gates_clock_and_reads_closed_once_the_marker_is_persisted(
    lottery: Lottery,
) -> None:
    agent, name = lottery.person(pesos=100), lottery.draw()
    lottery.sell(name, agent)
    fast = replace(lottery.res, clock=FixedClock(lottery.res.clock.now() + timedelta(days=1)))
    assert close_draws(fast) == 0, "our clock is wrong by a day; the gate's is not"
    draws.close(lottery.res, agent, name)
    draws.close(lottery.res, agent, name)
    persist(lottery.res, name)
    assert draws.close(lottery.res, agent, name)["status"] == "closed"
    assert state(lottery, name).status == "closed"
    with lottery.res.sessions() as session:
        assert session.execute(text("SELECT tickets, stake, why FROM closings")).one() == (1, 1000, "closed")


def test_an_intent_that_died_before_the_gate_heard_of_it_is_completed_by_the_sweep(lottery: Lottery) -> None:
    admin, name = lottery.person("admin"), lottery.draw()
    ask_to_close(lottery.res, admin, name)
    close_draws(lottery.res)
    with pytest.raises(errors.DrawNotOpen):
        lottery.sell(name, lottery.person(pesos=10))
    with lottery.res.sessions() as session:
        assert session.scalar(select(Intent.status)) == "posted"


def test_a_sale_that_saw_the_gate_before_its_draw_was_there_is_asked_again_not_refused(
    lottery: Lottery, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent, name, ticket_id = lottery.person(pesos=10), lottery.draw(), new_id()
    lottery.res.gate._client.delete(f"draw:{name}", f"draw:{name}:journal")  # in the database, not yet in the gate

    def slowly(*arguments: Any) -> Found | None:
        open_in_gate(lottery.res, state(lottery, name).id)
        return find_by_id(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr("actions.sell.find_by_id", slowly)
        with pytest.raises(errors.IntakeUnavailable):
            lottery.sell(name, agent, ticket_id=ticket_id)
    assert lottery.sell(name, agent, ticket_id=ticket_id)["serial"] == 1


def test_a_cutoff_can_be_moved_before_it_has_come_and_not_after(lottery: Lottery) -> None:
    admin, agent, name = lottery.person("admin"), lottery.person(pesos=100), lottery.draw()
    now = lottery.res.clock.now()
    earlier = draws.move_cutoff(
        lottery.res, admin, name, now + timedelta(milliseconds=700), now + timedelta(hours=1), "storm"
    )
    assert earlier["cutoff_at"] < (now + timedelta(seconds=1)).isoformat()
    lottery.wait_until(name)
    with pytest.raises(errors.CutoffPassed):
        lottery.sell(name, agent)
    with pytest.raises(errors.CutoffPassed):
        draws.move_cutoff(lottery.res, admin, name, now + timedelta(hours=2), now + timedelta(hours=3), "too late")


def test_a_moved_cutoff_whose_gate_was_rebuilt_before_it_was_posted_is_asked_again(lottery: Lottery) -> None:
    admin, name = lottery.person("admin"), lottery.draw()
    now = lottery.res.clock.now()
    new = now + timedelta(minutes=7)
    intent = ask_to_move_cutoff(lottery.res, admin, name, new, now + timedelta(hours=1), "storm")
    assert intent is not None
    assert lottery.res.gate.move_cutoff(name, intent, round(new.timestamp() * 1000))
    # Here the process dies: applied in the gate, not posted. Then the gate is lost.
    lottery.res.gate._client.flushall()
    reconcile(lottery.res)
    open_draws(lottery.res)
    assert complete_intents(lottery.res, name) == 1
    assert state(lottery, name).cutoff_at == new
    assert lottery.res.gate._client.hget(f"draw:{name}", "cutoff_ms") == b"%d" % round(new.timestamp() * 1000)


def test_a_gate_that_took_the_intent_but_is_of_another_generation_now_is_not_believed(
    lottery: Lottery,
) -> None:
    admin, name = lottery.person("admin"), lottery.draw()
    ask_to_close(lottery.res, admin, name)
    with lottery.res.sessions.begin() as session:
        session.execute(text("UPDATE gate_state SET generation = generation + 1"))
    with pytest.raises(errors.IntakeUnavailable):
        complete_intents(lottery.res, name)
    with lottery.res.sessions() as session:
        assert session.scalar(select(Intent.status)) == "asked"


def test_no_draw_is_moved_off_the_diagram(lottery: Lottery) -> None:
    row = state(lottery, lottery.draw())
    with lottery.res.sessions.begin() as session:
        for was, becomes in ((["open"], "sealed"), (["open", "closed"], "closed"), (["void"], "voiding")):
            with pytest.raises(AssertionError, match=becomes):
                advance(session, row.id, was, becomes)
        assert not advance(session, row.id, ["closed"], "sealed", sealed_at=row.draws_at)
    assert state(lottery, row.name).status == "open"


def test_sold_out_numbers_are_listed_with_the_draw(lottery: Lottery) -> None:
    agent, name = lottery.person(pesos=2000), lottery.draw()
    lottery.sell(name, agent, "s046:1000")
    assert draws.one(lottery.res, name)["sold_out"] == [{"play": "straight", "number": "046", "left": 0}]
