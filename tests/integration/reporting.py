"""A lottery with two areas and everything in it that reports tell of; and the same figures made from the raw rows."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import text

from actions import claim_decisions, claims, credit, holds
from actions.credit import push_outbox
from actions.resources import Resources
from actions.void import void
from models.draws import draw_by_name
from models.people import User
from reports.document import Column, Document, Kind, Table
from reports.kinds import Scope, Sources
from reports.registry import KINDS
from rules.errors import Problem
from rules.games import match_key
from tasks.persist import persist
from tasks.settle import settle
from tasks.void_draw import void_draw
from tests.integration.after_sales import as_owner, decide, resulted
from tests.integration.conftest import Lottery, new_id
from tests.integration.counters import PAYEE, House
from tests.integration.test_commissions import rate
from tests.integration.wallets import take

_TYPES: dict[Kind, type] = {
    Kind.TEXT: str,
    Kind.ID: int,
    Kind.COUNT: int,
    Kind.MONEY: int,
    Kind.SHARE: int,
    Kind.INSTANT: datetime,
    Kind.DATE: date,
}

# Few, so that many tickets stand on the same.
_NUMBERS = ("046", "064", "112", "123", "321", "777")


class World:
    """superadmin > admin > north > inner > ana and bea; north > carl; admin > south > dina. Another admin with xeno.

    Draws: `corrected` settled twice, `settled`, `voided`, and `open` of which a part is not stored yet.
    """

    def __init__(self, lottery: Lottery, seed: int = 1) -> None:
        self.lottery, self.res = lottery, lottery.res
        self.chance = random.Random(seed)
        self.superadmin = lottery.person("superadmin")
        self.operator = lottery.person("operator", parent=self.superadmin)
        self.admin = lottery.person("admin", parent=self.superadmin)
        self.north = lottery.person("coordinator", pesos=50_000, parent=self.admin)
        self.inner = lottery.person("coordinator", pesos=20_000, parent=self.north)
        self.south = lottery.person("coordinator", pesos=20_000, parent=self.admin)
        self.other_admin = lottery.person("admin", parent=self.superadmin)
        self.ana, self.bea = (lottery.person(pesos=5_000, parent=self.inner) for _ in range(2))
        self.carl = lottery.person(pesos=5_000, parent=self.north)
        self.dina = lottery.person(pesos=5_000, parent=self.south)
        self.xeno = lottery.person(pesos=5_000, parent=self.other_admin)
        self.agents = (self.ana, self.bea, self.carl, self.dina, self.xeno)
        earners = (*self.agents, self.inner, self.north, self.south)
        for user, bp in zip(earners, (800, 751, 640, 555, 1_000, 150, 33, 77), strict=True):
            rate(lottery, user, bp)
        minutes = [lottery.next_minute() for _ in range(4)]
        self.corrected, self.settled, self.voided, self.open = (lottery.draw(minute=minute) for minute in minutes)
        self.receipts: dict[str, list[dict[str, Any]]] = {}

    # ── what happens ────────────────────────────────────────────────────────────────────────────────────────

    def sell(self, draw: str, count: int) -> None:
        """Tickets of one to four lines by agents in turn; every fifth is voided."""
        for i in range(count):
            agent = self.agents[i % len(self.agents)]
            receipt = self.lottery.sell(draw, agent, *self._lines(i))
            if i % 5 == 3:
                void(self.res, agent, receipt["number"], "typed wrong")
            else:
                self.receipts.setdefault(draw, []).append(receipt)

    def _lines(self, i: int) -> list[str]:
        lines = []
        for _ in range(1 + i % 4):
            number = self.chance.choice(_NUMBERS)
            play = "s" if number == "777" else self.chance.choice("sr")
            lines.append(f"{play}{number}:{self.chance.randint(1, 40)}")
        return lines

    def run(self) -> Resources:
        """Everything; the resources of after the draws."""
        for draw in (self.corrected, self.settled, self.voided, self.open):
            self.sell(draw, 40)
        self.pay()
        self._settle(self.corrected, "046")
        self.claim_some(self.corrected)
        house = House.__new__(House)
        house.res, house.draw, house.admin, house.other_admin = self.res, self.corrected, self.admin, self.other_admin
        house.correct("064")
        self._settle(self.settled, "123")
        self.claim_some(self.corrected)
        self.claim_some(self.settled)
        decide(self.lottery, self.voided)
        persist(self.lottery.res, self.voided)
        assert void_draw(self.lottery.res, self.voided)
        persist(self.lottery.res, self.open)
        push_outbox(self.lottery.res)
        return self.res

    def _settle(self, draw: str, number: str) -> None:
        self.res = resulted(self.lottery, draw, number)
        assert settle(self.res, draw)

    def pay(self) -> None:
        """Loads, remittances, shortages and corrections, from above and between those of one branch."""
        for actor, user, pesos, kind in (
            (self.north, self.ana, 70, "load"),
            (self.north, self.inner, 55, "load"),
            (self.inner, self.bea, 31, "remittance"),
            (self.admin, self.north, 500, "remittance"),
            (self.south, self.dina, 12, "shortage"),
            (self.admin, self.ana, 9, "correction"),
            (self.other_admin, self.xeno, 77, "remittance"),
        ):
            credit.give(self.lottery.res, actor, user, pesos * 100, kind, None, new_id())
        take(self.lottery, self.inner, self.ana, 17, "remittance")
        take(self.lottery, self.admin, self.dina, 23, "load")
        take(self.lottery, self.north, self.carl, 5, "shortage")

    def claim_some(self, draw: str) -> None:
        """Of the draw's winners some are paid, here and elsewhere; some wait, some are held, some nobody fetches."""
        for i, receipt in enumerate(self.receipts[draw]):
            actor = (receipt["agent_id"], self.admin, self.north, None)[i % 4]
            if actor is None:
                continue
            try:
                claims.claim(self.res, actor, receipt["number"], receipt["code"], PAYEE)
            except Problem:
                continue
        waiting = claim_decisions.page(self.res, self.superadmin, "pending", 500, None)["items"]
        for item in waiting[::2]:
            claim_decisions.approve(self.res, self.superadmin, item["id"])
        for receipt in self.receipts[draw][3::8]:
            holds.hold(self.res, self.superadmin, receipt["number"], "two claim it")

    def spread(self) -> None:
        """As if it had happened on three days."""
        self.owner("UPDATE entries SET made_at = made_at - (id % 3) * interval '1 day'")

    # ── what a report says ──────────────────────────────────────────────────────────────────────────────────

    def report(self, kind: str, viewer: int, draw: str | None = None, **scope: Any) -> Read:
        """A document, all of it read, in one snapshot as a report is made."""
        now = scope.pop("now", None)
        with self.res.sessions() as session:
            session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
            top = session.get_one(User, viewer)
            about = draw_by_name(session, draw) if draw is not None else None
            res = self.lottery.res
            sources = Sources(session, res.gate, res.journal, now or self.res.clock.now(), res.settings.claim_days)
            return Read(KINDS[kind].build(sources, Scope(top, about, **scope)))

    def days(self, before: int = 5, after: int = 1) -> dict[str, datetime]:
        """A period around now."""
        now = self.lottery.res.clock.now()
        return {"since": now - timedelta(days=before), "before": now + timedelta(days=after)}

    # ── the raw rows ────────────────────────────────────────────────────────────────────────────────────────

    def rows(self, statement: str, **values: Any) -> list[Any]:
        with self.res.sessions() as session:
            return list(session.execute(text(statement), values).all())

    def owner(self, statement: str) -> None:
        with as_owner(self.lottery.res) as connection:
            connection.execute(statement)  # type: ignore[call-overload]

    def below(self, user: int) -> set[int]:
        """The user and everyone under him, from the parents alone."""
        parents = dict(self.rows("SELECT id, parent_id FROM users"))
        found = {user}
        while more := {child for child, parent in parents.items() if parent in found} - found:
            found |= more
        return found

    def seen(self, viewer: int) -> set[int]:
        if viewer in (self.superadmin, self.operator):
            return {row.id for row in self.rows("SELECT id FROM users")}
        return self.below(viewer)


