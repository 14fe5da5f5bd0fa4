"""Events told live: to those who may hear them, in order, none left out, over two processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text

from actions.resources import Resources
from api.served import served
from api.tokens import Made
from intake.live_queue import LiveQueue
from models.events import KEPT, note_event
from rules.errors import IntakeUnavailable
from rules.rights import Role
from rules.rooms import EVERYBODY, of_role, of_user, under, who_reach
from runtime.settings import Settings
from tasks.close_draws import close_draws
from tasks.events import send_events
from tasks.persist import persist
from tests.api.conftest import PASSWORD, Caller, People, sale
from tests.api.listening import DeafEar, Ear, Process, refusal, wait

OPENED = "draw.opened"


@pytest.fixture
def processes(app: Flask, settings: Settings) -> Iterator[list[Process]]:
    """Two, side by side, with the database and the queue in common."""
    found = [Process(settings), Process(settings)]
    for process in found:
        process.wait()
    yield found
    for process in found:
        process.stop()


@pytest.fixture
def listen(processes: list[Process]) -> Iterator[Callable[..., Ear]]:
    """Connects somebody, to one of the processes after the other."""
    ears: list[Ear] = []

    def connect(caller: Caller, **more: Any) -> Ear:
        ears.append(Ear(processes[len(ears) % len(processes)].url, caller.token, **more))
        return ears[-1]

    yield connect
    for ear in ears:
        ear.close()


def note(res: Resources, count: int = 1, rooms: list[str] | None = None, **data: Any) -> None:
    """Notes test events and sends them."""
    with res.sessions.begin() as session:
        for number in range(count):
            note_event(session, "test", {"number": number, **data}, rooms or [EVERYBODY])
    send_events(res)


def numbers(ear: Ear) -> list[int]:
    return [body["seq"] for body in ear.of("test")]


def test_everybody_hears_what_he_may_and_nothing_else(
    res: Resources,
    people: People,
    hire: Callable[..., Caller],
    listen: Callable[..., Ear],
    seller: Caller,
    draw_id: str,
) -> None:
    stranger = hire(people.other_admin, "stranger", "coordinator")
    other = hire(stranger, "other", "agent")
    everybody = {name: getattr(people, name) for name in People.__annotations__} | {
        "stranger": stranger,
        "other": other,
    }
    ears = {name: listen(caller) for name, caller in everybody.items()}
    above = [people.superadmin.id, people.admin.id, people.coordinator.id]
    told = {
        "all": [EVERYBODY],
        "agent": [of_user(people.agent.id)],
        "about agent": who_reach(people.agent.id, above),
        "agents": [of_role(Role.AGENT)],
        "under coordinator": [under(people.coordinator.id)],
        "agents under admin": [under(people.admin.id, Role.AGENT)],
    }
    for what, rooms in told.items():
        note(res, rooms=rooms, what=what)
    assert seller("POST /v1/tickets", sale(draw_id, ("straight", "123", 1000))).status_code == 201
    persist(res, draw_id)
    upper = {"superadmin", "operator", "admin", "coordinator", "agent"}
    expected = {
        "all": set(everybody),
        "agent": {"agent"},
        "about agent": upper,
        "agents": {"agent", "other"},
        "under coordinator": {"coordinator", "agent"},
        "agents under admin": {"agent"},
    }
    wait(lambda: all(any(body["net"] == 1000 for body in ears[name].of("sales")) for name in upper))
    wait(
        lambda: all(len(ear.of("test")) >= sum(name in who for who in expected.values()) for name, ear in ears.items())
    )
    for what, who in expected.items():
        assert {name for name, ear in ears.items() if any(b["what"] == what for b in ear.of("test"))} == who, what
    for name, ear in ears.items():
        assert len(numbers(ear)) == len(set(numbers(ear))), "nobody hears anything twice"
        assert (name in upper) == bool(ear.of("sales")), name
        assert {body["user_id"] for body in ear.of("wallet")} <= {everybody[name].id}
        assert [body["draw_id"] for body in ear.of(OPENED)] == [draw_id]
        assert all({"seq", "at"} <= body.keys() for _, body in ear.heard if "complete" not in body)
    wait(lambda: [body["balance"] for body in ears["agent"].of("wallet")][-1:] == [1_000_000 - 1000])


def test_what_the_queue_loses_is_told_all_the_same_and_in_order(
    res: Resources, people: People, listen: Callable[..., Ear], monkeypatch: pytest.MonkeyPatch
) -> None:
    ears = [listen(people.admin), listen(people.agent)]
    note(res, 3)
    with monkeypatch.context() as patched:
        patched.setattr(LiveQueue, "publish", lambda self, messages: None)
        note(res, 5)
    note(res, 2)
    for ear in ears:
        wait(lambda: len(ear.of("test")) >= 10)  # noqa: B023 - asked at once
        assert numbers(ear) == sorted(set(numbers(ear)))
        assert len(numbers(ear)) == 10


def test_a_sender_that_dies_before_its_note_sends_the_same_again_and_nobody_hears_it_twice(
    res: Resources, people: People, listen: Callable[..., Ear], monkeypatch: pytest.MonkeyPatch
) -> None:
    ear = listen(people.admin)
    publish = LiveQueue.publish

    def dies(self: LiveQueue, messages: Any) -> None:
        publish(self, messages)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(LiveQueue, "publish", dies)
        with pytest.raises(KeyboardInterrupt):
            note(res, 4)
    assert send_events(res) == 4
    note(res, 1)
    wait(lambda: len(ear.of("test")) >= 5)
    assert len(numbers(ear)) == 5
    assert numbers(ear) == sorted(numbers(ear))


def test_without_the_queue_everything_is_told_a_little_later(
    res: Resources, people: People, listen: Callable[..., Ear], monkeypatch: pytest.MonkeyPatch
) -> None:
    ear = listen(people.agent)

    def away(*_: Any) -> None:
        raise IntakeUnavailable(retry_after=1)

    monkeypatch.setattr(LiveQueue, "publish", away)
    note(res, 3)
    wait(lambda: len(ear.of("test")) == 3)
    assert numbers(ear) == sorted(numbers(ear))


def test_numbers_that_are_given_again_send_everybody_away_to_begin_anew(
    res: Resources, people: People, listen: Callable[..., Ear]
) -> None:
    ears = [listen(people.agent), listen(people.admin)]  # one at each process
    note(res, 5)
    wait(lambda: all(len(ear.of("test")) == 5 for ear in ears))
    with res.sessions.begin() as session:  # as a database that was restored to a moment ago
        session.execute(text("DELETE FROM events"))
        session.execute(text("UPDATE event_numbers SET given = 1, sent = 1"))
    wait(lambda: not any(ear.connected for ear in ears), "somebody stayed")
    back = listen(people.agent, since=numbers(ears[0])[-1])
    assert back.of("caught_up")[0]["complete"] is False
    note(res, 1)
    wait(lambda: back.of("test"))
    assert numbers(back) == [2]


def test_two_senders_give_every_event_one_number(res: Resources, people: People) -> None:
    with res.sessions.begin() as session:
        for _ in range(7):
            note_event(session, "test", {}, [EVERYBODY])
        session.flush()
        with res.sessions.begin() as other:  # it holds the numbers meanwhile
            other.execute(text("SELECT 1 FROM event_numbers FOR UPDATE"))
            assert send_events(res) == 0
    send_events(res)
    with res.sessions() as session:
        rows = session.execute(text("SELECT seq FROM events WHERE name = 'test' ORDER BY id")).scalars().all()
        given, sent = session.execute(text("SELECT given, sent FROM event_numbers")).one()
    assert rows == list(range(rows[0], rows[0] + 7))
    assert given == sent == rows[-1]


def test_who_comes_back_hears_what_he_missed(res: Resources, people: People, listen: Callable[..., Ear]) -> None:
    first = listen(people.agent)
    note(res, 2)
    wait(lambda: len(first.of("test")) == 2)
    since = numbers(first)[-1]
    first.close()
    note(res, 3)
    note(res, 2, rooms=[of_user(people.coordinator.id)])
    back = listen(people.agent, since=since)
    assert numbers(back) == [since + 1, since + 2, since + 3], "not what was told to another"
    (caught_up,) = back.of("caught_up")
    assert caught_up["complete"] is True
    again = listen(people.agent, since=caught_up["seq"])
    assert numbers(again) == []


def test_who_was_away_for_too_long_is_told_so(res: Resources, people: People, listen: Callable[..., Ear]) -> None:
    note(res, 1)
    with res.sessions() as session:
        since = session.execute(text("SELECT sent FROM event_numbers")).scalar_one()
    for _ in range(4):
        note(res, KEPT // 4 + 1)
    ear = listen(people.agent, since=since)
    wait(lambda: len(ear.of("test")) >= KEPT)
    assert ear.of("caught_up")[0]["complete"] is False
    assert len(numbers(ear)) == KEPT
    with res.sessions() as session:
        assert session.execute(text("SELECT count(*) FROM events")).scalar_one() == KEPT


def test_who_says_nothing_true_is_not_let_in(processes: list[Process], people: People, nobody: Caller) -> None:
    url = processes[0].url
    answer = nobody("POST /v1/auth/login", {"username": "agent", "password": PASSWORD})
    refresh = answer.json["refresh_token"]
    for auth in (
        None,
        {},
        {"token": None},
        {"token": "x"},
        {"token": 7},
        {"token": ["x"]},
        "x",
        [1],
        {"token": refresh},
    ):
        assert refusal(url, auth) == "bad_token", auth
    for since in ("1", -1, 1.5, True, 2**60):
        assert refusal(url, {"token": people.agent.token, "since": since}) == "invalid", since
    assert people.admin(f"POST /v1/users/{people.agent.id}/suspend", {"reason": "it"}).status_code == 200
    assert refusal(url, {"token": people.agent.token}) == "token_revoked"


def test_who_is_suspended_moved_or_logs_out_or_whose_token_expires_has_to_go(
    app: Flask, res: Resources, people: People, hire: Callable[..., Caller], listen: Callable[..., Ear]
) -> None:
    leaver, moved, suspended = (hire(people.coordinator, name, "agent") for name in ("leaver", "moved", "suspended"))
    area = hire(people.admin, "area", "coordinator")
    ears = {name: listen(caller) for name, caller in (("l", leaver), ("m", moved), ("s", suspended))}
    stays = listen(people.agent)
    short = _short_token(app, res, people.agent)
    ears["e"] = listen(short)
    assert leaver("POST /v1/auth/logout").status_code == 204
    assert people.admin(f"PATCH /v1/users/{moved.id}", {"parent_id": area.id}).status_code == 200
    assert people.admin(f"POST /v1/users/{suspended.id}/suspend", {"reason": "it"}).status_code == 200
    wait(lambda: not any(ear.connected for ear in ears.values()), "somebody stayed")
    codes = {name: [body["code"] for body in ear.of("ended")] for name, ear in ears.items()}
    assert codes == {"l": ["token_revoked"], "m": ["moved"], "s": ["token_revoked"], "e": ["token_expired"]}
    assert stays.connected


def _short_token(app: Flask, res: Resources, caller: Caller) -> Caller:
    """His token, but for a few seconds only."""
    tokens = served(app).tokens
    actor = tokens.cached_actor(f"Bearer {caller.token}")
    now = res.clock.now()
    made = Made(1, now, now.fromtimestamp(int(time.time()) + 4, now.tzinfo), tokens.ring.signing().kid)
    return Caller(caller.app, tokens.access(actor, made, "short")["access_token"], caller.user)


def test_polling_hears_the_same(
    res: Resources, people: People, processes: list[Process], listen: Callable[..., Ear]
) -> None:
    ear = listen(people.agent, transport="polling")
    note(res, 3)
    wait(lambda: len(ear.of("test")) == 3)
    assert numbers(ear) == sorted(numbers(ear))
    for process in processes:  # else the client waits for the answer to its last poll
        process.stop()


def test_a_draw_tells_its_way(res: Resources, people: People, listen: Callable[..., Ear], draw_id: str) -> None:
    ear = listen(people.agent, since=0)
    assert people.admin(f"POST /v1/draws/{draw_id}/close").status_code == 202
    close_draws(res)
    persist(res, draw_id)
    send_events(res)
    wait(lambda: ear.of("draw.closed"))
    assert ear.of("draw.closed")[0]["draw_id"] == draw_id


def test_a_client_that_does_not_read_is_sent_away_and_holds_nobody_up(
    res: Resources, people: People, processes: list[Process], listen: Callable[..., Ear]
) -> None:
    ear, deaf = listen(people.agent), DeafEar(processes[0], people.admin.token)
    wait(lambda: processes[0].clients == 2)
    for _ in range(40):
        note(res, 100, text="x" * 4_000)
    wait(lambda: len(ear.of("test")) == 4_000)
    assert numbers(ear) == sorted(numbers(ear))
    wait(lambda: processes[0].clients == 1, "the deaf one stayed")
    deaf.close()
