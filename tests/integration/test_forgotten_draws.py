"""What was asked about a draw ends, also when nobody saw to it before the draw was sealed or the gate forgot it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import func, select

from actions import closing
from actions.reconcile import reconcile
from intake.gate_errors import Unreconciled
from models.audit import AuditRow
from models.draws import DrawLimits, Intent
from rules.limits import Limits
from tasks.close_draws import close_draws
from tasks.persist import persist
from tasks.seal import seal
from tests.integration.after_sales import killed, read_draw
from tests.integration.conftest import Lottery

WANTED = {"stake_straight": 60_00}


def statuses(lottery: Lottery) -> dict[str, str]:
    """Of every intent by its kind."""
    with lottery.res.sessions() as session:
        return dict(session.execute(select(Intent.kind, Intent.status)).all())


def limits(lottery: Lottery, draw: str) -> list[int]:
    """The stake on a straight number in every version kept; the last one is in force."""
    row = read_draw(lottery.res, draw)
    with lottery.res.sessions() as session:
        query = select(DrawLimits.limits).where(DrawLimits.draw_id == row.id).order_by(DrawLimits.version)
        kept = [version["stake_straight"] for version in session.scalars(query)]
    assert (row.limits["stake_straight"], row.limits_version) == (kept[-1], len(kept))
    return kept


def outcomes(lottery: Lottery, action: str) -> list[str]:
    with lottery.res.sessions() as session:
        query = select(AuditRow.outcome).where(AuditRow.action == action).order_by(AuditRow.id)
        return list(session.scalars(query))


@pytest.fixture
def draw(lottery: Lottery) -> str:
    """One that has sold."""
    name = lottery.draw()
    lottery.sell(name, lottery.rich_agent())
    return name


def end(lottery: Lottery, draw: str, *, sealed: bool) -> None:
    """Closes and stores it behind the intents' backs."""
    closing.close_in_gate(lottery.res, draw, asked=True)
    persist(lottery.res, draw)
    if sealed:
        assert seal(lottery.res, draw)


@pytest.mark.parametrize("sealed", [True, False])
def test_what_a_gate_that_has_forgotten_cannot_answer_any_more_is_refused_and_a_close_is_done(
    lottery: Lottery, draw: str, sealed: bool
) -> None:
    boss, row = lottery.person("superadmin"), read_draw(lottery.res, draw)
    closing.ask_to_set_limits(lottery.res, boss, draw, WANTED)
    earlier = row.cutoff_at - timedelta(minutes=1)
    closing.ask_to_move_cutoff(lottery.res, boss, draw, earlier, row.draws_at, "a storm")
    closing.ask_to_close(lottery.res, boss, draw)
    end(lottery, draw, sealed=sealed)
    if sealed:
        lottery.res.rebuild.fence()
        assert reconcile(lottery.res)
    else:
        lottery.res.gate._client.delete(f"draw:{draw}")
    assert set(statuses(lottery).values()) == {"asked"}
    close_draws(lottery.res)
    assert statuses(lottery) == {"limits": "refused", "cutoff": "refused", "close": "posted"}
    assert limits(lottery, draw) == [Limits().stake_straight]
    assert read_draw(lottery.res, draw).cutoff_at == row.cutoff_at
    assert outcomes(lottery, "draw.limits") == outcomes(lottery, "draw.move_cutoff") == ["done", "cutoff_passed"]
    with lottery.res.sessions() as session:
        assert session.scalar(select(func.count()).where(Intent.done_at.is_(None))) == 0


def test_limits_that_the_gate_took_are_kept_though_the_draw_was_sealed_before_they_were_posted(
    lottery: Lottery, draw: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    closing.ask_to_set_limits(lottery.res, lottery.person("superadmin"), draw, WANTED)
    with monkeypatch.context() as patch:
        patch.setattr(closing, "_post", killed)
        with pytest.raises(KeyboardInterrupt):
            closing.complete_intents(lottery.res, draw)
    end(lottery, draw, sealed=True)
    assert limits(lottery, draw) == [Limits().stake_straight]
    close_draws(lottery.res)
    assert statuses(lottery) == {"limits": "posted"}
    assert limits(lottery, draw) == [Limits().stake_straight, 60_00]
    assert outcomes(lottery, "draw.limits") == ["done", "done"]


def test_a_draw_that_is_not_closed_keeps_what_was_asked(lottery: Lottery, draw: str) -> None:
    """The gate has lost it; a rebuild brings it back, and then it answers."""
    closing.ask_to_set_limits(lottery.res, lottery.person("superadmin"), draw, WANTED)
    lottery.res.gate._client.delete(f"draw:{draw}")
    with pytest.raises(Unreconciled):
        close_draws(lottery.res)
    assert statuses(lottery) == {"limits": "asked"}
    assert reconcile(lottery.res)
    close_draws(lottery.res)
    assert statuses(lottery) == {"limits": "posted"}
    assert limits(lottery, draw)[-1] == 60_00
