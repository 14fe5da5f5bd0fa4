"""A whole installation with people, and draws in every state, for tests that take parts of it away."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

from runtime.embedded_postgres import SUPERUSER, Postgres
from runtime.embedded_valkey import Valkey
from tests.service import PASSWORD, Service

FOLLOWS_S = 120  # longer than any sweep and any restart takes
WINNER, LOSER = "046", "123"


@dataclass
class Case:
    """What is used up while one part is away: tickets and draws of its own."""

    to_void: dict[str, Any]
    to_cancel: dict[str, Any]
    to_keep: dict[str, Any]
    winning: dict[str, Any]
    to_close: str
    to_settle: str
    new_id: str = field(default_factory=lambda: str(uuid.uuid4()))


class Lottery:
    """A whole installation with a broker of its own, its people, and draws in every state."""

    def __init__(self, folder: Path, names: Sequence[Hashable]) -> None:
        """`names`: of the cases, each of which is used up once."""
        self.broker = Valkey(folder / "broker").start()
        broker_url = "redis+socket://" + self.broker.url().partition("unix://")[2].partition("?")[0]
        self.service = Service(folder / "run", API_WORKERS="1", FLOWER="1", BROKER_URL=f"{broker_url}?virtual_host=0")
        self.admins = ["superadmin", self._person("admin")]
        self.seller, self.other = self._person("agent"), self._person("agent")
        self.log_in()
        for agent in (self.seller, self.other):
            self.load(agent, 10_000_000)
        self.cases = dict(zip(names, self._cases(len(names)), strict=True))

    def stop(self) -> None:
        self.service.stop()
        self.broker.stop()

    def log_in(self) -> None:
        """Everybody anew, so that tokens are fresh."""
        self.tokens = {name: self.service.login(name) for name in (*self.admins, self.seller, self.other)}
        answer = self.service.call("POST", "/v1/auth/login", {"username": self.other, "password": PASSWORD})
        self.refresh_token = answer[1]["refresh_token"]

    def ask(self, who: str, call: str, body: Any = None, **headers: str) -> tuple[int, dict[str, Any]]:
        method, path = call.split(" ", 1)
        return self.service.call(method, f"/v1{path}", body, self.tokens[who], **headers)

    def need(self, who: str, call: str, body: Any = None) -> dict[str, Any]:
        status, answer = self.ask(who, call, body)
        assert status < 300, answer
        return answer

    def sell(self, draw: str, number: str, ticket_id: str | None = None) -> tuple[int, dict[str, Any]]:
        line = {"game": "3D", "play": "straight", "number": number, "stake": 100}
        body = {"id": ticket_id or str(uuid.uuid4()), "draw_id": draw, "lines": [line]}
        return self.ask(self.seller, "POST /tickets", body)

    def load(self, agent: str, centavos: int) -> tuple[int, dict[str, Any]]:
        key = {"Idempotency-Key": uuid.uuid4().hex}
        body = {"amount": centavos, "kind": "load"}
        return self.ask("superadmin", f"POST /users/{self.ids[agent]}/credit", body, **key)

    def result(self, admin: str, draw: str, number: str, *, confirm: bool) -> tuple[int, dict[str, Any]]:
        of = {"number": number, "date": f"{draw[3:7]}-{draw[7:9]}-{draw[9:11]}", "time": f"{draw[12:14]}:{draw[14:]}"}
        return self.ask(admin, f"POST /draws/{draw}/result{'/confirm' if confirm else ''}", of)

    def sql(self, query: str, *values: Any) -> Any:
        """The first column of the first row; None while PostgreSQL is away, too."""
        url = Postgres(self.service.var / "postgres").url(SUPERUSER).replace("+psycopg", "", 1)
        with suppress(psycopg.Error), psycopg.connect(url, autocommit=True, connect_timeout=2) as connection:
            found = connection.execute(query, values).fetchone()
            return found and found[0]
        return None

    def status_of(self, draw: str) -> str:
        return str(self.sql("SELECT status FROM draws WHERE name = %s", draw))

    def _person(self, role: str) -> str:
        name = f"{role}-{uuid.uuid4().hex[:8]}"
        body = {"username": name, "password": PASSWORD, "role": role}
        status, answer = self.service.call("POST", "/v1/users", body, self.service.login("superadmin"))
        assert status == 201, answer
        self.ids = {**getattr(self, "ids", {}), name: int(answer["id"])}
        return name

    def _cases(self, count: int) -> list[Case]:
        """For each way in which a part is away; they are sealed and drawn side by side."""
        minutes = iter(range(60, 24 * 60))

        def new_draw(draws_s: float) -> str:
            minute = next(minutes)
            time_ = f"{minute // 60:02}:{minute % 60:02}"
            return self.service.draw(self.tokens["superadmin"], time_, draws_s=draws_s, cutoff_s=min(3600, draws_s))

        drawn_in_s = 30.0 + 2 * count  # until then all of these must be sealed
        claimed = new_draw(drawn_in_s)
        winning = [self.sell(claimed, WINNER)[1] for _ in range(count)]
        to_settle = [new_draw(drawn_in_s) for _ in range(count)]
        for draw in to_settle:
            assert self.sell(draw, LOSER)[0] == 201
        for draw in (claimed, *to_settle):
            self.need("superadmin", f"POST /draws/{draw}/close")
        self.selling = new_draw(7200)
        to_close = [new_draw(7200) for _ in range(count)]
        for draw in to_close:
            assert self.sell(draw, LOSER)[0] == 201
        drawn_at = datetime.now(UTC) + timedelta(seconds=drawn_in_s)
        assert wait_for(lambda: all(self.status_of(draw) == "sealed" for draw in (claimed, *to_settle)))
        time.sleep(max(0.0, (drawn_at - datetime.now(UTC)).total_seconds()))
        for admin, confirm in zip(self.admins, (False, True), strict=True):
            assert self.result(admin, claimed, WINNER, confirm=confirm)[0] == 202
        assert wait_for(lambda: self.status_of(claimed) == "settled")
        return [Case({}, {}, {}, winning[number], to_close[number], to_settle[number]) for number in range(count)]


def wait_for(done: Callable[[], Any], seconds: float = FOLLOWS_S) -> bool:
    """Whether it became true in time."""
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True
