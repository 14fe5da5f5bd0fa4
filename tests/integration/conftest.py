"""A small lottery for tests: resources on real servers, people with credit, draws that sell."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

import tasks.sweep
from actions.draws import create
from actions.games import ensure_games
from actions.reconcile import reconcile
from actions.resources import Resources, open_resources
from actions.sell import sell
from intake.gate import Sale
from models.ledger import Account, post
from models.people import User, Wallet, add_to_balances, lock_wallets, loosen, mark_applied, waiting_outbox
from rules.tickets import Line
from runtime.clock import Clock
from runtime.embedded_postgres import Postgres
from runtime.embedded_valkey import Valkey
from runtime.settings import Settings
from tests.conftest import Database
from tests.integration.working import Ground, database_away


@pytest.fixture(autouse=True)
def nobody_was_rung_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep of the journals takes at once what it would leave for a moment to those who were rung for."""
    monkeypatch.setattr(tasks.sweep, "RUNG_LATELY_MS", -60_000)


@dataclass
class Rings:
    """Stands for the broker: keeps what was rung for."""

    sent: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)

    def send_task(self, name: str, **options: Any) -> None:
        self.sent.append((name, tuple(options["args"])))


def new_id() -> str:
    return uuid.uuid4().hex


def line(text: str) -> Line:
    """ "s046:10" is a straight bet of ₱10 on 046, "r123:5" a rambolito."""
    number, _, pesos = text[1:].partition(":")
    return Line({"s": "straight", "r": "rambolito"}[text[0]], number, int(pesos) * 100)


class Lottery:
    """One process's view of a lottery, with shortcuts for what tests do over and over."""

    def __init__(self, res: Resources, rings: Rings) -> None:
        self.res = res
        self.rings = rings
        self._minute = 0
        self._rich: int | None = None

    def next_minute(self) -> int:
        """A draw's minute that this lottery has not used."""
        self._minute += 1
        return self._minute

    def person(self, role: str = "agent", pesos: int = 0, parent: int | None = None, limit: int = 0) -> int:
        with self.res.sessions.begin() as session:
            above = session.get(User, parent) if parent else None
            ancestors = [*above.ancestors, above.id] if above else []
            user = User(
                username=f"u{new_id()[:12]}",
                password_hash="x",
                role=role,
                parent_id=parent,
                ancestors=ancestors,
            )
            session.add(user)
            session.flush()
            session.add(Wallet(user_id=user.id, credit_limit=limit * 100))
            session.add(Account(kind="wallet", user_id=user.id))
        if pesos:
            self.load(user.id, pesos)
        return user.id

    def rich_agent(self) -> int:
        """One and the same agent with more credit than any test spends."""
        self._rich = self._rich or self.person(pesos=1_000_000_000)
        return self._rich

    def load(self, user_id: int, pesos: int, *, push: bool = True) -> None:
        with self.res.sessions.begin() as session:
            lock_wallets(session, [user_id])
            add_to_balances(session, {user_id: pesos * 100})
            loosen(session, {user_id: pesos * 100}, "load")
            post(session, "load", {user_id: pesos * 100}, {"cash": -pesos * 100})
        if push:
            self.push(user_id)

    def push(self, user_id: int) -> None:
        with self.res.sessions.begin() as session:
            for row in waiting_outbox(session, user_id):
                mark_applied(session, user_id, self.res.gate.loosen(user_id, row.seq, row.amount))

    def draw(self, game: str = "3D", minute: int = 0, *, cutoff_s: float = 3600, draws_s: float = 7200) -> str:
        """An open draw whose cutoff is `cutoff_s` seconds away."""
        now = self.res.clock.now()
        day = date(2026, 3, 1) + timedelta(days=minute // 1440)
        body = create(
            self.res,
            None,
            game=game,
            date=day,
            time=(now.min + timedelta(minutes=minute % 1440)).time(),
            opens_at=now - timedelta(minutes=1),
            cutoff_at=now + timedelta(seconds=cutoff_s),
            draws_at=now + timedelta(seconds=draws_s),
        )
        return str(body["id"])

    def wait_until(self, draw: str) -> None:
        """Until the gate's own clock is past the draw's cutoff."""
        cutoff = int(self.res.gate._client.hget(f"draw:{draw}", "cutoff_ms"))
        while self.res.rebuild.now_ms() < cutoff:
            time.sleep(0.02)

    def sell(self, draw: str, agent: int, *lines: str, ticket_id: str | None = None) -> dict[str, Any]:
        sale = Sale(agent, ticket_id or new_id(), tuple(map(line, lines or ("s046:10",))))
        return sell(self.res, draw, sale)[0]


def make_resources(settings: Settings, *, witness: bool = True, connections: int = 8) -> tuple[Resources, Rings]:
    rings = Rings()
    res = open_resources(settings, rings, Clock(), connections=connections, witness=witness)
    res.fresh.seconds = 0  # a test looks at what it has just done
    ensure_games(res.sessions)
    reconcile(res)
    return res, rings


@pytest.fixture
def lottery(settings: Settings) -> Iterator[Lottery]:
    res, rings = make_resources(settings)
    yield Lottery(res, rings)
    res.close()


@pytest.fixture
def own_valkey(servers_dir: Path) -> Iterator[Valkey]:
    """A server that this test may kill."""
    server = Valkey(servers_dir / f"valkey-{new_id()[:8]}").start()
    yield server
    server.stop()


@pytest.fixture
def fragile(settings: Settings, own_valkey: Valkey) -> Iterator[Lottery]:
    """A lottery on a server that this test may kill."""
    res, rings = make_resources(replace(settings, redis_url=own_valkey.url()))
    yield Lottery(res, rings)
    res.close()


@pytest.fixture
def ground(lottery: Lottery, tmp_path: Path) -> Iterator[Ground]:
    made = Ground(lottery.res, tmp_path)
    yield made
    made.close()


@pytest.fixture
def away(postgres_server: Postgres, database: Database) -> Callable[[], AbstractContextManager[None]]:
    """Takes the test's database away for a while."""
    return lambda: database_away(postgres_server, database)
