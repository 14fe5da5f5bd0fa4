"""Letters of tasks and messages: replayed through a retry that is due at once, discarded with a reason."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import func, insert, select

from actions.dead_letters import discard, one, page, replay
from actions.resources import Resources
from models.audit import AuditRow
from models.dead_letters import DeadLetter, LetterFilter, Retry
from rules.errors import Invalid, NotFound, TicketNotDiscardable, WrongState
from tasks.persist import persist
from tests.integration.after_sales import at_once, rung
from tests.integration.conftest import Lottery
from tests.integration.refusing import BAD, outcome, refuse_300, take_300, waiting

SEAL = {"kind": "task", "queue": "settle", "task": "draws.seal", "arguments": ["3D-20260301-1400"], "error": "no"}


def letter(res: Resources, **columns: Any) -> int:
    with res.sessions.begin() as session:
        return session.execute(insert(DeadLetter).values(columns).returning(DeadLetter.id)).scalar_one()


def message(res: Resources, task: str | None, body: Any) -> int:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return letter(res, kind="message", queue="default", task=task, body=raw, error="nobody understood it")


def retries(res: Resources) -> list[tuple[str, list[Any], str, int, bool]]:
    with res.sessions() as session:
        due = select(Retry.task, Retry.arguments, Retry.queue, Retry.attempts, Retry.due_at <= func.now())
        return [tuple(row) for row in session.execute(due.order_by(Retry.task))]  # type: ignore[misc]


def deeds(res: Resources, letter_id: int) -> list[tuple[str, Any]]:
    with res.sessions() as session:
        rows = select(AuditRow.action, AuditRow.after).where(AuditRow.object == f"dead_letter:{letter_id}")
        return [(action, after) for action, after in session.execute(rows.order_by(AuditRow.id))]


def test_a_replayed_task_is_due_at_once_and_rung_for(lottery: Lottery) -> None:
    res, admin = lottery.res, lottery.person("admin")
    number = letter(res, **SEAL, traceback="Traceback")
    for _ in range(2):
        assert replay(res, number, admin).replayed
    assert retries(res) == [("draws.seal", ["3D-20260301-1400"], "settle", 0, True)]
    assert rung(lottery, "draws.seal", "3D-20260301-1400")
    body = one(res, number)
    assert (body["status"], body["ended_by"], body["traceback"]) == ("replayed", admin, "Traceback")
    assert deeds(res, number) == [("dead_letters.change", {"status": "replayed"})]


def test_a_replay_goes_before_a_retry_that_is_not_due_yet(lottery: Lottery) -> None:
    res = lottery.res
    later = {"due_at": func.now() + func.make_interval(0, 0, 0, 1), "attempts": 5, "error": "no"}
    with res.sessions.begin() as session:
        session.execute(insert(Retry).values(task="draws.seal", arguments=["x"], queue="settle", **later))
    assert replay(res, letter(res, **SEAL | {"arguments": ["x"]})).replayed
    assert retries(res) == [("draws.seal", ["x"], "settle", 0, True)]


def test_two_replays_at_once_make_one_retry(lottery: Lottery) -> None:
    number = letter(lottery.res, **SEAL)
    assert at_once(lambda: replay(lottery.res, number).replayed, 6) == [True] * 6
    assert len(retries(lottery.res)) == 1
    assert len(deeds(lottery.res, number)) == 1


def test_of_a_replay_and_a_discard_at_once_one_wins(lottery: Lottery) -> None:
    res, number = lottery.res, letter(lottery.res, **SEAL)
    calls = iter([lambda: replay(res, number).replayed, lambda: discard(res, number, "old")] * 3)
    answers = at_once(lambda: outcome(lambda: next(calls)()), 6)
    replayed = one(res, number)["status"] == "replayed"
    assert sorted(map(str, answers)) == [str(True) if replayed else str(None)] * 3 + ["wrong_state"] * 3
    assert len(retries(res)) == int(replayed)


def test_a_message_is_sent_again_as_it_was_if_a_worker_can_understand_it(lottery: Lottery) -> None:
    res = lottery.res
    number = message(res, "wallets.push", [["17", 4], {}, {"callbacks": None}])
    assert replay(res, number).replayed
    assert retries(res) == [("wallets.push", ["17", 4], "default", 0, True)]
    assert rung(lottery, "wallets.push", "17", 4)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("task", "body"),
    [
        ("draws.dance", [[], {}, {}]),
        (None, [[], {}, {}]),
        ("wallets.push", b"\xff\xfe"),
        ("wallets.push", b""),
        ("wallets.push", b"[" * 50_000),
        ("wallets.push", {"args": [], "kwargs": {}, "embed": {}}),
        ("wallets.push", ["17", {}, {}]),
        ("wallets.push", [["17"], {"user_id": 1}, {}]),
        ("wallets.push", [[["17"]], {}, {}]),
        ("wallets.push", [[1.5], {}, {}]),
        ("wallets.push", [["\u0000"], {}, {}]),
        ("wallets.push", b'[["\\ud800"], {}, {}]'),
        ("wallets.push", [["9" * 5_000], {}, {}]),
        ("wallets.push", b"[[" + b"9" * 5_000 + b"], {}, {}]"),
    ],
)
def test_a_message_that_still_means_nothing_stays(lottery: Lottery, task: str | None, body: Any) -> None:
    res, number = lottery.res, message(lottery.res, task, body)
    done, reason = replay(res, number)
    assert not done
    assert "discard" in (reason or "")
    assert (one(res, number)["status"], retries(res), deeds(res, number)) == ("waiting", [], [])
    discard(res, number, "nobody knows it")
    assert one(res, number)["reason"] == "nobody knows it"


def test_a_discarded_letter_stays_so_and_a_replayed_one_is_not_discarded(lottery: Lottery) -> None:
    res, admin = lottery.res, lottery.person("admin")
    number = letter(res, **SEAL)
    for reason in ("an old draw", "said twice"):
        discard(res, number, reason, admin)
    body = one(res, number)
    assert (body["status"], body["reason"], body["ended_by"]) == ("discarded", "an old draw", admin)
    assert deeds(res, number) == [("dead_letters.change", {"status": "discarded", "reason": "an old draw"})]
    with pytest.raises(WrongState):
        replay(res, number)
    other = letter(res, **SEAL)
    assert replay(res, other).replayed
    with pytest.raises(WrongState):
        discard(res, other, "too late")


def test_a_ticket_is_never_discarded(lottery: Lottery) -> None:
    res, draw = lottery.res, lottery.draw()
    refuse_300(res)
    lottery.sell(draw, lottery.person(pesos=100), BAD)
    persist(res, draw)
    (number,) = waiting(res, draw)
    with pytest.raises(TicketNotDiscardable):
        discard(res, number, "away with it")
    take_300(res)
    assert replay(res, number).replayed
    with pytest.raises(TicketNotDiscardable):
        discard(res, number, "away with it")


def test_a_list_is_paged_and_filtered(lottery: Lottery) -> None:
    res, draw = lottery.res, lottery.draw()
    refuse_300(res)
    lottery.sell(draw, lottery.person(pesos=100), BAD)
    persist(res, draw)
    tasks = [letter(res, **SEAL | {"arguments": [str(i)]}) for i in range(3)]
    unread = message(res, None, b"\xff")
    discard(res, tasks[1], "old")
    waits = waiting(res, draw)

    def ids(limit: int = 50, cursor: str | None = None, **wanted: Any) -> list[int]:
        return [item["id"] for item in page(res, LetterFilter(**wanted), limit, cursor)["items"]]

    everything = [unread, *reversed(tasks), *waits]
    assert ids(status=None) == everything
    assert ids() == [number for number in everything if number != tasks[1]]
    assert ids(status="discarded") == [tasks[1]]
    assert (ids(kind="message"), ids(kind="record"), ids(draw=draw)) == ([unread], waits, waits)
    assert (ids(draw="3D-20300101-1400"), ids(draw=draw, kind="task")) == ([], [])
    first = page(res, LetterFilter(), 2)
    assert (len(first["items"]), first["next"]) == (2, str(first["items"][1]["id"]))
    rest = page(res, LetterFilter(), 50, first["next"])
    assert [i["id"] for i in first["items"] + rest["items"]] == ids()
    assert rest["next"] is None
    with pytest.raises(Invalid):
        page(res, LetterFilter(), 50, "x")
    assert not {"body", "traceback"} & first["items"][0].keys()
    for unknown in (10**6, 2**63, 2**70):
        with pytest.raises(NotFound):
            one(res, unknown)


def test_a_letter_says_which_ticket_it_is_about(lottery: Lottery) -> None:
    res, draw, agent = lottery.res, lottery.draw(), lottery.person(pesos=100)
    refuse_300(res)
    sold = lottery.sell(draw, agent, BAD)
    persist(res, draw)
    (number,) = waiting(res, draw)
    body = one(res, number)
    about = {"number": sold["number"], "id": sold["id"], "agent_id": agent, "stake": 1_000}
    assert body["record"] == {"what": "ticket", **about}
    assert (body["task"], body["queue"], body["position"]) == ("tickets.persist", "persist", "1-0")
    assert body["body"].startswith(f"t|{agent}|")
    assert "not_300" in body["error"]


def test_a_failed_replay_leaves_the_letter_with_one_attempt_more(lottery: Lottery) -> None:
    res, draw = lottery.res, lottery.draw()
    refuse_300(res)
    lottery.sell(draw, lottery.person(pesos=100), BAD)
    persist(res, draw)
    (number,) = waiting(res, draw)
    assert not replay(res, number, lottery.person("admin")).replayed
    body = one(res, number)
    assert (body["status"], body["attempts"], body["ended_by"]) == ("waiting", 2, None)
    assert deeds(res, number) == []
