"""Whatever people, workers, deaths and losses do in whatever order: the books are right after every step, the gate
holds what follows from them, and in the end everybody has the money that a model of a few lines says.

SEED, EXAMPLES and STEPS make another run or a longer one: `SEED=7 EXAMPLES=500 STEPS=60 pytest -k books_model -m slow`.
"""

from __future__ import annotations

import os
import secrets
import time
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, seed
from hypothesis import settings as profile_of
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule, run_state_machine_as_test
from sqlalchemy import select

from actions import claim_decisions, claims, corrections, draws, holds, results, voiding
from models.settlement import SealFailure
from rules.errors import Problem
from runtime.embedded_postgres import Postgres
from runtime.settings import Settings
from tasks import people
from tasks.claims import expire_claims
from tasks.close_draws import close_draws
from tasks.persist import persist
from tasks.seal import seal
from tasks.settle import settle
from tasks.sweep import sweep_journals, sweep_wallets
from tasks.void_draw import void_draw
from tests.integration.after_sales import later, read_draw, time_to_claim_over
from tests.integration.books_ground import Grounds, picked
from tests.integration.books_rules import ANY, DIES, FOUR, LINES, NUMBERS, TWO, People
from tests.integration.counters import PAYEE
from tests.integration.dying import WORK, kill_at_work
from tests.integration.money_model import Pending, Sold

SALES = st.lists(st.tuples(FOUR, TWO, LINES), min_size=2, max_size=6)
VOIDS = st.lists(ANY, max_size=3)
REASON = "the ball was misread"
EXAMPLES, STEPS = int(os.environ.get("EXAMPLES", 0)), int(os.environ.get("STEPS", 0))

pytestmark = pytest.mark.timeout(0 if EXAMPLES else 900)


