"""Shortcuts for tests of what comes after the sales: draining, sealing, tampering with either source."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar

import psycopg
import redis
from sqlalchemy import select

from actions import results, voiding
from actions.draws import close
from actions.resources import Resources
from intake.gate import Held, Sale
from intake.records import Position
from models.draws import Draw, draw_by_name
from models.ledger import balances
from models.people import Wallet
from models.settlement import SealFailure
from rules.tickets import Line
from runtime.clock import FixedClock
from tasks.persist import persist
from tasks.seal import seal
from tests.integration.conftest import Lottery, new_id

T = TypeVar("T")


def later(res: Resources, hours: float = 3) -> Resources:
    """The same resources under a clock that stands so much later; the tests' draws are drawn in two hours."""
    return replace(res, clock=FixedClock(res.clock.now() + timedelta(hours=hours)))


def time_to_claim_over(res: Resources) -> Resources:
    """The same resources where the time to claim is over, for which the database's clock has to agree: it ended on the
    day before the draw."""
    return replace(res, settings=replace(res.settings, claim_days=-1))


def sell_many(lottery: Lottery, draw: str, agent: int, count: int) -> list[Held]:
    """Tickets of two lines of ₱1 each, spread over the numbers."""
    sales = []
    for i in range(count):
        lines = Line("straight", f"{i % 1000:03d}", 100), Line("rambolito", f"{1 + i % 8}90"[::-1], 100)
        sales.append(Sale(agent, new_id(), lines if i % 3 == 0 else lines[:1]))
    held = []
    for start in range(0, count, 500):
        answers = lottery.res.gate.sell(draw, sales[start : start + 500])
        held += [answer for answer in answers if isinstance(answer, Held)]
    assert len(held) == count
    return held


def drain(lottery: Lottery, draw: str) -> None:
    """Closes the draw, as its cutoff would, and stores everything up to its close marker."""
    close(lottery.res, lottery.person("admin"), draw)
    persist(lottery.res, draw)
    assert status(lottery.res, draw) == "closed"


def sealed(lottery: Lottery, draw: str) -> None:
    """Drains and seals."""
    drain(lottery, draw)
    assert seal(lottery.res, draw)


def resulted(lottery: Lottery, draw: str, number: str) -> Resources:
    """Seals and gets a result from two persons; the resources of after the draw."""
    sealed(lottery, draw)
    res, row = later(lottery.res), read_draw(lottery.res, draw)
    results.enter(res, lottery.person("admin"), draw, number, row.date, row.time)
    results.confirm(res, lottery.person("admin"), draw, number, row.date, row.time)
    return res


def decide(lottery: Lottery, draw: str, res: Resources | None = None) -> int:
    """Two administrators decide; the second one's id."""
    second = lottery.person("admin")
    voiding.ask(res or lottery.res, lottery.person("admin"), draw, "the machine broke")
    assert voiding.confirm(res or lottery.res, second, draw) == {"status": "voiding", "draw_id": draw}
    return second


def jump(lottery: Lottery, draw: str, first: int, last: int) -> None:
    """A gap record as a rebuild writes it, and the gate going on behind it."""
    lottery.res.rebuild.append(draw, Position(last, 0), f"g|{lottery.res.rebuild.now_ms()}|{first}|{last}".encode())
    client = redis.Redis.from_url(lottery.res.settings.redis_url)
    client.hset(f"draw:{draw}", mapping={"serial": last, "sub": 0})
    client.close()


def read_draw(res: Resources, draw: str) -> Draw:
    with res.sessions() as session:
        found = draw_by_name(session, draw)
    assert found is not None
    return found


def status(res: Resources, draw: str) -> str:
    return read_draw(res, draw).status


def wallet(res: Resources, user_id: int) -> Wallet:
    with res.sessions() as session:
        return session.get_one(Wallet, user_id)


def ledger(res: Resources) -> dict[str, int]:
    """Sum of the postings by kind of account."""
    with res.sessions() as session:
        return dict(balances(session))


def failures(res: Resources) -> list[Any]:
    """The difference reports of attempts to seal, oldest first."""
    with res.sessions() as session:
        return list(session.scalars(select(SealFailure.difference).order_by(SealFailure.id)))


@contextmanager
def as_owner(res: Resources) -> Iterator[psycopg.Connection]:
    """The database as somebody who owns the tables, and may change what the application cannot."""
    url = res.settings.owner_database_url
    assert url is not None
    with psycopg.connect(url.replace("+psycopg", "", 1), autocommit=True) as connection:
        yield connection


Journal = list[tuple[bytes, bytes]]


def rewrite_journal(res: Resources, draw: str, change: Callable[[Journal], Journal]) -> None:
    """Replaces the journal by what `change` makes of its (id, record) pairs."""
    client = redis.Redis.from_url(res.settings.redis_url)
    key = f"draw:{draw}:journal"
    records = [(place, fields[b"r"]) for place, fields in client.xrange(key)]
    client.delete(key)
    for place, raw in change(records):
        client.xadd(key, {"r": raw}, id=place)
    client.close()


def rung(lottery: Lottery, task: str, *arguments: str) -> bool:
    """Whether the task is rung for; the doorbell publishes from a thread of its own."""
    deadline = time.monotonic() + 10
    while (task, arguments) not in lottery.rings.sent:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def killed(*_: object, **__: object) -> Any:
    """Put in the place of a function: here the process dies."""
    raise KeyboardInterrupt


def at_once(call: Callable[[], T], times: int = 4) -> list[T | Exception]:
    """What the same call gives in several threads at once; an exception counts as an answer."""

    def answer(_: int) -> T | Exception:
        try:
            return call()
        except Exception as problem:
            return problem

    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(answer, range(times)))
