"""What the model test of the books stands on: a lottery of its own for each run of it, people, and calls that die."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import date, time, timedelta
from functools import partial
from typing import Any

import psycopg
import redis
from hypothesis.stateful import RuleBasedStateMachine
from sqlalchemy import select

from actions import draws
from actions.books import check
from actions.closing import complete_intents
from actions.credit import push_outbox
from actions.reconcile import reconcile
from actions.resources import Resources
from actions.standing import tell_standing
from models.draws import Draw, Position
from models.ledger import balances
from models.people import CommissionRate, User, Wallet
from models.tickets import Void
from rules.errors import IntakeUnavailable, Problem
from runtime.embedded_postgres import APP_ROLE, OWNER_ROLE, SUPERUSER, Postgres
from runtime.settings import Settings
from tasks.close_draws import close_draws
from tasks.open_draws import open_draws
from tasks.people import complete_tightening
from tasks.persist import persist
from tasks.seal import seal
from tasks.settle import settle
from tasks.void_draw import void_draw
from tests.integration.after_sales import later
from tests.integration.conftest import Lottery, make_resources
from tests.integration.dying import Deaths, Died
from tests.integration.gate_figures import Figures, figures, suspended_by_the_database
from tests.integration.money_model import DrawBook, MoneyModel, Person, Sold

APPROVAL_ABOVE, TAX_ABOVE, TAX_BP = 600_000, 300_000, 2_000
LIMITS = {"stake_straight": 4_000, "stake_rambolito": 5_000, "payout": 2_500_000}

Learn = Callable[[Any, bool], None]


class Grounds:
    """Makes each run a database, an empty Redis and a VAR of its own, so that a run can be repeated alone."""

    def __init__(self, settings: Settings, server: Postgres, template: str) -> None:
        self._settings, self._server, self._template = settings, server, template

    @contextmanager
    def fresh(self) -> Iterator[Settings]:
        name = f"books_{secrets.token_hex(6)}"
        with self._superuser() as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{self._template}" OWNER "{OWNER_ROLE}"')
        with redis.Redis.from_url(self._settings.redis_url) as client:
            client.flushall()
        small = {"claim_approval_above": APPROVAL_ABOVE, "tax_above": TAX_ABOVE, "tax_bp": TAX_BP}
        own = {"database_url": self._server.url(APP_ROLE, name), "var_dir": self._settings.var_dir / name}
        yield replace(self._settings, **own, **small)
        with self._superuser() as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    def _superuser(self) -> psycopg.Connection:
        return psycopg.connect(self._server.url(SUPERUSER, "postgres").replace("+psycopg", "", 1), autocommit=True)


class BooksGround(RuleBasedStateMachine):
    """Everything but the rules: superadmin > two admins; below the first two coordinators, one under the other, with
    three agents; below the second one agent."""

    def __init__(self, grounds: Grounds) -> None:
        super().__init__()
        self._fresh = grounds.fresh()
        res, rings = make_resources(self._fresh.__enter__())
        self.res: Resources = res
        self.lottery = Lottery(res, rings)
        self.client = redis.Redis.from_url(res.settings.redis_url)
        self.deaths = Deaths(res)
        self.model = MoneyModel(APPROVAL_ABOVE, TAX_ABOVE, TAX_BP)
        self.unfinished: list[tuple[Callable[[], Any], Learn]] = []
        superadmin = self._person("superadmin", None)
        self.admins = [self._person("admin", superadmin) for _ in range(2)]
        self.coordinators = [self._person("coordinator", self.admins[0], 150)]
        self.coordinators.append(self._person("coordinator", self.coordinators[0], 33))
        above = [*self.coordinators, *self.admins]
        self.agents = [self._person("agent", parent, 800 + parent) for parent in above]

    def _person(self, role: str, parent: int | None, bp: int = 0) -> int:
        user_id = self.lottery.person(role, parent=parent)
        with self.res.sessions.begin() as session:
            user = session.get_one(User, user_id)
            chain, user.commission_bp = user.ancestors, bp
            session.add(CommissionRate(user_id=user_id, bp=bp, ancestors=chain))
        self.model.people[user_id] = Person(user_id, role, list(chain))
        self.model.set_rate(user_id, bp)
        return user_id

    def open_draw(self) -> str:
        now, minute = self.res.clock.now(), self.lottery.next_minute()
        times = {"opens_at": now - timedelta(minutes=1), "cutoff_at": now + timedelta(hours=1)}
        at = {"date": date(2026, 3, 1), "time": time(minute=minute), "draws_at": now + timedelta(hours=2)}
        name = str(draws.create(self.res, None, game="3D", limits=LIMITS, **times, **at)["id"])
        self.model.draws[name] = DrawBook(name, self.model.now())
        return name

    # ── calls ───────────────────────────────────────────────────────────────────────────────────────────────

    def ask(self, call: Callable[[], Any], learn: Learn, dies: int = 0, wait: bool = False) -> None:
        """Makes a call that tells `learn` its answer, or the Problem, and whether it went through in one go.

        Who dies on the way asks again: at once, or, if he is to `wait`, some steps later.
        """
        mended: list[bool] = []
        try:
            with self.deaths.at(dies):
                answer = self._answer(call, mended)
        except Died:
            self.unfinished.append((call, learn))
            if not wait:
                self.finish()
            return
        learn(answer, not mended and not self.deaths.disturbed)

    def finish(self) -> None:
        """Everybody who died asks again, and gets an answer."""
        while self.unfinished:
            call, learn = self.unfinished.pop(0)
            learn(self._answer(call, []), False)

    def _answer(self, call: Callable[[], Any], mended: list[bool]) -> Any:
        for _ in range(4):
            try:
                return call()
            except IntakeUnavailable:
                mended.append(True)
                self.mend()
            except Problem as problem:
                return problem
        raise AssertionError("the gate does not come back")

    def mend(self) -> None:
        """What every process does that finds the gate unreconciled, and the sweep that opens what never sold."""
        reconcile(self.res)
        try:
            open_draws(self.res)
        except IntakeUnavailable:  # it found more damage
            reconcile(self.res)
            open_draws(self.res)

    def work(self, task: Callable[[], Any], dies: int = 0) -> Any:
        """A worker's task; what it gives, None if it dies."""
        answer = None
        with suppress(Died), self.deaths.at(dies):
            answer = self._answer(task, [])
            assert not isinstance(answer, Problem), answer
        self.note_states()
        return answer

    def note_states(self) -> None:
        """Draws that have come to their end in the database do so in the model, once all is known of them."""
        with self.res.sessions() as session:
            ended = session.execute(select(Draw.name, Draw.status).where(Draw.status.in_(("settled", "void")))).all()
        books = [(self.model.draws[name], status) for name, status in ended]
        news = [(b.name, s) for b, s in books if not (b.settled if s == "settled" else b.refunded)]
        if news:
            self.finish()
        for name, status in news:
            self.model.settled(name) if status == "settled" else self.model.refunded(name)

    def status(self, name: str) -> str:
        with self.res.sessions() as session:
            return session.scalars(select(Draw.status).where(Draw.name == name)).one()

    def figures(self) -> Figures:
        return figures(self.res, self.client)

    # ── damage ──────────────────────────────────────────────────────────────────────────────────────────────

    def lose_everything(self) -> None:
        """The gate's server forgets; the model keeps what the database has."""
        lost, voids = [], []
        with self.res.sessions() as session:
            places = {row.name: row.serial for row in session.execute(_POSITIONS)}
            stored = {(row.name, row.ticket_serial): row.stakes for row in session.execute(_VOIDED)}
        for ticket in self.model.tickets:
            if ticket.serial > places[ticket.draw]:
                lost.append(ticket)
            if ticket.voided and not stored.get((ticket.draw, ticket.serial)):
                voids.append(ticket)
        self.model.lost(lost, voids)
        self.client.flushall()

    # ── checks ──────────────────────────────────────────────────────────────────────────────────────────────

    def books_and_gate_agree(self) -> None:
        with self.res.sessions() as session:
            assert check(session) == []
        found = self.figures()
        assert min(found.whole.values()) >= 0, found.whole
        if not found.healthy:
            return  # nobody sells on it
        assert found.held == found.due
        assert min(found.held.values()) >= 0, found.held
        suspended = suspended_by_the_database(self.res)
        assert suspended is None or found.suspended == suspended
        for name, (held, live) in found.exposures.items():
            assert held == live or not self.client.exists(f"draw:{name}"), name

    def settle_everything(self) -> None:
        """Whatever waits is done, and then everybody's money is what the model says."""
        self.mend()
        self.finish()
        for name in self.model.draws:
            self.work(partial(complete_intents, self.res, name))
            persist(self.res, name)
            if self.status(name) == "voiding":
                self.work(partial(void_draw, self.res, name))
                persist(self.res, name)  # if the draw had to be closed only now
                void_draw(self.res, name)
                assert self.status(name) == "void"
            if self.status(name) in ("resulted", "settling"):
                assert settle(later(self.res), name)
        push_outbox(self.res)
        complete_tightening(self.res)
        tell_standing(self.res)
        self.note_states()
        with self.res.sessions() as session:
            wallets = {w.user_id: (w.balance, w.credit_limit) for w in session.scalars(select(Wallet))}
            cash = dict(balances(session)).get("cash", 0)
        assert wallets == {p.id: (p.balance, p.limit) for p in self.model.people.values()}
        assert cash == self.model.cash
        held = self.figures().held
        assert held == {agent: sum(wallets[agent]) for agent in held}
        stands = self.model.stands_suspended
        assert self.figures().suspended == {agent for agent in self.agents if stands(agent)}

    def close_everything(self) -> None:
        """Every draw that sells is closed and sealed: the journal and the database hold the same tickets."""
        for name in self.model.draws:
            if self.status(name) == "open":
                self._answer(partial(draws.close, self.res, self.admins[0], name), [])
        self.work(partial(close_draws, self.res))
        for name in self.model.draws:
            persist(self.res, name)
            if self.status(name) == "closed":
                assert seal(self.res, name, force=True)
            assert self.status(name) in ("sealed", "resulted", "settled", "void")

    def teardown(self) -> None:
        try:
            if sys.exc_info()[0] is None:
                self.settle_everything()
                self.close_everything()
                self.settle_everything()
                self.books_and_gate_agree()
        finally:
            self.client.close()
            self.res.close()
            self._fresh.__exit__(None, None, None)


def picked(tickets: list[Sold], index: int) -> Sold:
    """One of them, the newest for 0."""
    return tickets[-1 - index % len(tickets)]


_POSITIONS = select(Draw.name, Position.serial).join(Position, Position.draw_id == Draw.id)
_VOIDED = select(Draw.name, Void.ticket_serial, Void.stake.label("stakes")).join(Draw, Draw.id == Void.draw_id)
_VOIDED = _VOIDED.where(Void.stake > 0)
