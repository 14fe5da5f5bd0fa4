"""A house with counters at which winning tickets are claimed, for tests of claims."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar

import pytest
from sqlalchemy import select

from actions import claims, corrections
from actions.books import check
from actions.resources import Resources
from actions.stored_tickets import claim_until
from models.audit import AuditRow
from models.claims import Claim, OldWinner, Payout
from models.ledger import post
from rules.errors import Problem
from rules.tickets import old_code_digest
from runtime.clock import FixedClock
from tasks.settle import settle
from tests.integration.after_sales import as_owner, ledger, read_draw, resulted, time_to_claim_over, wallet
from tests.integration.conftest import Lottery

T = TypeVar("T")

PAYEE = {"name": "Maria Santos", "phone": "+63 917 000 0000", "id_no": "N01-23-456789"}
WINS = "s046:10"  # ₱4,500
WINS_HIGH = "s046:30"  # ₱13,500: taxed, and to be approved


class House:
    """superadmin > admin > coordinator > seller and clerk; another admin beside them with an agent of his own."""

    def __init__(self, lottery: Lottery) -> None:
        self.lottery = lottery
        self.superadmin = lottery.person("superadmin")
        self.admin = lottery.person("admin", parent=self.superadmin)
        self.coordinator = lottery.person("coordinator", parent=self.admin)
        self.seller = lottery.person(pesos=10_000, parent=self.coordinator)
        self.clerk = lottery.person(parent=self.admin)
        self.other_admin = lottery.person("admin", parent=self.superadmin)
        self.stranger = lottery.person(parent=self.other_admin)
        self.res = lottery.res
        self.draw = lottery.draw(minute=lottery.next_minute())

    def sell(self, *lines: str) -> dict[str, Any]:
        return self.lottery.sell(self.draw, self.seller, *lines)

    def settle(self, number: str = "046") -> None:
        """Draws the number; from here on `res` stands after the draw."""
        self.res = resulted(self.lottery, self.draw, number)
        assert settle(self.res, self.draw)

    def winner(self, *lines: str) -> dict[str, Any]:
        """The receipt of one ticket of a settled draw."""
        receipt = self.sell(*(lines or (WINS,)))
        self.settle()
        return receipt

    def correct(self, number: str, *, settled: bool = True) -> None:
        row, entry = read_draw(self.res, self.draw), ("the ball was misread",)
        corrections.ask(self.res, self.admin, self.draw, number, row.date, row.time, *entry)
        corrections.confirm(self.res, self.other_admin, self.draw, number, row.date, row.time, *entry)
        if settled:
            assert settle(self.res, self.draw)

    def claim(
        self, actor: int, receipt: dict[str, Any], payee: dict[str, str] | None = None, res: Resources | None = None
    ) -> tuple[int, dict[str, Any]]:
        return claims.claim(res or self.res, actor, receipt["number"], receipt["code"], payee)

    def after_claims(self) -> Resources:
        """Resources of the instant at which the time to claim is over."""
        over = time_to_claim_over(self.res)
        return replace(over, clock=FixedClock(claim_until(over, read_draw(over, self.draw))))

    def balance(self, user_id: int) -> int:
        return wallet(self.res, user_id).balance

    def account(self, kind: str) -> int:
        return ledger(self.res).get(kind, 0)

    def payout(self, receipt: dict[str, Any]) -> Payout | None:
        with self.res.sessions() as session:
            return session.get(Payout, receipt["number"])

    def claims_of(self, receipt: dict[str, Any]) -> list[Claim]:
        with self.res.sessions() as session:
            query = select(Claim).where(Claim.number == receipt["number"])
            return list(session.scalars(query.order_by(Claim.id)))

    def audited(self, action: str) -> list[AuditRow]:
        with self.res.sessions() as session:
            return list(session.scalars(select(AuditRow).where(AuditRow.action == action).order_by(AuditRow.id)))


def books_are_right(res: Resources) -> None:
    """Nothing in the books differs from what it stands for."""
    with res.sessions() as session:
        assert check(session) == []


def gate_knows(lottery: Lottery, user_id: int) -> None:
    """The gate holds of the agent's credit what his wallet says; all that he sold is stored."""
    lottery.push(user_id)
    row = wallet(lottery.res, user_id)
    held = lottery.res.gate._client.hget(f"wallet:{user_id}", "available")
    assert int(held or 0) == row.balance + row.credit_limit


def moved_in(lottery: Lottery, agent: int, number: str = "OLD-1", code: str = "QX7", prize: int = 500_000) -> OldWinner:
    """A winner of an older system, with the entry that owes his prize, to be claimed within a day."""
    key = lottery.res.settings.code_key
    winner = OldWinner(
        number=number,
        code_digest=old_code_digest(key, number, code),
        agent_id=agent,
        prize=prize,
        claim_until=lottery.res.clock.now() + timedelta(days=1),
    )
    with lottery.res.sessions.begin() as session:
        session.add(winner)
        post(session, "opening", {}, {"prizes_owed": prize, "opening": -prize})
    return winner


def old_winners_are_over(house: House) -> None:
    """As if they had moved in two days earlier."""
    with as_owner(house.res) as connection:
        connection.execute("UPDATE old_winners SET claim_until = claim_until - interval '2 days'")


def outcomes(calls: Sequence[Callable[[], T]], threads: int = 8) -> list[T | str]:
    """What the calls give, made in several threads in their order; of a refusal its code."""

    def outcome(call: Callable[[], T]) -> T | str:
        try:
            return call()
        except Problem as problem:
            return problem.code

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(outcome, calls))


def refused(house: House, receipt: dict[str, Any], problem: type[Problem], **changes: Any) -> Problem:
    """The refusal that a claim of the seller meets, or of whoever `changes` says."""
    asked = {"actor_id": house.seller, "code": receipt["code"], "payee": None, "res": house.res} | changes
    with pytest.raises(problem) as raised:
        claims.claim(asked["res"], asked["actor_id"], receipt["number"], asked["code"], asked["payee"])
    return raised.value
