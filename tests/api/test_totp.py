"""One-time codes: setting them up, logging in with them, each taken once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import Any

import pyotp
import pytest
from flask import Flask

from actions.resources import Resources
from actions.totp import STEP_S
from api.served import served
from models.people import User
from runtime.clock import FixedClock
from runtime.settings import Settings
from tests.api.conftest import PASSWORD, Caller, People, running, set_up
from tests.api.logging_in import holder, log_in, refresh, refusal
from tests.api.test_passwords import BAD_CREDENTIALS, give, try_login

STEP = timedelta(seconds=STEP_S)


@pytest.fixture
def clock(res: Resources) -> FixedClock:
    """The application's clock, which stands still, so that no step of one-time codes ends meanwhile."""
    clock = FixedClock(datetime.now(UTC))
    object.__setattr__(res, "clock", clock)
    return clock


def enrol(caller: Caller, clock: FixedClock) -> pyotp.TOTP:
    """Sets codes up; the code of the step before now is spent by it."""
    started = caller("POST /v1/me/totp")
    assert started.status_code == 200, started.text
    codes = pyotp.TOTP(started.json["secret"])
    answer = caller("POST /v1/me/totp/confirm", {"otp": codes.at(clock.now() - STEP)})
    assert answer.status_code == 204, answer.text
    return codes


def test_with_codes_on_a_login_needs_one(people: People, nobody: Caller, clock: FixedClock) -> None:
    codes = enrol(people.agent, clock)
    wrong: list[dict[str, Any]] = [
        {},
        {"otp": None},
        {"otp": "000000"},
        {"otp": "abcdef"},
        {"otp": "１２３４５６"},
        {"otp": codes.at(clock.now() - STEP)},
        {"otp": codes.at(clock.now() - 2 * STEP)},
        {"otp": codes.at(clock.now() + 2 * STEP)},
    ]
    for more in wrong:
        answer = try_login(nobody, "agent", PASSWORD, **more)
        assert refusal(answer) == BAD_CREDENTIALS, more
        assert answer.json["detail"] == "The username or the password is wrong."
    assert refusal(try_login(nobody, "agent", "wrong", otp=codes.at(clock.now()))) == BAD_CREDENTIALS
    assert try_login(nobody, "agent", PASSWORD, otp=codes.at(clock.now())).status_code == 200
    assert people.agent("GET /v1/me").status_code == 200


def test_a_code_is_taken_once_and_never_an_older_one_after_it(
    people: People, nobody: Caller, clock: FixedClock
) -> None:
    codes = enrol(people.agent, clock)
    ahead = codes.at(clock.now() + STEP)
    assert try_login(nobody, "agent", PASSWORD, otp=ahead).status_code == 200
    assert refusal(try_login(nobody, "agent", PASSWORD, otp=ahead)) == BAD_CREDENTIALS
    assert refusal(try_login(nobody, "agent", PASSWORD, otp=codes.at(clock.now()))) == BAD_CREDENTIALS
    clock.advance(2 * STEP)
    assert try_login(nobody, "agent", PASSWORD, otp=codes.at(clock.now())).status_code == 200


def test_of_many_logins_with_one_code_at_once_one_succeeds(people: People, nobody: Caller, clock: FixedClock) -> None:
    codes = enrol(people.agent, clock)
    for _ in range(8):
        together, code = Barrier(6), codes.at(clock.now())

        def try_it(_: int, together: Barrier = together, code: str = code) -> int:
            together.wait()
            return int(try_login(nobody, "agent", PASSWORD, otp=code).status_code)

        with ThreadPoolExecutor(6) as pool:
            assert sorted(pool.map(try_it, range(6))) == [200, 401, 401, 401, 401, 401]
        clock.advance(STEP)


def test_a_step_up_takes_a_code_once(people: People, nobody: Caller, clock: FixedClock) -> None:
    codes = enrol(people.agent, clock)
    pair = log_in(nobody, "agent", otp=codes.at(clock.now()))
    stale = holder(nobody, refresh(nobody, pair["refresh_token"]).json)
    used = {"otp": codes.at(clock.now())}
    assert refusal(stale("POST /v1/auth/step-up", used)) == (403, "wrong_password")
    ahead = {"otp": codes.at(clock.now() + STEP)}
    assert stale("POST /v1/auth/step-up", ahead).status_code == 200
    assert refusal(stale("POST /v1/auth/step-up", ahead)) == (403, "wrong_password")


def test_what_was_started_counts_only_once_it_is_confirmed(
    people: People, nobody: Caller, clock: FixedClock, res: Resources
) -> None:
    first = people.agent("POST /v1/me/totp").json
    assert first["uri"].startswith(f"otpauth://totp/drawbreak:agent?secret={first['secret']}&issuer=drawbreak")
    assert try_login(nobody, "agent", PASSWORD).status_code == 200
    second = people.agent("POST /v1/me/totp").json
    assert second["secret"] != first["secret"]
    of_first, of_second = (pyotp.TOTP(found["secret"]).at(clock.now()) for found in (first, second))
    wrong = people.agent("POST /v1/me/totp/confirm", {"otp": of_first})
    assert refusal(wrong) == (403, "wrong_password")
    assert people.agent("POST /v1/me/totp/confirm", {"otp": of_second}).status_code == 204
    assert refusal(people.agent("POST /v1/me/totp/confirm", {"otp": of_second})) == (409, "wrong_state")
    assert refusal(people.agent("POST /v1/me/totp")) == (409, "wrong_state")
    with res.sessions() as session:
        kept = session.get_one(User, people.agent.id).totp_secret
    assert kept is not None
    assert second["secret"].encode() not in kept


def test_codes_come_off_with_the_password(people: People, nobody: Caller, clock: FixedClock) -> None:
    enrol(people.agent, clock)
    assert refusal(people.agent("DELETE /v1/me/totp", {"password": "wrong"})) == (403, "wrong_password")
    assert refusal(try_login(nobody, "agent", PASSWORD)) == BAD_CREDENTIALS
    assert people.agent("DELETE /v1/me/totp", {"password": PASSWORD}).status_code == 204
    assert try_login(nobody, "agent", PASSWORD).status_code == 200


def test_a_given_password_takes_codes_off_for_whoever_lost_his_phone(
    people: People, nobody: Caller, clock: FixedClock, res: Resources
) -> None:
    enrol(people.agent, clock)
    assert try_login(nobody, "agent", give(res, people.agent.id)).status_code == 200


@pytest.fixture
def strict(settings: Settings) -> Any:
    """An application whose administrators need one-time codes."""
    strict = replace(settings, totp_required=True)
    set_up(strict)
    with running(strict) as app:
        yield app


def test_where_codes_are_required_an_administrator_does_nothing_before(strict: Flask) -> None:
    nobody = Caller(strict)
    superadmin = holder(nobody, log_in(nobody, "superadmin"))
    body = {"username": "one.agent", "password": PASSWORD, "role": "agent"}
    for call, sent in {"POST /v1/users": body, "GET /v1/draws": None, "GET /v1/users": None}.items():
        assert refusal(superadmin(call, sent)) == (403, "totp_required"), call
    assert superadmin("GET /v1/me").status_code == 200
    enrol(superadmin, FixedClock(served(strict).res.clock.now()))
    assert superadmin("POST /v1/users", body).status_code == 201
    agent = holder(nobody, log_in(nobody, "one.agent"))
    assert agent("GET /v1/draws").status_code == 200, "others need none"
