"""Sessions: refresh tokens and their family, and who is suspended."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from threading import Barrier
from typing import Any

import jwt
from sqlalchemy import select, update

from actions import logins
from actions.resources import Resources
from models.audit import AuditRow
from models.logins import Login
from models.people import User
from runtime.key_ring import parse_ring, ring_text, rotated
from runtime.secret_files import read_secret, replace_secret
from tests.api.conftest import PASSWORD, Caller, People, sale
from tests.api.logging_in import BAD, REUSED, REVOKED, age, claims_of, holder, log_in, refresh, refusal

TERMINALS = 8


def test_a_refresh_gives_a_new_pair_of_the_same_session_and_a_stale_access_token(
    people: People, nobody: Caller
) -> None:
    first = log_in(nobody, "agent")
    answer = refresh(nobody, first["refresh_token"])
    assert answer.status_code == 200
    second = answer.json
    assert second["user"] == first["user"]
    assert second["expires_in"] == 900
    assert second["refresh_token"] != first["refresh_token"]
    old, new = claims_of(first["access_token"]), claims_of(second["access_token"])
    assert (new["sid"], new["fresh"]) == (old["sid"], False)
    assert holder(nobody, second)("GET /v1/me").json["username"] == "agent"
    assert refresh(nobody, second["refresh_token"]).status_code == 200


def test_the_spent_token_again_gives_the_very_same_pair_for_ten_seconds(people: People, nobody: Caller) -> None:
    first = log_in(nobody, "agent")
    second = refresh(nobody, first["refresh_token"]).json
    assert [refresh(nobody, first["refresh_token"]).json for _ in range(3)] == [second] * 3
    assert refresh(nobody, second["refresh_token"]).status_code == 200


def test_the_spent_token_later_ends_the_whole_family(
    people: People, nobody: Caller, seller: Caller, draw_id: str, res: Resources
) -> None:
    first = log_in(nobody, "agent")
    second = refresh(nobody, first["refresh_token"]).json
    terminal = holder(nobody, second)
    assert terminal("POST /v1/tickets", sale(draw_id, ("straight", "046", 100))).status_code == 201
    age(res, rotated_at=timedelta(seconds=logins.SPENT_AGAIN_S + 1))
    assert refusal(refresh(nobody, first["refresh_token"])) == REUSED
    assert refusal(refresh(nobody, second["refresh_token"])) == REVOKED
    assert refusal(terminal("GET /v1/me")) == REVOKED
    assert refusal(terminal("POST /v1/tickets", sale(draw_id, ("straight", "046", 100)))) == REVOKED
    assert seller("GET /v1/me").status_code == 200, "another session of the same agent goes on"
    with res.sessions() as session:
        rows = session.scalars(select(AuditRow.outcome).where(AuditRow.action == "session.end")).all()
    assert rows == ["token_reused"]


def test_a_token_spent_two_refreshes_ago_is_reused_however_soon(people: People, nobody: Caller) -> None:
    first = log_in(nobody, "agent")
    second = refresh(nobody, first["refresh_token"]).json
    third = refresh(nobody, second["refresh_token"]).json
    assert refusal(refresh(nobody, first["refresh_token"])) == REUSED
    assert refusal(refresh(nobody, third["refresh_token"])) == REVOKED


def test_one_token_spent_by_many_at_once_gives_all_of_them_one_pair(people: People, nobody: Caller) -> None:
    for _ in range(12):
        token = log_in(nobody, "agent")["refresh_token"]
        together = Barrier(TERMINALS)

        def spend(token: str = token, together: Barrier = together) -> dict[str, Any]:
            together.wait()
            found: dict[str, Any] = refresh(nobody, token).json
            return found

        with ThreadPoolExecutor(TERMINALS) as pool:
            pairs = [future.result() for future in [pool.submit(spend) for _ in range(TERMINALS)]]
        assert all(pair == pairs[0] for pair in pairs)
        assert refresh(nobody, pairs[0]["refresh_token"]).status_code == 200


def test_no_refresh_moves_the_end_of_a_session(people: People, nobody: Caller, res: Resources) -> None:
    pair = log_in(nobody, "agent")
    end = claims_of(pair["refresh_token"])["exp"]
    with res.sessions() as session:
        login = session.get_one(Login, uuid.UUID(claims_of(pair["access_token"])["sid"]))
    assert end == int(login.expires_at.timestamp())
    assert login.expires_at - login.rotated_at == timedelta(days=res.settings.session_days)
    # Ten minutes before its end the access token is bounded by it, too.
    age(res, expires_at=timedelta(days=res.settings.session_days) - timedelta(minutes=10))
    late = refresh(nobody, pair["refresh_token"]).json
    assert 590 <= late["expires_in"] <= 600
    assert claims_of(late["access_token"])["exp"] == claims_of(late["refresh_token"])["exp"]
    age(res, expires_at=timedelta(minutes=11))
    assert refusal(refresh(nobody, late["refresh_token"])) == REVOKED
    assert refusal(holder(nobody, late)("GET /v1/me")) == REVOKED


def test_an_access_token_does_not_refresh_and_a_refresh_token_opens_nothing(people: People, nobody: Caller) -> None:
    pair = log_in(nobody, "agent")
    assert refusal(refresh(nobody, pair["access_token"])) == BAD
    for call in ("GET /v1/me", "POST /v1/tickets", "POST /v1/auth/logout"):
        assert refusal(replace(nobody, token=pair["refresh_token"])(call)) == BAD
    assert refusal(nobody("POST /v1/auth/refresh")) == BAD


def test_tokens_go_on_through_one_rotation_of_the_keys_and_end_with_the_second(
    people: People, nobody: Caller, res: Resources
) -> None:
    path = res.settings.jwt_key_file
    assert path is not None
    pair = log_in(nobody, "agent")
    replace_secret(path, ring_text(rotated(parse_ring(read_secret(path)))))
    assert holder(nobody, pair)("GET /v1/me").status_code == 200
    renewed = refresh(nobody, pair["refresh_token"]).json
    kids = [jwt.get_unverified_header(found["access_token"])["kid"] for found in (pair, renewed)]
    assert kids[0] != kids[1]
    assert refresh(nobody, pair["refresh_token"]).json == renewed
    replace_secret(path, ring_text(rotated(parse_ring(read_secret(path)))))
    log_in(nobody, "agent")  # whoever signs looks at the file
    assert refusal(holder(nobody, pair)("GET /v1/me")) == BAD
    assert refusal(holder(nobody, pair)("POST /v1/tickets", {})) == BAD, "nor is it remembered for sales"
    assert holder(nobody, renewed)("GET /v1/me").status_code == 200


def test_a_suspended_users_tokens_rest_and_work_again_afterwards(
    people: People, nobody: Caller, res: Resources
) -> None:
    pair = log_in(nobody, "agent")
    agent = holder(nobody, pair)
    for above in (people.agent.id, people.coordinator.id):
        with res.sessions.begin() as session:
            session.execute(update(User).where(User.id == above).values(status="suspended"))
        assert refusal(agent("GET /v1/me")) == REVOKED
        assert refusal(refresh(nobody, pair["refresh_token"])) == REVOKED
        body = {"username": "agent", "password": PASSWORD}
        assert refusal(nobody("POST /v1/auth/login", body)) == (401, "bad_credentials")
        with res.sessions.begin() as session:
            session.execute(update(User).where(User.id == above).values(status="active"))
        assert agent("GET /v1/me").status_code == 200
    assert refresh(nobody, pair["refresh_token"]).status_code == 200


def test_a_suspended_administrator_stops_nobody_below(people: People, res: Resources) -> None:
    with res.sessions.begin() as session:
        session.execute(update(User).where(User.id == people.admin.id).values(status="suspended"))
    assert refusal(people.admin("GET /v1/me")) == REVOKED
    assert people.agent("GET /v1/me").status_code == 200


def test_a_device_is_known_by_its_name_and_one_without_a_name_by_its_address(
    people: People, nobody: Caller, res: Resources
) -> None:
    log_in(nobody, "agent", device="POS 7")
    asked = {
        ("Agent", "POS 7", "198.51.100.9"): True,
        ("agent", "POS 8", "127.0.0.1"): False,
        ("agent", "", "127.0.0.1"): True,
        ("agent", "", "198.51.100.9"): False,
        ("coordinator", "POS 7", "127.0.0.1"): False,
        ("nobody.here", "", "127.0.0.1"): False,
        ("\u212aing", "", "127.0.0.1"): False,
    }
    assert {who: logins.device_is_known(res, *who) for who in asked} == asked