class Books(People):
    """What happens to draws and prizes, and what goes wrong."""

    @initialize()
    def begin(self) -> None:
        """A settled draw with winners, and one that sells."""
        for agent in range(4):
            self.give(False, agent, 60, "load", 0, False)
        self.give_coordinator(0, 90)
        self.open_draw()
        first = ["s046:2", "s731:5"], ["r046:8", "s640:9"], ["s046:9"], ["s046:14", "r046:10"]
        for agent, bets in zip((3, 2, 1, 0), first, strict=True):
            self.sell(agent, 0, bets, 0, False)
        for step in (self.close, self.persist, self.seal):
            step(0, 0)
        self.enter_result(0, "046", 0)
        self.settle(0, 0)
        assert self.model.draws[self.draw_of(0)].settled
        self.open_draw()

    @invariant()
    def agree(self) -> None:
        if self.model.draws:
            self.books_and_gate_agree()

    @rule(sales=SALES, voids=VOIDS)
    def rush(self, sales: list[tuple[int, int, list[str]]], voids: list[int]) -> None:
        if self.status(self.selling(0)) != "open" and len(self.model.draws) < 5:
            self.open_another()
        for agent, draw, bets in sales:
            self.sell(agent, draw, bets, 0, False)
        for index in voids:
            self.void(index, True, index % 2 == 0, 0, False)

    @rule(draw=FOUR, number=NUMBERS, dies=DIES)
    def go_on(self, draw: int, number: str, dies: int) -> None:
        """Whatever comes next in the draw's life."""
        status = self.status(self.draw_of(draw))
        if status == "open":
            self.close(draw, dies)
            self.persist(draw, 0)
        elif status == "closed":
            self.seal(draw, dies)
        elif status == "sealed":
            self.enter_result(draw, number, dies)
        elif status in ("resulted", "settling"):
            self.settle(draw, dies)
        elif status == "settled":
            self.correct(draw, number, dies)

    # ── draws ───────────────────────────────────────────────────────────────────────────────────────────────

    @precondition(lambda self: len(self.model.draws) < 4)
    @rule()
    def open_another(self) -> None:
        self.mend()
        self.open_draw()

    @rule(draw=TWO, straight=st.integers(5, 60), own=st.integers(0, 30), dies=DIES)
    def set_limits(self, draw: int, straight: int, own: int, dies: int) -> None:
        name = self.draw_of(draw)
        limits = {"stake_straight": straight * 100, "by_number": {"rambolito": {"046": own * 100}}}

        def learn(answer: Any, _: bool) -> None:
            self.refused(answer, "cutoff_passed", "wrong_state")

        self.ask(lambda: draws.set_limits(self.res, self.admins[0], name, limits), learn, dies)

    @rule(draw=TWO, dies=DIES)
    def close(self, draw: int, dies: int) -> None:
        name = self.draw_of(draw)

        def learn(answer: Any, _: bool) -> None:
            if not self.refused(answer, "wrong_state"):
                assert answer["status"] != "scheduled"

        self.ask(lambda: draws.close(self.res, self.admins[0], name), learn, dies)

    @rule(draw=TWO, dies=DIES)
    def let_the_cutoff_come(self, draw: int, dies: int) -> None:
        row, cutoff_at = read_draw(self.res, self.draw_of(draw)), self.res.clock.now() + timedelta(milliseconds=80)

        def learn(answer: Any, _: bool) -> None:
            self.refused(answer, "cutoff_passed", "wrong_state", "draw_not_open")

        times = cutoff_at, row.draws_at, "a storm"
        self.ask(lambda: draws.move_cutoff(self.res, self.admins[0], row.name, *times), learn, dies)
        time.sleep(0.1)
        self.work(partial(close_draws, self.res))

    @rule(draw=TWO, dies=DIES)
    def persist(self, draw: int, dies: int) -> None:
        self.work(partial(persist, self.res, self.draw_of(draw)), dies)

    @rule(draw=TWO, dies=DIES)
    def seal(self, draw: int, dies: int) -> None:
        self.work(partial(seal, self.res, self.draw_of(draw)), dies)
        with self.res.sessions() as session:
            assert session.scalars(select(SealFailure.difference)).all() == []

    @rule(draw=TWO, number=NUMBERS, dies=DIES)
    def enter_result(self, draw: int, number: str, dies: int) -> None:
        name = self.draw_of(draw)
        self._two_persons(results, name, number, [], dies, "not_sealed", "wrong_state")

    @rule(draw=FOUR, number=NUMBERS, dies=DIES)
    def correct(self, draw: int, number: str, dies: int) -> None:
        name, codes = self.draw_of(draw), ("not_sealed", "wrong_state", "invalid")
        self._two_persons(corrections, name, number, [REASON], dies, *codes)

    def _two_persons(self, how: Any, name: str, number: str, more: list[str], dies: int, *codes: str) -> None:
        row, book, res = read_draw(self.res, name), self.model.draws[name], later(self.res)
        first, second = (how.enter if how is results else how.ask), how.confirm
        asked: list[bool] = []

        def learn_first(answer: Any, _: bool) -> None:
            if not self.refused(answer, *codes):
                asked.append(True)

        def learn(answer: Any, _: bool) -> None:
            assert answer["version"] == book.version + 1
            self.model.corrected(name, number)

        entry = name, number, row.date, row.time, *more
        self.ask(lambda: first(res, self.admins[0], *entry), learn_first, dies)
        if asked:
            refusal = self._answer(lambda: second(res, self.admins[0], *entry), [])
            assert self.refused(refusal, "same_person")
            self.ask(lambda: second(res, self.admins[1], *entry), learn, dies)

    @rule(draw=FOUR, dies=DIES)
    def settle(self, draw: int, dies: int) -> None:
        """All that is left of it, or as many steps as somebody does before he dies."""
        self.work(partial(settle, later(self.res), self.draw_of(draw)), dies)

    @rule(draw=TWO, dies=DIES)
    def void_draw(self, draw: int, dies: int) -> None:
        name, asked = self.draw_of(draw), []

        def learn(answer: Any, _: bool) -> None:
            if not self.refused(answer, "wrong_state"):
                asked.append(True)

        self.ask(lambda: voiding.ask(self.res, self.admins[0], name, REASON), learn, dies)
        if asked:
            self.ask(lambda: voiding.confirm(self.res, self.admins[1], name), learn, dies)
            assert len(asked) == 2
            self.work(partial(void_draw, self.res, name), dies)

    # ── prizes ──────────────────────────────────────────────────────────────────────────────────────────────

    def winners(self) -> list[Sold]:
        """Tickets on which there is something to be paid, or at least was."""
        drawn = {name: draw.drawn for name, draw in self.model.draws.items()}
        due = [t for t in self.model.tickets if t.due(drawn[t.draw])]
        return due or [t for t in self.model.tickets if t.paid or t.expired] or self.model.tickets

    @precondition(lambda self: self.model.tickets)
    @rule(who=st.integers(0, 6), index=ANY, dies=DIES)
    def claim(self, who: int, index: int, dies: int) -> None:
        self.finish()
        actor = [*self.agents, *self.coordinators, self.admins[0]][who]
        ticket = picked(self.winners(), index)
        book = self.model.draws[ticket.draw]
        outcome = self.model.claim_outcome(actor, ticket, self.status(ticket.draw))
        amount, tax = self.model.asked(actor, ticket)
        number, code = ticket.receipt["number"], ticket.receipt["code"]

        def learn(answer: Any, straight: bool) -> None:
            if outcome == "paid" and not straight and isinstance(answer, Problem):
                assert (answer.code, answer.extra["by_you"]) == ("already_claimed", True)
                answer = 200, answer.extra
            if isinstance(answer, Problem):
                assert answer.code == outcome, (answer.code, outcome)
            elif outcome == "paid":
                paid = {"prize": amount, "tax": tax, "paid": amount - tax}
                assert answer[0] == 200
                assert {name: answer[1][name] for name in paid} == paid
                self.model.paid(actor, ticket, amount, tax)
            else:
                assert (answer[0], outcome) == (202, "pending")
                assert book.settled
                ticket.pending = ticket.pending or Pending(answer[1]["claim_id"], actor, amount, tax)
                assert answer[1]["claim_id"] == ticket.pending.id

        self.ask(lambda: claims.claim(later(self.res), actor, number, code, PAYEE), learn, dies)

    @precondition(lambda self: self.model.tickets)
    @rule(asked=st.lists(st.tuples(st.integers(0, 6), ANY), min_size=2, max_size=6))
    def queue_at_the_counters(self, asked: list[tuple[int, int]]) -> None:
        for who, index in asked:
            self.claim(who, index, 0)

    @precondition(lambda self: any(t.pending for t in self.model.tickets))
    @rule(index=ANY, approver=TWO, approves=st.booleans(), dies=DIES)
    def decide(self, index: int, approver: int, approves: bool, dies: int) -> None:
        ticket = picked([t for t in self.model.tickets if t.pending], index)
        pending, actor = ticket.pending, [self.admins[0], self.coordinators[0]][approver]
        assert pending is not None

        def call() -> Any:
            if approves:
                return claim_decisions.approve(later(self.res), actor, pending.id)
            return claim_decisions.reject(later(self.res), actor, pending.id, "no papers")

        def learn(answer: Any, _: bool) -> None:
            if not self.refused(answer, "same_person", "not_found", "token_revoked", "on_hold", "not_settled"):
                assert answer["status"] == ("paid" if approves else "rejected")
                ticket.pending = None
                if approves:
                    self.model.paid(pending.claimer, ticket, pending.amount, pending.tax)
            elif answer.code == "on_hold":
                assert ticket.held

        self.ask(call, learn, dies)

    @precondition(lambda self: self.model.tickets)
    @rule(index=ANY, held=st.booleans(), dies=DIES)
    def hold_or_release(self, index: int, held: bool, dies: int) -> None:
        self.finish()
        ticket = picked(self.winners(), index)
        admin, number = self.model.house_of(ticket.agent), ticket.receipt["number"]

        def learn(answer: Any, _: bool) -> None:
            assert answer["held"] == held
            ticket.held = held

        change = holds.hold if held else holds.release
        self.ask(lambda: change(self.res, admin, number, "a dispute"), learn, dies)

    @precondition(lambda self: any(ticket.paid or ticket.pending for ticket in self.model.tickets))
    @rule(dies=DIES)
    def let_the_time_to_claim_pass(self, dies: int) -> None:
        """Not before something was claimed, or there would be little to claim."""
        self.finish()
        over = time_to_claim_over(self.res)
        wanted = self.model.expire(self.model.draws)
        first = self.work(partial(expire_claims, over), dies)
        assert first in (None, wanted)
        assert first is not None or self.work(partial(expire_claims, over)) is not None
        assert self.work(partial(expire_claims, over)) == 0

    # ── misfortune ──────────────────────────────────────────────────────────────────────────────────────────

    @rule(work=st.lists(st.sampled_from(sorted(WORK)), min_size=1, max_size=3), ms=st.integers(0, 60))
    def kill_a_worker(self, work: list[str], ms: int) -> None:
        self.mend()
        kill_at_work(self.res, [(task, name) for task in work for name in self.model.draws], ms / 1000)
        self.note_states()

    @rule(what=st.sampled_from(["everything", "generation", "draw"]), persisted=st.booleans(), sales=SALES, voids=VOIDS)
    def damage(self, what: str, persisted: bool, sales: list[Any], voids: list[int]) -> None:
        """In the midst of sales: of what was there before, all or nothing is stored."""
        if persisted:
            for name in self.model.draws:
                self.work(partial(persist, self.res, name))
        self.rush(sales, voids)
        if what == "everything":
            self.lose_everything()
        elif what == "generation":
            self.client.hdel("gate", "generation")
        else:
            self.client.delete(f"draw:{self.selling(0)}")

    @rule(dies=DIES)
    def reconcile(self, dies: int) -> None:
        self.work(self.mend, dies)

    @rule(dies=DIES)
    def sweep(self, dies: int) -> None:
        for task in (close_draws, sweep_journals, sweep_wallets, people.sweep_people):
            self.work(partial(task, self.res), dies)

    @rule()
    def rest(self) -> None:
        """Everything that waits is done: the model, the books and the gate say the same."""
        self.settle_everything()


