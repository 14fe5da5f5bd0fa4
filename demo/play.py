"""The day from morning to night: people, sale, cutoffs, results, settlement."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from datetime import time as Time
from pathlib import Path

from demo.calls import Caller, Unexpected
from demo.crowd import counters
from demo.day import NOTICE_S, Day
from demo.people import People, make_people
from demo.sale import Sale
from demo.screen import Screen
from demo.servers import READY_WAIT_S, Servers

RATE_OVER_S = 3.0
# A cutoff is called when the rest should be sold in this time: somewhat before it comes, since the last are slower.
SOLD_WITHIN_S = NOTICE_S - 2.5
WATCH_S = 0.1


@dataclass(frozen=True)
class Wanted:
    """What is to be played. `numbers`: each draw's time, and what is drawn."""

    tickets: int
    terminals: int
    seed: int
    date: date
    numbers: Sequence[tuple[Time, str]]


def start(servers: Servers, screen: Screen) -> Caller:
    """Waits until the API can sell; the superadmin. Raises Unexpected."""
    screen.show("starting the servers", 0, 1)
    deadline = time.monotonic() + READY_WAIT_S
    while not servers.ready():
        if time.monotonic() > deadline:
            raise Unexpected(f"the servers are not ready after {READY_WAIT_S} s; see {servers.var_dir / 'log'}")
        time.sleep(0.1)
    screen.show("starting the servers", 1, 1)
    return Caller(servers.port, "superadmin", servers.superadmin_password)


def invite(superadmin: Caller, wanted: Wanted, screen: Screen) -> People:
    """Makes everybody. Raises Unexpected."""
    plan = counters(wanted.tickets, wanted.terminals, len(wanted.numbers))
    made = [0]

    def done(count: int) -> None:
        made[0] += count
        screen.show("making people", made[0], len(plan))

    screen.show("making people", 0, len(plan))
    return make_people(superadmin, plan, done)


def open_draws(servers: Servers, people: People, wanted: Wanted) -> Day:
    """Makes the draws, and waits until the workers keep up with the journals. Raises Unexpected."""
    day = Day(people, wanted.date, wanted.numbers)
    day.make_draws()
    deadline = time.monotonic() + READY_WAIT_S
    while servers.journal_lag() != 0:
        if time.monotonic() > deadline:
            raise Unexpected(f"the workers store nothing; see {servers.var_dir / 'log'}")
        time.sleep(0.1)
    return day


def play(servers: Servers, people: People, day: Day, wanted: Wanted, screen: Screen, folder: Path) -> float:
    """Sells, closes and settles everything; when the doors opened (seconds since 1970). Raises Unexpected."""
    asked = [sum(t.counter.customers[i] + t.counter.late[i] for t in people.terminals) for i in range(len(day.draws))]
    late = [sum(t.counter.late[i] for t in people.terminals) for i in range(len(day.draws))]
    sale = Sale(servers.port, [draw.name for draw in day.draws], people.terminals, folder, wanted.seed)
    try:
        sale.go()
        started_at = time.time()
        pace = _Pace()
        while not (sale.finished and day.settled):
            sale.check()
            answered = sale.answered
            pace.take(sum(answered))
            left = 0
            for place, draw in enumerate(day.draws):
                left += max(0, asked[place] - late[place] - answered[place])  # draws are sold one after the other
                if draw.cutoff is None and left <= pace.per_second * SOLD_WITHIN_S:
                    day.call_cutoff(place)
                screen.show(f"draw of {draw.time:%H:%M}", answered[place], asked[place], draw.stage)
            time.sleep(WATCH_S)
        for place, draw in enumerate(day.draws):
            screen.show(f"draw of {draw.time:%H:%M}", asked[place], asked[place], draw.stage)
    finally:
        sale.stop()
    return started_at


class _Pace:
    """Customers per second over the last seconds."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque([(time.monotonic(), 0)])

    def take(self, answered: int) -> None:
        self._seen.append((time.monotonic(), answered))
        while self._seen[-1][0] - self._seen[0][0] > RATE_OVER_S:
            self._seen.popleft()

    @property
    def per_second(self) -> float:
        (first_at, first), (last_at, last) = self._seen[0], self._seen[-1]
        return (last - first) / (last_at - first_at) if last_at > first_at else 0.0
