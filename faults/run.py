"""One run from the first process to the calm: people, sale, faults in time, draws to their ends, prizes paid."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg

from demo.calls import Caller, Unexpected
from demo.crowd import GAME, Counter
from demo.people import People, make_people
from demo.servers import READY_WAIT_S, Servers
from faults.book import read_book
from faults.breaking import Breaker, Mend, superuser
from faults.disk import Disk
from faults.held import Held
from faults.office import Office
from faults.plan import Plan
from faults.sales import Sales
from faults.sources import leftovers, read_journal
from faults.timeline import Timeline
from faults.verdict import Finding, held_by
from rules.games import prize

CREDIT = 500_000_00  # of a terminal, in centavos: it is not what stops a sale here
CALM_S = 400  # until everything that was begun has been done
LOOK_S = 0.5
# On a disk of its own PostgreSQL must not keep a gigabyte of its log.
POSTGRES_CONF = {"max_wal_size": "128MB", "min_wal_size": "64MB"}
# Short enough that tokens are refreshed in the middle of it.
ENVIRON = {"ACCESS_TOKEN_MINUTES": "2"}


class Run:
    """Everything that runs. `stop` may be called at any time."""

    def __init__(self, folder: Path, plan: Plan, disk: Disk) -> None:
        self.plan, self.timeline = plan, Timeline()
        self.servers = Servers(folder)
        self._folder, self._disk = folder, disk
        self._mends: list[tuple[float, Mend]] = []
        self._ends = ExitStack()

    def play(self, terminals: int) -> None:
        """The whole plan, and the calm after it. Raises Unexpected."""
        self._disk.mount()
        os.environ.update(ENVIRON)
        self._ends.callback(self.servers.stop)
        self.servers.start()
        superadmin = self._wait_ready()
        self._configure()
        counters = [Counter(index, (), (), CREDIT) for index in range(terminals)]
        self.people: People = make_people(superadmin, counters, lambda _: None)
        for caller in (*self.people.admins, *self.people.superadmins):
            self._ends.callback(caller.close)
        books = self._folder / "books"
        books.mkdir(mode=0o700)
        self.sales = Sales(self.servers.port, self.plan.seed, books)
        self._ends.callback(self.sales.kill)
        self.breaker = Breaker(self.servers, self.sales, self._disk, self.timeline)
        self.office = Office(self.plan, self.people, self.sales.port, books, self.timeline)
        self.office.read_journal = lambda draw: read_journal(self.servers, draw)
        self.office.settled = self._pay_winners
        self._ends.callback(self.office.stop)
        self._ends.callback(self._mend_all)
        began = self.timeline.begin()
        self.office.start(began)
        self.sales.open(self.people.terminals)
        self._break_things(began)
        self._calm_down()

    def _wait_ready(self) -> Caller:
        deadline = time.monotonic() + READY_WAIT_S
        while not self.servers.ready():
            if time.monotonic() > deadline:
                raise Unexpected(f"the servers are not ready after {READY_WAIT_S} s; see {self._folder / 'log'}")
            time.sleep(0.2)
        return Caller(self.servers.port, "superadmin", self.servers.superadmin_password)

    def _configure(self) -> None:
        with superuser(self.servers) as sql:
            for name, value in POSTGRES_CONF.items():
                sql.execute(f"ALTER SYSTEM SET {name} = '{value}'")
            sql.execute("SELECT pg_reload_conf()")

    # ── faults ────────────────────────────────────────────────────────────────────────────────────────────────

    def _break_things(self, began: float) -> None:
        """In the main thread, so that what it starts ends with this program."""
        for fault in self.plan.faults:
            self._mend_until(began + fault.at)
            mend = self.breaker.carry_out(fault)
            if mend is not None:
                self._mends.append((began + fault.at + fault.seconds, mend))
        self._mend_until(began + self.plan.seconds)
        self._mend_all()

    def _mend_until(self, instant: float) -> None:
        while (now := time.time()) < instant:
            for item in [item for item in self._mends if item[0] <= now]:
                self._mends.remove(item)
                item[1]()
            time.sleep(max(0.0, min(0.1, instant - now)))

    def _mend_all(self) -> None:
        for item in self._mends:
            item[1]()
        self._mends.clear()

    # ── prizes ────────────────────────────────────────────────────────────────────────────────────────────────

    def _pay_winners(self, draw: str, body: Mapping[str, Any]) -> None:
        """Told of each settlement."""
        self._pay(held_by(self.sales, self.people), draw, body["prize_table"], [body["result"]])

    def _pay(self, held: Held, draw: str, prizes: Mapping[str, int], results: Sequence[str]) -> None:
        """Everybody who holds a ticket that wins on one of the results comes with it, to two terminals."""
        for place in sorted(place for place in held.tickets.keys() - held.voided if place[0] == draw):
            lines = held.tickets[place].lines
            if any(prize(GAME, prizes, b.play, b.number, b.stake, result) for b in lines for result in results):
                self.sales.pay(held.receipts[place]["number"], held.receipts[place]["code"])

    # ── the calm ──────────────────────────────────────────────────────────────────────────────────────────────

    def _calm_down(self) -> None:
        """Nothing is broken any more, nothing sold; what was begun ends, and everybody is paid."""
        self.timeline.note("calm: nothing is broken any more")
        self.sales.weather({})
        self.sales.calm()
        deadline = time.monotonic() + CALM_S
        self._wait(deadline, lambda: self.office.busy, "the office is not done")
        held = held_by(self.sales, self.people)
        for draw in self.plan.draws:
            answer = self.people.admins[0].ask("GET", f"/v1/draws/{draw.name}")
            if answer.status == 200 and draw.results:  # also who won only before a correction: a counter may not know
                self._pay(held, draw.name, answer.body["prize_table"], draw.results)
        self._wait(deadline, lambda: self.sales.orders_left, "prizes are not paid")
        self._ended = self.sales.close()
        self.office.stop()
        self._wait(deadline, self._left, "something is left")
        self.timeline.note("all is quiet")

    def _wait(self, deadline: float, left: Callable[[], object], otherwise: str) -> None:
        """Until nothing is left; what is left in the end shows in the comparison."""
        while count := left():
            if time.monotonic() > deadline:
                self.timeline.note(f"{otherwise}: {count}")
                return
            time.sleep(LOOK_S)

    def _left(self) -> dict[str, int]:
        try:
            found = {what: count for what, count in leftovers(self.servers).items() if count}
        except psycopg.Error as error:
            return {repr(error): 1}
        found.pop("dead letters", None)  # they end only by a person's hand
        return found

    def findings(self) -> list[Finding]:
        """What went wrong on the way."""
        draws = len(self.plan.draws)
        office = [entry for entry in read_book(self.sales.folder / "office.jsonl") if not entry.status]
        return [
            Finding("answers the office cannot explain", "office", draws, self.office.surprises),
            Finding("draws whose life stopped", "office", draws, self.office.failures),
            Finding("calls of the office without an answer", "office", draws, [str(entry) for entry in office]),
            Finding("terminals that stopped", "terminals", len(self.people.terminals), self._ended),
        ]

    def stop(self) -> None:
        """Ends everything that was started, what came last first."""
        self._ends.close()