def run(settings: Settings, server: Postgres, template: str, examples: int, steps: int) -> None:
    grounds = Grounds(settings, server, template)

    def books() -> Books:
        return Books(grounds)

    profile = profile_of(
        max_examples=EXAMPLES or examples,
        stateful_step_count=STEPS or steps,
        deadline=None,
        database=None,
        print_blob=False,
        phases=[Phase.generate],  # runs take long: the sequence that failed is shown as it was
        suppress_health_check=list(HealthCheck),
    )
    chosen = os.environ.get("SEED") or secrets.randbelow(1 << 32)
    try:
        run_state_machine_as_test(seed(int(chosen))(books), settings=profile)
    except BaseException as problem:
        problem.add_note(f"SEED={chosen}")
        raise


@pytest.fixture(autouse=True)
def _sweeps_come_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(people, "AT_WORK", timedelta(0))


def test_the_books_are_right_whatever_happens(
    settings: Settings, postgres_server: Postgres, migrated_template: str
) -> None:
    run(settings, postgres_server, migrated_template, examples=8, steps=30)


@pytest.mark.slow
def test_the_books_are_right_whatever_happens_for_long(
    settings: Settings, postgres_server: Postgres, migrated_template: str
) -> None:
    run(settings, postgres_server, migrated_template, examples=35, steps=40)
