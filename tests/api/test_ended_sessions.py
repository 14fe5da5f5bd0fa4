"""Sessions that end: by a logout, as a lost device's, and what the gate is told."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import func, select, text, update

from actions import ended_logins
from actions.reconcile import reconcile
from actions.resources import Resources
from intake import keys
from models.logins import Login
from models.session import make_sessions
from rules.errors import IntakeUnavailable
from runtime.resp import ask
from tests.api.conftest import PASSWORD, Caller, People, sale
from tests.api.logging_in import REVOKED, claims_of, holder, log_in, refresh, refusal

UNTOLD = (503, "intake_unavailable")
DeafGate = Callable[[], AbstractContextManager[None]]


@pytest.fixture
def deaf_gate(res: Resources) -> DeafGate:
    """While it lasts, this process cannot tell the gate of sessions that ended."""

    @contextmanager
    def deaf() -> Iterator[None]:
        def away(*_: Any) -> None:
            raise IntakeUnavailable(retry_after=1)

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(res.gate, "end_sessions", away)
            yield

    return deaf


def test_a_logout_ends_this_session_alone_at_the_very_next_call(
    people: People, nobody: Caller, seller: Caller, draw_id: str, res: Resources
) -> None:
    pair = log_in(nobody, "agent", device="POS 7")
    terminal = holder(nobody, pair)
    receipt = terminal("POST /v1/tickets", sale(draw_id, ("straight", "046", 100))).json
    answer = terminal("POST /v1/auth/logout")
    assert (answer.status_code, answer.data) == (204, b"")
    calls = {
        "POST /v1/tickets": sale(draw_id, ("straight", "046", 100)),
        f"GET /v1/tickets/by-id/{receipt['id']}?draw_id={draw_id}": None,
        f"POST /v1/tickets/by-id/{receipt['id']}/cancel": {"draw_id": draw_id},
        f"POST /v1/tickets/{receipt['number']}/void": {"reason": "x"},
        "GET /v1/me": None,
        "GET /v1/draws": None,
        "POST /v1/auth/logout": None,
    }
    for call, body in calls.items():
        assert refusal(terminal(call, body)) == REVOKED, call
    assert refusal(refresh(nobody, pair["refresh_token"])) == REVOKED
    assert seller("GET /v1/me").status_code == 200
    with res.sessions() as session:
        login = session.get_one(Login, uuid.UUID(claims_of(pair["access_token"])["sid"]))
    assert (login.ended_why, login.told_at is not None) == ("logout", True)


def test_a_session_that_ended_while_the_gate_was_away_is_told_by_the_sweep(
    people: People,
    nobody: Caller,
    seller: Caller,
    draw_id: str,
    res: Resources,
    deaf_gate: DeafGate,
) -> None:
    terminal = holder(nobody, log_in(nobody, "agent"))
    with deaf_gate():
        assert refusal(terminal("POST /v1/auth/logout")) == UNTOLD
        assert refusal(terminal("GET /v1/me")) == REVOKED
        with pytest.raises(IntakeUnavailable):
            ended_logins.tell_gate(res)
    assert ended_logins.tell_gate(res) == 1
    assert ended_logins.tell_gate(res) == 0
    assert refusal(terminal("POST /v1/tickets", sale(draw_id, ("straight", "046", 100)))) == REVOKED


def test_a_logout_again_says_whether_the_gate_knows(
    people: People,
    nobody: Caller,
    seller: Caller,
    draw_id: str,
    deaf_gate: DeafGate,
) -> None:
    terminal = holder(nobody, log_in(nobody, "agent"))
    with deaf_gate():
        assert [refusal(terminal("POST /v1/auth/logout")) for _ in range(3)] == [UNTOLD] * 3
    assert refusal(terminal("POST /v1/auth/logout")) == REVOKED
    assert refusal(terminal("POST /v1/tickets", sale(draw_id, ("straight", "046", 100)))) == REVOKED


def test_a_lost_devices_end_is_answered_for_once_the_gate_knows(
    people: People,
    nobody: Caller,
    seller: Caller,
    draw_id: str,
    deaf_gate: DeafGate,
) -> None:
    pair = log_in(nobody, "agent")
    path = f"DELETE /v1/users/{people.agent.id}/sessions/{claims_of(pair['access_token'])['sid']}"
    with deaf_gate():
        assert [refusal(people.coordinator(path)) for _ in range(2)] == [UNTOLD] * 2
    assert people.coordinator(path).status_code == 204
    sold = holder(nobody, pair)("POST /v1/tickets", sale(draw_id, ("straight", "046", 100)))
    assert refusal(sold) == REVOKED


def test_those_who_do_not_sell_log_out_without_the_gate(
    people: People, nobody: Caller, res: Resources, deaf_gate: DeafGate
) -> None:
    with deaf_gate():
        assert holder(nobody, log_in(nobody, "admin"))("POST /v1/auth/logout").status_code == 204
        body = {"current": PASSWORD, "new": "another good one"}
        assert people.agent("POST /v1/me/password", body).status_code == 204
    assert ended_logins.tell_gate(res) == 1


def test_a_suspended_agents_logout_is_no_end(people: People, nobody: Caller) -> None:
    agent = holder(nobody, log_in(nobody, "agent"))
    assert people.coordinator(f"POST /v1/users/{people.agent.id}/suspend", {"reason": "x"}).status_code == 200
    assert refusal(agent("POST /v1/auth/logout")) == REVOKED
    assert people.coordinator(f"POST /v1/users/{people.agent.id}/reactivate").status_code == 200
    assert agent("GET /v1/me").status_code == 200


def test_what_was_told_to_a_gate_of_an_older_generation_is_told_again(
    people: People, nobody: Caller, res: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = holder(nobody, log_in(nobody, "agent"))
    told = res.gate.end_sessions

    def and_then_it_was_rebuilt(sessions: list[str], ttl_s: int) -> None:
        told(sessions, ttl_s)
        with res.sessions.begin() as session:
            session.execute(text("UPDATE gate_state SET generation = generation + 1"))

    monkeypatch.setattr(res.gate, "end_sessions", and_then_it_was_rebuilt)
    assert refusal(terminal("POST /v1/auth/logout")) == UNTOLD
    with res.sessions() as session:
        untold = select(func.count()).select_from(Login).where(Login.ended_at.is_not(None), Login.told_at.is_(None))
        assert session.scalar(untold) == 1


def test_the_gate_remembers_an_end_a_day_longer_than_any_token_lives_also_when_it_is_rebuilt(
    people: People, nobody: Caller, res: Resources, redis_url: str
) -> None:
    terminal = holder(nobody, log_in(nobody, "agent"))
    sid = claims_of(terminal.token or "")["sid"]
    assert terminal("POST /v1/auth/logout").status_code == 204
    least = res.settings.access_token_minutes * 60 + 24 * 60 * 60 - 60

    def left_s() -> int:
        found: int = res.rebuild._client.ttl(keys.ended(sid))
        return found

    assert left_s() > least
    with res.sessions.begin() as session:  # an hour ago: no token of it lives, but clocks may be set back
        session.execute(
            update(Login).where(Login.ended_at.is_not(None)).values(ended_at=func.now() - timedelta(hours=1))
        )
    assert ask(redis_url, "FLUSHALL", "SYNC") == "+OK"
    reconcile(res)
    assert left_s() > least


def test_a_lost_device_ends_alone(people: People, nobody: Caller) -> None:
    lost, kept = (holder(nobody, log_in(nobody, "agent", device=device)) for device in ("lost", "kept"))
    listed = people.coordinator(f"GET /v1/users/{people.agent.id}/sessions").json["items"]
    assert [item["device"] for item in listed] == ["kept", "lost", ""]
    assert not any(item["current"] for item in listed)
    own = kept(f"GET /v1/users/{people.agent.id}/sessions").json["items"]
    assert [item["device"] for item in own if item["current"]] == ["kept"]
    assert {item["address"] for item in own} == {"127.0.0.1"}
    path = f"DELETE /v1/users/{people.agent.id}/sessions/{listed[1]['id']}"
    assert [people.coordinator(path).status_code for _ in range(2)] == [204, 204]
    assert refusal(lost("GET /v1/me")) == REVOKED
    assert kept("GET /v1/me").status_code == 200
    assert len(kept(f"GET /v1/users/{people.agent.id}/sessions").json["items"]) == 2


def test_sessions_are_listed_page_by_page(people: People, nobody: Caller) -> None:
    for number in range(5):
        log_in(nobody, "agent", device=f"POS {number}")
    seen, more = [], ""
    while True:
        page = people.agent(f"GET /v1/users/{people.agent.id}/sessions?limit=2{more}").json
        seen += [item["device"] for item in page["items"]]
        if page["next"] is None:
            break
        more = f"&cursor={page['next']}"
    assert seen == [*(f"POS {number}" for number in reversed(range(5))), ""]
    for cursor in ("x", "1.x", "99999999999999999." + str(uuid.uuid4()), "1." + "-" * 36):
        answer = people.agent(f"GET /v1/users/{people.agent.id}/sessions?cursor={cursor}")
        assert (answer.status_code, answer.json.get("errors", [{}])[0].get("path")) in ((422, "cursor"), (200, None))


def test_sessions_elsewhere_are_not_found_and_operators_end_only_their_own(people: People, nobody: Caller) -> None:
    log_in(nobody, "other_admin")
    sid = people.superadmin(f"GET /v1/users/{people.other_admin.id}/sessions").json["items"][0]["id"]
    for caller in (people.agent, people.coordinator, people.admin):
        assert refusal(caller(f"GET /v1/users/{people.other_admin.id}/sessions")) == (404, "not_found")
        assert refusal(caller(f"DELETE /v1/users/{people.other_admin.id}/sessions/{sid}")) == (404, "not_found")
        assert refusal(caller(f"DELETE /v1/users/{caller.id}/sessions/{sid}")) == (404, "not_found")
        assert refusal(caller(f"DELETE /v1/users/{caller.id}/sessions/nonsense")) == (404, "not_found")
    assert people.operator(f"GET /v1/users/{people.other_admin.id}/sessions").status_code == 200
    ending = people.operator(f"DELETE /v1/users/{people.other_admin.id}/sessions/{sid}")
    assert refusal(ending) == (403, "forbidden")
    own = people.operator(f"GET /v1/users/{people.operator.id}/sessions").json["items"][0]["id"]
    assert people.operator(f"DELETE /v1/users/{people.operator.id}/sessions/{own}").status_code == 204
    assert refusal(people.operator("GET /v1/me")) == REVOKED


def test_sessions_that_were_over_long_ago_are_forgotten(people: People, nobody: Caller, res: Resources) -> None:
    ended = holder(nobody, log_in(nobody, "agent", device="ended"))
    assert ended("POST /v1/auth/logout").status_code == 204
    assert ended_logins.forget_old(res) == 0
    with res.sessions.begin() as session:
        long_ago = func.now() - text(f"interval '{ended_logins.KEPT_DAYS + 1} days'")
        session.execute(update(Login).where(Login.device == "ended").values(ended_at=long_ago))
        session.execute(update(Login).where(Login.user_id == people.operator.id).values(expires_at=long_ago))
    assert ended_logins.forget_old(res) == 2
    assert people.agent("GET /v1/me").status_code == 200


def test_refresh_against_logout_leaves_nothing_alive(people: People, nobody: Caller) -> None:
    for _ in range(15):
        pair = log_in(nobody, "agent")
        terminal, together = holder(nobody, pair), Barrier(2)

        def end(terminal: Caller = terminal, together: Barrier = together) -> Any:
            together.wait()
            return terminal("POST /v1/auth/logout")

        def renew(pair: dict[str, Any] = pair, together: Barrier = together) -> Any:
            together.wait()
            return refresh(nobody, pair["refresh_token"])

        with ThreadPoolExecutor(2) as pool:
            ended, renewed = pool.submit(end), pool.submit(renew)
            assert ended.result().status_code == 204
            answer = renewed.result()
        if answer.status_code == 200:
            assert refusal(holder(nobody, answer.json)("GET /v1/me")) == REVOKED
            assert refusal(refresh(nobody, answer.json["refresh_token"])) == REVOKED
        else:
            assert refusal(answer) == REVOKED


def test_agents_void_and_cancel_while_postgres_is_away(
    people: People, nobody: Caller, seller: Caller, draw_id: str, res: Resources
) -> None:
    ended = holder(nobody, log_in(nobody, "agent"))
    assert ended("POST /v1/auth/logout").status_code == 204
    sold = [seller("POST /v1/tickets", sale(draw_id, ("straight", "046", 100))).json for _ in range(2)]
    calls: dict[str, Any] = {
        f"GET /v1/tickets/by-id/{sold[0]['id']}?draw_id={draw_id}": None,
        f"POST /v1/tickets/{sold[0]['number']}/void": {"reason": "x"},
        f"POST /v1/tickets/by-id/{sold[1]['id']}/cancel": {"draw_id": draw_id},
    }
    # Nothing listens there.
    away = make_sessions("postgresql+psycopg://nobody@127.0.0.1:1/nothing", pool_size=1)
    here = res.sessions
    object.__setattr__(res, "sessions", away)
    try:
        assert seller("GET /v1/me").json["code"] == "database_unavailable"
        for call, body in calls.items():
            assert refusal(ended(call, body)) == REVOKED, call
            assert seller(call, body).status_code == 200, call
    finally:
        object.__setattr__(res, "sessions", here)
        away.kw["bind"].dispose()