class Read:
    """A document as something to compare: facts by name, rows of each table by column."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.facts = {fact.name: fact.value for fact in document.facts}
        assert len(self.facts) == len(document.facts), "two facts of one name"
        for fact in document.facts:
            _must_be(fact.value, fact.kind, fact.name)
        self.tables = {table.name: _read(table) for table in document.tables}
        self.totals = {table.name: dict(table.totals) for table in document.tables}

    def by(self, table: str, *columns: str) -> dict[Any, dict[str, Any]]:
        """The rows by what stands in these columns, which has to be different for each."""
        rows = self.tables[table]
        found = {tuple(row[c] for c in columns) if len(columns) > 1 else row[columns[0]]: row for row in rows}
        assert len(found) == len(rows)
        return found

    def words(self) -> set[Any]:
        """Every value in it."""
        rows = [value for table in self.tables.values() for row in table for value in row.values()]
        return {*self.facts.values(), *rows}


def _read(table: Table) -> list[dict[str, Any]]:
    rows = [_row(table.columns, row) for row in table.rows]
    for name, total in table.totals.items():
        assert total == sum(row[name] or 0 for row in rows), (table.name, name)
    return rows


def _row(columns: Sequence[Column], row: Sequence[Any]) -> dict[str, Any]:
    for column, value in zip(columns, row, strict=True):
        _must_be(value, column.kind, column.name)
    names = [column.name for column in columns]
    assert len(set(names)) == len(names)
    return dict(zip(names, row, strict=True))


def _must_be(value: Any, kind: Kind, name: str) -> None:
    assert value is None or type(value) is _TYPES[kind], (name, value)
    assert not isinstance(value, datetime) or value.tzinfo is not None, name


# ── the same figures, one ticket at a time ──────────────────────────────────────────────────────────────────


@dataclass
class Sold:
    """A ticket with its lines (play, number, stake)."""

    draw: str
    serial: int
    agent: int
    voided: bool
    lines: list[tuple[str, str, int]]

    @property
    def stake(self) -> int:
        return sum(stake for _, _, stake in self.lines)


def tickets(world: World) -> list[Sold]:
    """Every stored ticket, from its own rows."""
    voided = {(row.draw_id, row.ticket_serial) for row in world.rows("SELECT * FROM voids WHERE stake > 0")}
    names = dict(world.rows("SELECT id, name FROM draws"))
    lines: dict[tuple[int, int], list[tuple[str, str, int]]] = {}
    for row in world.rows("SELECT * FROM ticket_lines ORDER BY draw_id, serial, line_no"):
        lines.setdefault((row.draw_id, row.serial), []).append((row.play, row.number, row.stake))
    found = []
    for row in world.rows("SELECT * FROM tickets ORDER BY draw_id, serial"):
        place = row.draw_id, row.serial
        found.append(Sold(names[row.draw_id], row.serial, row.agent_id, place in voided, lines[place]))
    return found


def wins(sold: Sold, result: str) -> list[tuple[str, str, int, int]]:
    """(play, number, stake, prize) of the lines that win by the default prizes of 3D."""
    found = []
    for play, number, stake in sold.lines:
        pays = 0
        if play == "straight" and number == result:
            pays = 450
        if play == "rambolito" and sorted(number) == sorted(result):
            pays = 150 if len(set(number)) == 2 else 75
        if pays and not sold.voided:
            found.append((play, number, stake, stake * pays))
    return found


def stakes_on(all_sold: Sequence[Sold]) -> dict[tuple[str, str], int]:
    """Live stake by (play, key)."""
    found: dict[tuple[str, str], int] = {}
    for sold in all_sold:
        for play, number, stake in sold.lines if not sold.voided else ():
            bet = play, match_key("3D", play, number)
            found[bet] = found.get(bet, 0) + stake
    return found


@dataclass(frozen=True)
class Moved:
    """A posting on a wallet."""

    user: int
    kind: str
    draw: str | None
    at: datetime
    amount: int


def postings(world: World) -> list[Moved]:
    names = dict(world.rows("SELECT id, name FROM draws"))
    users = dict(world.rows("SELECT id, user_id FROM accounts WHERE kind = 'wallet'"))
    entries = {row.id: row for row in world.rows("SELECT * FROM entries")}
    found = []
    for row in world.rows("SELECT * FROM postings"):
        if row.account_id in users:
            entry = entries[row.entry_id]
            found.append(Moved(users[row.account_id], entry.kind, names.get(entry.draw_id), entry.made_at, row.amount))
    return found


def summed(rows: Sequence[Moved], wanted: Callable[[Moved], bool]) -> int:
    return sum(row.amount for row in rows if wanted(row))


RESULTS: Mapping[str, str] = {"corrected": "064", "settled": "123"}
