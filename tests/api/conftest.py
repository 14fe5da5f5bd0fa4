"""The application as its callers meet it: people made, logged in and asking."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from actions.games import ensure_games
from actions.resources import Resources
from actions.users import ensure_superadmin
from api.app import close, create_app
from api.served import served
from models.session import make_sessions
from runtime.settings import Settings

PASSWORD = "correct horse"
ADOPTION_WAIT_S = 20


@pytest.fixture
def app(settings: Settings) -> Iterator[Flask]:
    """The application with its first superadmin and its games, reconciled with the gate."""
    set_up(settings)
    with running(settings) as made:
        # Its own thread adopts the gate, and then rests until it is woken.
        deadline = time.monotonic() + ADOPTION_WAIT_S
        while served(made).res.gate.identity is None and time.monotonic() < deadline:
            time.sleep(0.01)
        yield made


def set_up(settings: Settings) -> None:
    """What `drawbreak setup` does: the first superadmin and the games."""
    sessions = make_sessions(settings.database_url, pool_size=1)
    ensure_superadmin(sessions, PASSWORD)
    ensure_games(sessions)
    sessions.kw["bind"].dispose()


@contextmanager
def running(settings: Settings) -> Iterator[Flask]:
    """An application, with what it holds given back at the end."""
    made = create_app(settings)
    res = served(made).res
    res.fresh.seconds = 0  # a test looks at what it has just done
    try:
        yield made
    finally:
        close(made)
        res.sessions.kw["bind"].dispose()
        if res.witness is not None:
            res.witness.close()


@pytest.fixture
def res(app: Flask) -> Resources:
    return served(app).res


@dataclass
class Caller:
    """Somebody with a token, or nobody."""

    app: Flask
    token: str | None = None
    user: dict[str, Any] = field(default_factory=dict)

    def __call__(
        self, call: str, body: Any = None, headers: dict[str, str] | None = None, **options: Any
    ) -> TestResponse:
        """`caller("POST /v1/tickets", {…})`: the answer."""
        method, path = call.split(" ", 1)
        sent = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        if body is not None:
            options["json"] = body
        return self.app.test_client().open(
            path, method=method, headers=sent | (headers or {}), buffered=True, **options
        )

    @property
    def id(self) -> int:
        return int(self.user["id"])


def patiently(ask: Callable[[], TestResponse]) -> TestResponse:
    """As callers do: a 503 is asked again. While a test is prepared the machine may be too busy for its deadlines."""
    deadline = time.monotonic() + ADOPTION_WAIT_S
    while (answer := ask()).status_code == 503 and time.monotonic() < deadline:
        time.sleep(0.5)
    return answer


@pytest.fixture
def nobody(app: Flask) -> Caller:
    return Caller(app)


@pytest.fixture
def login(app: Flask, nobody: Caller) -> Callable[..., Caller]:
    """Logs somebody in."""

    def log_in(username: str, password: str = PASSWORD) -> Caller:
        answer = patiently(lambda: nobody("POST /v1/auth/login", {"username": username, "password": password}))
        assert answer.status_code == 200, answer.text
        return Caller(app, answer.json["access_token"], answer.json["user"])

    return log_in


@pytest.fixture
def superadmin(login: Callable[..., Caller]) -> Caller:
    return login("superadmin")


@pytest.fixture
def hire(login: Callable[..., Caller]) -> Callable[..., Caller]:
    """Has somebody make a user below himself, and logs the new one in."""

    def make(maker: Caller, username: str, role: str, **more: Any) -> Caller:
        body = {"username": username, "password": PASSWORD, "role": role, **more}
        answer = patiently(lambda: maker("POST /v1/users", body))
        assert answer.status_code == 201, answer.text
        return login(username)

    return make


@dataclass
class People:
    """A small tree: superadmin > admin > coordinator > agent, and an operator beside it."""

    superadmin: Caller
    admin: Caller
    other_admin: Caller
    coordinator: Caller
    agent: Caller
    operator: Caller

    def of_role(self, role: str) -> Caller:
        found: Caller = getattr(self, role)
        return found


@pytest.fixture
def people(superadmin: Caller, hire: Callable[..., Caller]) -> People:
    admin = hire(superadmin, "admin", "admin")
    coordinator = hire(admin, "coordinator", "coordinator")
    return People(
        superadmin,
        admin,
        hire(superadmin, "other_admin", "admin"),
        coordinator,
        hire(coordinator, "agent", "agent"),
        hire(admin, "operator", "operator"),
    )


def load(giver: Caller, user_id: int, amount: int, key: str | None = None) -> TestResponse:
    """Loads credit onto a wallet."""
    headers = {"Idempotency-Key": key or uuid.uuid4().hex}
    return giver(f"POST /v1/users/{user_id}/credit", {"amount": amount, "kind": "load"}, headers)


def sale(draw_id: str, *lines: tuple[str, str, int], **more: Any) -> dict[str, Any]:
    """The body of a sale; a line is (play, number, stake)."""
    game = draw_id.partition("-")[0]
    asked = [{"game": game, "play": play, "number": number, "stake": stake} for play, number, stake in lines]
    return {"id": str(uuid.uuid4()), "draw_id": draw_id, "lines": asked, **more}


@pytest.fixture
def draw_id(people: People) -> str:
    """An open draw whose cutoff lies an hour ahead."""
    now = datetime.now(UTC)
    answer = people.admin(
        "POST /v1/draws",
        {
            "game": "3D",
            "date": "2026-01-05",
            "time": "14:00",
            "opens_at": (now - timedelta(minutes=1)).isoformat(),
            "cutoff_at": (now + timedelta(hours=1)).isoformat(),
            "draws_at": (now + timedelta(hours=2)).isoformat(),
        },
    )
    assert answer.status_code == 201, answer.text
    return str(answer.json["id"])


@pytest.fixture
def seller(people: People, draw_id: str) -> Caller:
    """The agent, with ₱10,000 of credit, while a draw is open."""
    assert load(people.admin, people.agent.id, 1_000_000).status_code == 201
    return people.agent


@pytest.fixture
def without_gate(res: Resources) -> Callable[[], AbstractContextManager[None]]:
    """While it lasts, this process has no gate that it may talk to."""

    @contextmanager
    def away() -> Iterator[None]:
        identity, res.gate.identity = res.gate.identity, None
        yield
        res.gate.identity = identity

    return away
