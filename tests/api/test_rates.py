"""How often: users, addresses, logins; and what happens while the counter is away."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask, request

from api import rates
from intake.counters import IN_THIS_PROCESS, client_url, counters
from rules.errors import SlowDown
from runtime.breaker import Rule
from runtime.embedded_valkey import Valkey
from runtime.settings import Settings, broker_url_of
from tests.api.conftest import PASSWORD, Caller, running, sale, set_up
from tests.api.test_requests import is_problem

Running = Callable[..., Any]


@pytest.fixture
def narrow(settings: Settings) -> Callable[..., Any]:
    """An application with limits of its own: `with narrow(user_requests_per_s=1) as app`."""

    @contextmanager
    def made(**limits: Any) -> Iterator[Flask]:
        set_up(settings)
        with running(replace(settings, **limits)) as app:
            yield app

    return made


def log_in(app: Flask, username: str = "superadmin", address: str = "198.51.100.1") -> Caller:
    nobody = Caller(app)
    body = {"username": username, "password": PASSWORD}
    answer = nobody("POST /v1/auth/login", body, environ_base={"REMOTE_ADDR": address})
    assert answer.status_code == 200, answer.text
    return Caller(app, answer.json["access_token"], answer.json["user"])


def statuses(caller: Caller, call: str, times: int, **options: Any) -> list[int]:
    return [caller(call, **options).status_code for _ in range(times)]


def test_a_user_who_asks_too_often_is_told_when_to_ask_again(narrow: Running) -> None:
    with narrow(user_requests_per_s=1) as app:
        superadmin = log_in(app)
        found = [superadmin("GET /v1/me") for _ in range(12)]
    refused = [answer for answer in found if answer.status_code == 429]
    assert refused
    assert found[0].status_code == 200
    for answer in refused:
        assert is_problem(answer)
        assert answer.json["code"] == "slow_down"
        assert int(answer.headers["Retry-After"]) >= 1
        assert answer.json["retry_after"] == int(answer.headers["Retry-After"])


def test_a_users_requests_count_wherever_they_come_from_and_nobody_elses_do(narrow: Running) -> None:
    with narrow(user_requests_per_s=1) as app:
        superadmin = log_in(app)
        body = {"username": "other", "password": PASSWORD, "role": "admin"}
        assert superadmin("POST /v1/users", body).status_code == 201
        other = log_in(app, "other", "198.51.100.2")
        places = [{"REMOTE_ADDR": f"203.0.113.{number}"} for number in range(12)]
        assert 429 in [superadmin("GET /v1/me", environ_base=place).status_code for place in places]
        assert other("GET /v1/me", environ_base=places[0]).status_code == 200


def test_ticket_calls_have_a_bucket_of_their_own(narrow: Running) -> None:
    with narrow(user_requests_per_s=1) as app:
        superadmin = log_in(app)
        assert 429 in statuses(superadmin, "GET /v1/me", 12)
        assert superadmin("GET /v1/tickets").status_code == 200
        assert 429 in statuses(superadmin, "GET /v1/tickets", 12)


def test_sales_and_probes_are_not_counted_here(narrow: Running) -> None:
    with narrow(user_requests_per_s=1) as app:
        superadmin = log_in(app)
        # Forbidden, for it is no agent: but never too often.
        body = sale("3D-20260105-1400", ("straight", "046", 100))
        for call in ("POST /v1/tickets", "POST /v1/tickets/batch"):
            assert set(statuses(superadmin, call, 20, body=body)) == {403}
        assert 429 not in statuses(Caller(app), "GET /health/live", 20)


def test_without_a_login_an_address_is_counted_and_a_made_up_token_is_no_login(narrow: Running) -> None:
    with narrow(user_requests_per_s=1) as app:
        for header in ({}, {"Authorization": "Bearer x.y.z"}):
            here = {"REMOTE_ADDR": f"203.0.113.{1 + len(header)}"}
            found = statuses(Caller(app), "GET /v1/me", 12, headers=header, environ_base=here)
            assert set(found) == {401, 429}
        assert Caller(app)("GET /v1/me", environ_base={"REMOTE_ADDR": "203.0.113.9"}).status_code == 401


def test_logins_are_counted_as_logins_only_and_refreshing_by_session(narrow: Running) -> None:
    with narrow(user_requests_per_s=1, logins_per_min=100) as app:
        here = {"environ_base": {"REMOTE_ADDR": "203.0.113.1"}}
        nobody = Caller(app)
        wrong = {"username": "superadmin", "password": "wrong"}
        assert set(statuses(nobody, "POST /v1/auth/login", 12, body=wrong, **here)) == {401}
        # One address, two sessions: the one that asks all the time keeps the other from nothing.
        right = {"username": "superadmin", "password": PASSWORD}
        pairs = [nobody("POST /v1/auth/login", right, **here).json for _ in range(2)]
        busy, calm = ({"Authorization": f"Bearer {pair['refresh_token']}"} for pair in pairs)
        assert 429 in statuses(nobody, "POST /v1/auth/refresh", 12, headers=busy, **here)
        assert nobody("POST /v1/auth/refresh", headers=calm, **here).status_code == 200


def test_addresses_of_one_ipv6_network_are_one_address() -> None:
    assert rates.place_of("2001:db8:1:2::1") == rates.place_of("2001:db8:1:2:ffff::9")
    assert rates.place_of("2001:db8:1:3::1") != rates.place_of("2001:db8:1:2::1")
    assert rates.place_of("::ffff:203.0.113.7") == rates.place_of("203.0.113.7")
    assert rates.place_of("") == rates.place_of("unknown") == "nowhere"


def attempts(app: Flask, times: int, username: str = "lola", address: str = "203.0.113.1", known: bool = False) -> int:
    """How many of that many attempts to log in are let through."""

    def one(_: int) -> bool:
        with app.test_request_context():
            try:
                rates.login_attempt(username, address, known)
            except SlowDown as refusal:
                return int(str(refusal.extra["retry_after"])) < 1  # a refusal says when to come again
            return True

    with ThreadPoolExecutor(8) as pool:
        return sum(pool.map(one, range(times)))


def test_logins_to_an_account_from_an_address_are_limited_exactly_also_at_once(narrow: Running) -> None:
    with narrow(logins_per_min=5) as app:
        assert attempts(app, 40) == 5
        assert attempts(app, 3, username="LOLA") == 0
        assert attempts(app, 40, username="lolo") == 5
        assert attempts(app, 3, address="203.0.113.2") == 3


def test_a_login_too_many_is_told_when_to_come_again_right_or_wrong(narrow: Running) -> None:
    with narrow(logins_per_min=2) as app:
        log_in(app)
        nobody, here = Caller(app), {"REMOTE_ADDR": "203.0.113.5"}
        for username in ("superadmin", "nobody-here"):
            bodies = [{"username": username, "password": password} for password in ("wrong", "wrong", PASSWORD)]
            found = [nobody("POST /v1/auth/login", body, environ_base=here) for body in bodies]
            assert [answer.status_code for answer in found] == [401, 401, 429], username
            assert is_problem(found[2])
            assert 1 <= int(found[2].headers["Retry-After"]) <= 61


def test_logins_from_an_address_are_limited_whatever_the_accounts(narrow: Running) -> None:
    with narrow(logins_per_min_address=7) as app:
        assert sum(attempts(app, 1, username=f"name{number}") for number in range(20)) == 7
        assert attempts(app, 1, username="name99", address="203.0.113.2") == 1


def test_a_guesser_with_many_addresses_does_not_lock_out_the_owners_device(narrow: Running) -> None:
    with narrow(logins_per_min=5) as app:
        guesses = sum(attempts(app, 1, address=f"203.0.113.{number}") for number in range(1, 60))
        assert guesses == rates.STRANGERS.amount
        assert attempts(app, 3, known=True) == 3
        # From the owner's own address, too, where the guesser had used it up.
        assert attempts(app, 9, username="other", address="203.0.113.77") == 5
        assert attempts(app, 3, username="other", address="203.0.113.77", known=True) == 3
        assert attempts(app, 9, known=True) == 2


def test_a_device_that_an_account_knows_counts_for_its_address_too(narrow: Running) -> None:
    with narrow(logins_per_min_address=7) as app:
        assert sum(attempts(app, 1, username=f"name{number}", known=True) for number in range(20)) == 7
        assert attempts(app, 1, username="name99") == 1, "apart from what strangers try there"
        assert attempts(app, 1, username="name99", address="203.0.113.2", known=True) == 1


def test_guesses_from_devices_that_an_account_knows_are_limited_apart_from_those_of_strangers(narrow: Running) -> None:
    with narrow(logins_per_min=5) as app:
        places = [f"203.0.113.{number}" for number in range(1, 60)]
        assert sum(attempts(app, 4, address=place, known=True) for place in places) == rates.FAMILIAR.amount
        assert sum(attempts(app, 1, address=place) for place in places) == rates.STRANGERS.amount
        assert attempts(app, 1, username="other", known=True) == 1


def test_the_limiter_is_not_asked_for_sales_and_probes(narrow: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    with narrow(user_requests_per_s=1) as app:
        superadmin = log_in(app)
        limiter, asked = app.extensions[rates.NAME].limiter, []
        monkeypatch.setattr(limiter, "_check_request_limit", lambda **_: asked.append(request.path))
        for call in ("POST /v1/tickets", "POST /v1/tickets/batch", "GET /health/live", "GET /health/ready"):
            superadmin(call)
        assert asked == []
        superadmin("GET /v1/me")
        assert asked == ["/v1/me"]
        hooks = [hook for kind in (app.before_request_funcs, app.after_request_funcs) for hook in kind[None]]
        hooks += app.teardown_request_funcs.get(None, [])
        assert not [hook for hook in hooks if "flask_limiter" in repr(hook)]


def test_guesses_with_a_stolen_token_are_limited(narrow: Running) -> None:
    with narrow(logins_per_min=5) as app, app.test_request_context():
        for _ in range(5):
            rates.password_attempt(17)
        with pytest.raises(SlowDown):
            rates.password_attempt(17)
        rates.password_attempt(18)


def test_while_the_counter_is_away_each_process_counts_and_nothing_fails(
    settings: Settings, narrow: Running, own_broker: Valkey
) -> None:
    with narrow(user_requests_per_s=1, logins_per_min=5, broker_url=broker_url_of(own_broker.url())) as app:
        superadmin = log_in(app)
        assert superadmin("GET /v1/me").status_code == 200
        assert app.extensions[rates.NAME].limiter.storage.check()
        own_broker.stop()
        found = statuses(superadmin, "GET /v1/me", 20)
        assert set(found) == {200, 429}
        assert attempts(app, 9, username="while-away") == 5


def test_logins_are_counted_when_the_counter_goes_away_in_the_middle_of_one(
    narrow: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: Any, **__: Any) -> bool:
        raise ConnectionError("gone")

    with narrow(logins_per_min=5) as app:
        monkeypatch.setattr(app.extensions[rates.NAME].limiter.limiter, "hit", gone)
        assert attempts(app, 9) == 5


def test_a_hanging_counter_costs_a_moment_once_and_then_nothing(narrow: Running, silent_server: str) -> None:
    with narrow(user_requests_per_s=1_000, broker_url=silent_server) as app:
        answers = statuses(Caller(app), "GET /v1/me", 5)
    assert answers == [401] * 5


@pytest.fixture
def own_broker(servers_dir: Any) -> Iterator[Valkey]:
    server = Valkey(servers_dir / "valkey-rates").start()
    yield server
    server.stop()


@pytest.fixture
def silent_server() -> Iterator[str]:
    """The URL of a server that takes connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        held: list[Any] = []
        threading.Thread(target=lambda: _hold(listener, held), daemon=True).start()
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}/1"
        for connection in held:
            connection.close()


def _hold(listener: Any, held: list[Any]) -> None:
    while True:
        try:
            held.append(listener.accept()[0])
        except OSError:
            return


def test_the_brokers_url_is_read_as_its_client_reads_it() -> None:
    assert client_url("redis://:pw@broker:6379/1") == "redis://:pw@broker:6379/1"
    assert client_url("redis+socket:///run/v.sock?virtual_host=1") == "unix:///run/v.sock?db=1"
    assert client_url("rediss://broker/0?ssl_cert_reqs=CERT_REQUIRED") == "rediss://broker/0?ssl_cert_reqs=required"
    for other in ("amqp://broker", "sentinel://one:26379;sentinel://two:26379"):
        assert counters(other, 2, Rule()).uri == IN_THIS_PROCESS
