"""The stake of an annulled ticket comes back exactly once: two pairs at once, deaths between the lines, rebuilds."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest

import actions.annulling
from actions import seals
from actions.annulling import annul
from actions.credit import push_outbox
from actions.dead_letters import Replay, replay
from actions.reconcile import reconcile
from models.tickets import Ticket
from tasks.seal import seal
from tests.integration.after_sales import (
    at_once,
    failures,
    killed,
    read_draw,
    wallet,
)
from tests.integration.conftest import Lottery
from tests.integration.dying import Deaths, Died
from tests.integration.refusing import (
    WHY,
    Refused,
    available,
    credit_is_right,
    given_back,
    letter_statuses,
    outcome,
    reconcile_anew,
    refuse_300,
    take_300,
)


@pytest.fixture
def refused(lottery: Lottery) -> Refused:
    refuse_300(lottery.res)
    return Refused(lottery)


@pytest.mark.parametrize("turn", range(6))
def test_two_pairs_at_once_annul_it_once(refused: Refused, turn: int) -> None:
    res, agent = refused.res, refused.agent
    people = [refused.first, refused.second, *(refused.lottery.person("admin") for _ in range(2))]
    turns = iter(people * 2)
    answers = at_once(lambda: told(refused, next(turns)), 8)
    assert {200, 202} <= set(answers) <= {200, 202, "wrong_state"}
    assert (given_back(res), available(res, agent)) == ([(agent, 1_000)], 9_800)
    # Both of those who did it hear it again; nobody else's word was taken.
    assert sorted(str(told(refused, person)) for person in people) == ["200", "200", "wrong_state", "wrong_state"]
    assert (given_back(res), available(res, agent)) == ([(agent, 1_000)], 9_800)
    assert credit_is_right(res)


def told(refused: Refused, person: int) -> Any:
    """The status of that person's call, or the code of its problem."""
    return outcome(lambda: annul(refused.res, person, refused.letter, WHY)[0])


def test_dying_anywhere_leaves_it_undone_or_done_once(lottery: Lottery) -> None:
    """Around every commit and every call of the gate, and with the gate rebuilt by somebody else in between."""
    res = lottery.res
    refuse_300(res)
    deaths = Deaths(res)
    disturbed = 0
    for sign in (1, -1):
        for place in range(1, 12):
            refused = Refused(lottery)
            annul(res, refused.first, refused.letter, WHY)
            before = given_back(res)
            with suppress(Died), deaths.at(sign * place):
                annul(res, refused.second, refused.letter, WHY)
            disturbed += deaths.disturbed
            reconcile(res)
            annul(res, refused.second, refused.letter, WHY)  # his answer was lost: he asks again
            push_outbox(res)
            assert given_back(res) == [*before, (refused.agent, 1_000)], place
            assert available(res, refused.agent) == 9_800, place
            reconcile_anew(res)
            push_outbox(res)
            assert (available(res, refused.agent), credit_is_right(res)) == (9_800, True), place
            assert seal(res, refused.draw), failures(res)
            if not deaths.disturbed:
                break
    assert disturbed >= 8, "the places were not reached"


def test_an_outbox_that_nobody_pushed_is_swept_once_before_and_after_a_rebuild(
    lottery: Lottery, monkeypatch: pytest.MonkeyPatch
) -> None:
    res = lottery.res
    refuse_300(res)
    swept, rebuilt = Refused(lottery), Refused(lottery)
    with monkeypatch.context() as patch:
        patch.setattr(actions.annulling, "push_after_commit", killed)
        for one in (swept, rebuilt):
            with pytest.raises(KeyboardInterrupt):
                one.annul()
    assert [available(res, one.agent) for one in (swept, rebuilt)] == [8_800, 8_800]
    assert push_outbox(res, swept.agent) == 1
    assert available(res, swept.agent) == 9_800
    reconcile_anew(res)
    assert [available(res, one.agent) for one in (swept, rebuilt)] == [9_800, 9_800]
    push_outbox(res)
    assert [available(res, one.agent) for one in (swept, rebuilt)] == [9_800, 9_800]
    assert push_outbox(res) == 0
    assert credit_is_right(res)


def test_a_waiting_letter_holds_its_stake_through_a_rebuild_and_then_gives_it_back(refused: Refused) -> None:
    res, agent = refused.res, refused.agent
    reconcile_anew(res)
    assert available(res, agent) == 8_800
    annul(res, refused.first, refused.letter, WHY)
    reconcile_anew(res)
    assert available(res, agent) == 8_800
    assert annul(res, refused.second, refused.letter, WHY)[0] == 200
    assert available(res, agent) == 9_800
    reconcile_anew(res)
    assert available(res, agent) == 9_800
    assert seal(res, refused.draw), failures(res)
    assert seals.published(res, refused.draw, full=False)["restored"] == 3


@pytest.mark.parametrize("turn", range(10))
def test_of_a_replay_and_two_persons_at_once_exactly_one_wins(refused: Refused, turn: int) -> None:
    res, agent, second = refused.res, refused.agent, refused.second
    take_300(res)
    annul(res, refused.first, refused.letter, WHY)

    def replaying() -> Any:
        return outcome(lambda: replay(res, refused.letter))

    calls = iter([replaying, lambda: told(refused, second)][:: 1 if turn % 2 else -1] * 2)
    answers = at_once(lambda: next(calls)(), 4)
    row = read_draw(res, refused.draw)
    with res.sessions() as session:
        stored = session.get(Ticket, (row.date, row.id, 2)) is not None
    assert answers.count("wrong_state") == 2
    assert answers.count(Replay(True, None) if stored else 200) == 2
    assert given_back(res) == ([] if stored else [(agent, 1_000)])
    due = 8_800 if stored else 9_800
    assert (available(res, agent), wallet(res, agent).balance) == (due, due)
    assert letter_statuses(res) == ["replayed" if stored else "annulled"]
    assert seal(res, refused.draw), failures(res)
    assert refused.differences() == []
    assert credit_is_right(res)
