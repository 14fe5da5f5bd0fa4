"""Tickets that the database refuses, and two persons who annul them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import redis
from sqlalchemy import select

from actions import results
from actions.annulling import annul
from actions.books import check
from actions.dead_letters import page
from actions.draws import close
from actions.reconcile import reconcile
from actions.resources import Resources
from actions.void import void
from models.dead_letters import DeadLetter, LetterFilter
from models.people import WalletOutbox
from rules.errors import Problem
from tasks.persist import persist
from tests.integration.after_sales import as_owner, later, read_draw, status
from tests.integration.conftest import Lottery, new_id
from tests.integration.gate_figures import figures

WHY = "the database will never take it"
BAD = "s300:10"


def refuse_300(res: Resources) -> None:
    """From here on the database takes no bet on 300."""
    with as_owner(res) as connection:
        connection.execute("ALTER TABLE ticket_lines ADD CONSTRAINT not_300 CHECK (number <> '300')")


def take_300(res: Resources) -> None:
    with as_owner(res) as connection:
        connection.execute("ALTER TABLE ticket_lines DROP CONSTRAINT not_300")


def drained(lottery: Lottery, draw: str) -> list[int]:
    """Closes and drains the draw; the ids of its waiting letters in journal order."""
    close(lottery.res, lottery.person("admin"), draw)
    persist(lottery.res, draw)
    assert status(lottery.res, draw) == "closed"
    return waiting(lottery.res, draw)


def waiting(res: Resources, draw: str) -> list[int]:
    items = page(res, LetterFilter(draw=draw), 500)["items"]
    return [item["id"] for item in sorted(items, key=lambda item: tuple(map(int, item["position"].split("-"))))]


def annulled_by(res: Resources, letter_id: int, first: int, second: int) -> dict[str, Any]:
    """Both persons do it."""
    code, asked = annul(res, first, letter_id, WHY)
    assert (code, asked) == (202, {"status": "awaiting_confirmation", "id": letter_id, "reason": WHY})
    code, body = annul(res, second, letter_id, WHY)
    assert (code, body["status"], body["ended_by"]) == (200, "annulled", second)
    return body


def annul_all(lottery: Lottery, letters: Sequence[int]) -> None:
    first, second = lottery.person("admin"), lottery.person("admin")
    for letter_id in letters:
        annulled_by(lottery.res, letter_id, first, second)


def letter_statuses(res: Resources) -> list[str]:
    with res.sessions() as session:
        return list(session.scalars(select(DeadLetter.status).order_by(DeadLetter.id)))


def given_back(res: Resources) -> list[tuple[int, int]]:
    """(agent, centavos) of every row that an annulled ticket has sent to the gate."""
    with res.sessions() as session:
        rows = select(WalletOutbox.user_id, WalletOutbox.amount).where(WalletOutbox.reason == "annulled")
        return [(user_id, amount) for user_id, amount in session.execute(rows)]


def available(res: Resources, agent: int) -> int:
    """What the gate lets the agent spend, centavos."""
    client = redis.Redis.from_url(res.settings.redis_url)
    try:
        return int(client.hget(f"wallet:{agent}", "available"))  # type: ignore[arg-type]
    finally:
        client.close()


def credit_is_right(res: Resources) -> bool:
    """Whether the gate's credit is what the database and the journals' tails make of it. Of no use while letters wait:
    the figures do not know them."""
    client = redis.Redis.from_url(res.settings.redis_url)
    try:
        found = figures(res, client)
    finally:
        client.close()
    return found.healthy and found.held == found.due == found.whole


def outcome(call: Any) -> Any:
    """What a call gives; of a problem its code."""
    try:
        return call()
    except Problem as problem:
        return problem.code


def reconcile_anew(res: Resources) -> None:
    """The gate comes back empty."""
    res.gate._client.flushall()
    assert reconcile(res)


class Refused:
    """A drained draw with tickets of ₱1 that count before and behind one of ₱10 on 300, which is a dead letter."""

    def __init__(self, lottery: Lottery, *, voided: bool = False) -> None:
        self.lottery, self.res = lottery, lottery.res
        self.agent, self.draw = lottery.person(pesos=100), lottery.draw(minute=lottery.next_minute())
        self.first, self.second = lottery.person("admin"), lottery.person("admin")
        self.id = new_id()
        self.receipts = [
            lottery.sell(self.draw, self.agent, "s301:1"),
            lottery.sell(self.draw, self.agent, BAD, ticket_id=self.id),
            lottery.sell(self.draw, self.agent, "s302:1"),
        ]
        self.bad = self.receipts[1]
        if voided:
            void(self.res, self.agent, self.bad["number"], "typed wrong")
        self.letters = drained(lottery, self.draw)

    @property
    def letter(self) -> int:
        return self.letters[0]

    def annul(self) -> None:
        annulled_by(self.res, self.letter, self.first, self.second)

    def result(self, number: str) -> Resources:
        """Enters and confirms the result; the resources of after the draw."""
        res, row = later(self.res), read_draw(self.res, self.draw)
        results.enter(res, self.first, self.draw, number, row.date, row.time)
        results.confirm(res, self.second, self.draw, number, row.date, row.time)
        return res

    def differences(self) -> list[str]:
        with self.res.sessions() as session:
            return check(session)
