"""Rules of the model test of the books: what people do with credit, with each other and with tickets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from sqlalchemy import select

from actions import credit, deductions, standing, user_changes, void
from actions.sell import sell
from intake.gate import Sale
from models.people import Wallet
from rules.errors import Problem
from rules.limits import Limits, take
from tests.integration.after_sales import read_draw
from tests.integration.books_ground import BooksGround, Grounds, picked
from tests.integration.conftest import line, new_id
from tests.integration.money_model import Sold

FOUR, TWO, ANY = st.integers(0, 3), st.integers(0, 1), st.integers(0, 9)
# At which place of the call somebody dies, or the gate is rebuilt if below 0; see dying.Deaths.
DIES = st.one_of(st.just(0), st.integers(1, 9), st.integers(-4, -1))
KINDS = st.sampled_from(["load", "load", "remittance", "shortage", "correction"])
PESOS = st.integers(1, 60)
NUMBERS = st.sampled_from(["046", "640", "122", "731"])
BETS = st.builds("{}{}:{}".format, st.sampled_from("sr"), NUMBERS, st.integers(1, 15))
LINES = st.lists(BETS, min_size=1, max_size=3)


class People(BooksGround):
    """Their calls, of which each may die anywhere and be asked again."""

    def __init__(self, grounds: Grounds) -> None:
        super().__init__(grounds)
        self.answered: list[tuple[Callable[[], Any], Any]] = []

    def draw_of(self, index: int) -> str:
        """The newest draw for 0."""
        names = list(self.model.draws)
        return names[-1 - index % len(names)]

    def selling(self, index: int) -> str:
        """The newest draw that sells for 0, if any does."""
        names = [name for name in self.model.draws if self.status(name) == "open"]
        return names[-1 - index % len(names)] if names else self.draw_of(index)

    def giver(self, by_coordinator: bool, agent: int) -> int:
        return self.coordinators[0] if by_coordinator else self.model.house_of(self.agents[agent])

    @staticmethod
    def refused(answer: Any, *codes: str) -> bool:
        """Whether the answer is a refusal; it must be one of these."""
        if isinstance(answer, Problem):
            assert answer.code in codes, (answer.code, answer.detail)
            return True
        return False

    # ── credit ──────────────────────────────────────────────────────────────────────────────────────────────

    @rule(by_coordinator=st.booleans(), agent=FOUR, pesos=PESOS, kind=KINDS, dies=DIES, wait=st.booleans())
    def give(self, by_coordinator: bool, agent: int, pesos: int, kind: str, dies: int, wait: bool) -> None:
        giver, taker = self.giver(by_coordinator, agent), self.agents[agent]
        self._move(credit.give, giver, taker, pesos * 100, kind, dies, wait)

    @rule(by_coordinator=st.booleans(), agent=FOUR, pesos=PESOS, kind=KINDS, dies=DIES, wait=st.booleans())
    def take(self, by_coordinator: bool, agent: int, pesos: int, kind: str, dies: int, wait: bool) -> None:
        self._move(
            deductions.take, self.giver(by_coordinator, agent), self.agents[agent], pesos * 100, kind, dies, wait
        )

    @rule(which=TWO, pesos=st.integers(-60, 60).filter(bool))
    def give_coordinator(self, which: int, pesos: int) -> None:
        move = credit.give if pesos > 0 else deductions.take
        self._move(move, self.admins[0], self.coordinators[which], abs(pesos) * 100, "load", 0, False)

    def _move(self, move: Any, actor: int, target: int, amount: int, kind: str, dies: int, wait: bool) -> None:
        key, giving = new_id(), move is credit.give
        payer = actor if giving else target
        wallets = self._wallets()
        left = self.figures().whole.get(payer, wallets[payer])
        pays = not giving or self.model.people[actor].role == "coordinator"

        def call() -> Any:
            return move(self.res, actor, target, amount, kind, None, key)

        def learn(answer: Any, straight: bool) -> None:
            if self.refused(answer, "insufficient_credit", "forbidden", "not_found", "token_revoked"):
                if answer.code == "insufficient_credit":
                    self.answered.append((call, answer))
                    assert not straight or answer.extra["available"] == left < amount
                return
            assert not straight or not pays or left >= amount
            assert answer[0] == 201
            self.answered.append((call, answer))
            self.model.give(actor, target, amount if giving else -amount, kind)

        self.ask(call, learn, dies, wait)

    def _wallets(self) -> dict[int, int]:
        with self.res.sessions() as session:
            return {w.user_id: w.balance + w.credit_limit for w in session.scalars(select(Wallet))}

    @precondition(lambda self: self.answered)
    @rule(index=ANY)
    def repeat(self, index: int) -> None:
        """The same key again: the same answer, and nothing moves."""
        call, first = self.answered[index % len(self.answered)]

        def learn(answer: Any, _: bool) -> None:
            if isinstance(first, Problem):
                assert self.refused(answer, first.code, "token_revoked")
            else:
                assert self.refused(answer, "token_revoked") or answer == first

        self.ask(call, learn)

    @rule(agent=FOUR, pesos=st.integers(0, 40), dies=DIES, wait=st.booleans())
    def set_limit(self, agent: int, pesos: int, dies: int, wait: bool) -> None:
        user, limit, alone = self.agents[agent], pesos * 100, not self.unfinished
        left, person = self.figures().whole[user], self.model.people[user]

        def learn(answer: Any, straight: bool) -> None:
            too_low = self.refused(answer, "insufficient_credit")
            if straight and alone:
                assert too_low == (left < person.limit - limit)
            if not too_low:
                person.limit = limit

        self.ask(lambda: self._change(user, credit_limit=limit), learn, dies, wait)

    def _change(self, user: int, **data: Any) -> Any:
        return user_changes.change_user(self.res, self.model.house_of(user), user, data)

    # ── people ──────────────────────────────────────────────────────────────────────────────────────────────

    @rule(who=st.integers(0, 5), bp=st.integers(0, 1_500), dies=DIES)
    def set_commission(self, who: int, bp: int, dies: int) -> None:
        user = [*self.agents, *self.coordinators][who]
        most = self.model.most_earned(user, bp, self.model.people[user].chain)

        def learn(answer: Any, _: bool) -> None:
            if self.refused(answer, "invalid"):
                assert most > self.res.settings.commission_bp_max
                return
            assert most <= self.res.settings.commission_bp_max
            assert answer["commission_bp"] == bp
            if self.model.people[user].rates[-1][1] != bp:
                self.model.set_rate(user, bp)

        self.ask(lambda: self._change(user, commission_bp=bp), learn, dies)

    @rule(agent=st.integers(0, 2), parent=st.integers(0, 2), dies=DIES)
    def move_agent(self, agent: int, parent: int, dies: int) -> None:
        person, above = self.model.people[self.agents[agent]], [*self.coordinators, self.admins[0]][parent]
        chain = [*self.model.people[above].chain, above]
        too_much = self.model.most_earned(person.id, person.rates[-1][1], chain) > self.res.settings.commission_bp_max

        def learn(answer: Any, _: bool) -> None:
            if self.refused(answer, "invalid"):
                assert too_much
                return
            assert answer["parent_id"] == above
            if person.chain[-1] != above:
                person.chain = chain
                self.model.set_rate(person.id, person.rates[-1][1])

        self.ask(lambda: self._change(person.id, parent_id=above), learn, dies)

    @rule(who=st.integers(0, 5), more=st.booleans(), dies=DIES)
    def suspend_or_reactivate(self, who: int, more: bool, dies: int) -> None:
        """Mostly one at a time, or soon nobody would do anything any more."""
        stopped = [one for one in self.model.people.values() if one.suspended]
        chosen = self.model.people[[*self.agents, *self.coordinators][who]]
        person = chosen if more or not stopped else stopped[0]
        admin, suspends = self.model.house_of(person.id), not person.suspended

        def call() -> Any:
            if suspends:
                return standing.suspend(self.res, admin, person.id, "a complaint")
            return standing.reactivate(self.res, admin, person.id)

        def learn(answer: Any, _: bool) -> None:
            assert not self.refused(answer)
            person.suspended = suspends
            assert (answer["status"] == "suspended") == self.model.stands_suspended(person.id)

        self.ask(call, learn, dies)

    # ── tickets ─────────────────────────────────────────────────────────────────────────────────────────────

    @rule(agent=FOUR, draw=TWO, bets=LINES, dies=DIES, wait=st.booleans())
    def sell(self, agent: int, draw: int, bets: list[str], dies: int, wait: bool) -> None:
        name, user, before = self.selling(draw), self.agents[agent], self.figures()
        sale = Sale(user, new_id(), tuple(map(line, bets)))
        stake = sum(one.stake for one in sale.lines)
        fits = self._fits(name, sale, before.exposures.get(name))

        def learn(answer: Any, straight: bool) -> None:
            closed = "cutoff_passed", "draw_not_open", "no_such_draw"
            straight = straight and before.healthy
            if self.refused(answer, "insufficient_credit", "sold_out", "agent_suspended", *closed):
                if answer.code == "insufficient_credit" and straight:
                    assert answer.extra["available"] == before.held[user] < stake
                assert not straight or answer.code != "sold_out" or not fits
                assert not straight or answer.code != "agent_suspended" or user in before.suspended
                return
            assert not straight or (stake <= before.held[user] and fits and user not in before.suspended)
            assert answer["serial"] not in self.model.draws[name].serials, "a serial was issued twice"
            self.model.sold(Sold(name, answer["serial"], user, sale.lines, answer, sale.id))

        self.ask(lambda: sell(self.res, name, sale)[0], learn, dies, wait)

    def _fits(self, name: str, sale: Sale, exposures: Any) -> bool:
        """Whether the limits in force leave room for it."""
        row = read_draw(self.res, name)
        if exposures is None or row.limits is None:
            return False
        plays = {"s": "straight", "r": "rambolito"}
        sold = {(plays[field[0]], field[1:]): stake for field, stake in exposures[1].items()}
        return not take("3D", row.prize_table or {}, Limits.from_dict(row.limits), sold, sale.lines)

    @precondition(lambda self: self.model.tickets)
    @rule(index=ANY)
    def sell_again(self, index: int) -> None:
        """The terminal repeats a sale of which it has the receipt: that one again, whatever happened since."""
        ticket = picked(self.model.tickets, index)

        def learn(answer: Any, _: bool) -> None:
            if self.refused(answer, "id_cancelled"):
                assert ticket.cancelled
            else:
                assert (answer["number"], answer["code"]) == (ticket.receipt["number"], ticket.receipt["code"])

        sale = Sale(ticket.agent, ticket.id, ticket.lines)
        self.finish()
        self.ask(lambda: sell(self.res, ticket.draw, sale)[0], learn)

    @precondition(lambda self: self.model.tickets)
    @rule(index=ANY, live=st.booleans(), by_id=st.booleans(), dies=DIES, wait=st.booleans())
    def void(self, index: int, live: bool, by_id: bool, dies: int, wait: bool) -> None:
        selling = [t for t in self.model.tickets if live and not t.voided and self.status(t.draw) == "open"]
        ticket = picked(selling or self.model.tickets, index)

        def call() -> Any:
            if by_id:
                return void.cancel(self.res, ticket.agent, ticket.draw, ticket.id)
            return void.void(self.res, ticket.agent, ticket.receipt["number"], "wrong number")

        def learn(answer: Any, straight: bool) -> None:
            if ticket not in self.model.tickets:
                return  # lost with the gate's server meanwhile
            if isinstance(answer, Problem) and answer.code == "already_voided":
                assert ticket.voided or not straight or self.unfinished  # by one who died and has not asked again
            elif self.refused(answer, "void_window_over"):
                return
            else:
                assert answer["status"] == "voided"
                assert not straight or by_id or not ticket.voided
            self.model.voided(ticket)
            ticket.cancelled = ticket.cancelled or by_id

        self.ask(call, learn, dies, wait)

    @rule(agent=FOUR, draw=TWO)
    def cancel_unseen(self, agent: int, draw: int) -> None:
        """An id that never arrived is dead from then on."""
        name, user, ticket_id = self.selling(draw), self.agents[agent], new_id()

        def learn(answer: Any, straight: bool) -> None:
            if not self.refused(answer, "draw_not_open") and straight:
                assert answer == {"status": "never_sold"}
                again = self._answer(lambda: sell(self.res, name, Sale(user, ticket_id, (line("s731:1"),))), [])
                assert self.refused(again, "id_cancelled", "cutoff_passed", "draw_not_open")

        self.ask(lambda: void.cancel(self.res, user, name, ticket_id), learn)
