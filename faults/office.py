"""The administrators' side: makes, closes, voids draws, enters results and corrections, loads credit, approves claims.

Each draw has a thread that takes it from its opening to its end, whatever breaks meanwhile. Every call is safe to
repeat, and what was asked and answered stands in a book of the office's own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from demo.crowd import GAME
from demo.people import People
from faults.book import Book, Entry
from faults.person import Ended, Login, Person, wait_until
from faults.plan import DAY, DrawPlan, Load, Plan
from faults.sources import JournalCopy
from faults.timeline import Timeline

LOOK_S = 0.4
SOON_S = 1.5  # between two steps of people
APPROVE_S = 1.0
OVER = ("settled", "void")


class Office:
    """Runs from `start` until every draw is over."""

    def __init__(self, plan: Plan, people: People, port: int, folder: Path, timeline: Timeline) -> None:
        self.ended = threading.Event()
        self.journals: dict[str, JournalCopy] = {}  # the last copy that had its close marker
        self.surprises: list[str] = []  # answers that no rule explains
        self.failures: list[str] = []
        self.read_journal: Callable[[str], JournalCopy | None] = lambda _: None
        self.settled: Callable[[str, dict[str, Any]], None] = lambda *_: None  # told each time a draw is settled
        self._plan, self._timeline = plan, timeline
        self._book = Book(folder / "office.jsonl")
        callers = (*people.admins, *people.superadmins)
        self._logins = [Login(port, caller.username, caller.password, refreshes=False) for caller in callers]
        self._screens: list[Person] = []
        self._terminals = [terminal.user_id for terminal in people.terminals]
        self._threads: list[threading.Thread] = []

    def start(self, began: float) -> None:
        """`began`: the plan's beginning, in seconds since 1970."""
        lives = [lambda draw=draw: self._live(draw, began) for draw in self._plan.draws]
        for work in (*lives, lambda: self._load(self._plan.loads, began), self._approve):
            thread = threading.Thread(target=self._guarded, args=(work,), daemon=True)
            thread.start()
            self._threads.append(thread)

    @property
    def busy(self) -> int:
        """Draws and loads that are not done; approving never is."""
        return sum(thread.is_alive() for thread in self._threads[:-1])

    def stop(self) -> None:
        self.ended.set()
        for thread in self._threads:
            thread.join()
        for person in self._screens:
            person.close()

    def _screen(self, place: int) -> Person:
        """One of the staff at a screen of his own: two administrators, then two superadmins."""
        person = Person(self._logins[place], self._book, self.ended)
        self._screens.append(person)
        return person

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Ended:
            pass
        except BaseException as error:  # whoever started it looks
            self.failures.append(repr(error))

    # ── a draw's life ─────────────────────────────────────────────────────────────────────────────────────────

    def _live(self, draw: DrawPlan, began: float) -> None:
        first, second = (self._screen(place) for place in (0, 1))
        wait_until(began + draw.opens, self.ended)
        self._make(first, draw, began)
        if draw.fate == "closed early":
            wait_until(began + (draw.opens + 3 * draw.cutoff) / 4, self.ended)
            self._expect(first.do("close", "POST", f"/v1/draws/{draw.name}/close"), "wrong_state")
        if draw.fate == "void":
            wait_until(began + (draw.opens + 2 * draw.cutoff) / 3, self.ended)
            self._void(draw, first, second, began)
            return
        wait_until(began + draw.cutoff, self.ended)
        self._wait_for(first, draw, began, "sealed")
        if draw.fate == "void sealed":
            self._void(draw, first, second, began)
            return
        wait_until(began + draw.draws + 0.1, self.ended)
        for version, number in enumerate(draw.results, 1):
            entry: dict[str, Any] = {"number": number, "date": f"{DAY}", "time": f"{draw.time:%H:%M}"}
            step = "result"
            if version > 1:
                wait_until(time.time() + SOON_S, self.ended)
                step, entry = "correction", entry | {"reason": "the number was misread"}
            self._two_persons(draw, step, first, second, entry)
            body = self._wait_for(first, draw, began, "settled")
            self._timeline.note(f"{draw.name} is settled on {number}, version {version}")
            self.settled(draw.name, body)

    def _make(self, admin: Person, draw: DrawPlan, began: float) -> None:
        times = {"opens_at": began + draw.opens - 1, "cutoff_at": began + draw.cutoff, "draws_at": began + draw.draws}
        body: dict[str, Any] = {"game": GAME, "date": f"{DAY}", "time": f"{draw.time:%H:%M}"}
        body |= {name: datetime.fromtimestamp(at, UTC).isoformat() for name, at in times.items()}
        made = admin.do("draw", "POST", "/v1/draws", body)
        if made.code in ("invalid", "cutoff_passed"):
            raise RuntimeError(f"{draw.name} could not be made: {made.answer}")
        self._expect(made, "draw_exists")  # its own first try
        self._timeline.note(f"{draw.name} is made")

    def _wait_for(self, admin: Person, draw: DrawPlan, began: float, status: str) -> dict[str, Any]:
        """Looks at the draw until it has that status, and at its journal on the way."""
        seen = ""
        while True:
            body = self._look(admin, f"/v1/draws/{draw.name}")
            if body["status"] != seen:
                seen = body["status"]
                self._timeline.note(f"{draw.name} is {seen}")
            if seen in ("closed", "sealed", "voiding", "void"):
                self._copy_journal(draw.name)
            if seen == status:
                return body
            if seen == "closed" and time.time() > began + draw.draws + SOON_S:
                self._seal_late(draw)
            if self.ended.wait(LOOK_S):
                raise Ended

    def _copy_journal(self, name: str) -> None:
        copy = self.read_journal(name)
        if copy is not None and copy.marker is not None:
            self.journals[name] = copy

    def _seal_late(self, draw: DrawPlan) -> None:
        first, second = (self._screen(place) for place in (2, 3))
        asked = first.do("late seal", "POST", f"/v1/draws/{draw.name}/seal", {"reason": "too much was broken"})
        self._expect(asked, "wrong_state")
        if asked.status < 300:
            confirmed = second.do("late seal", "POST", f"/v1/draws/{draw.name}/seal/confirm")
            self._expect(confirmed, "wrong_state")

    def _void(self, draw: DrawPlan, first: Person, second: Person, began: float) -> None:
        self._two_persons(draw, "void", first, second, {"reason": "the machine broke down"})
        self._wait_for(first, draw, began, "void")

    def _two_persons(self, draw: DrawPlan, step: str, first: Person, second: Person, body: dict[str, Any]) -> None:
        """One asks and another confirms, until it is done. An echo of what was asked before may come between them."""
        path = f"/v1/draws/{draw.name}/{step}"
        while True:
            self._expect(first.do(step, "POST", path, body), "wrong_state", "too_early")
            confirmed = second.do(step, "POST", f"{path}/confirm", None if step == "void" else body)
            if confirmed.status < 300:
                return
            self._expect(confirmed, "wrong_state", "too_early", "numbers_differ")
            if self.ended.wait(LOOK_S):
                raise Ended

    # ── credit and claims ─────────────────────────────────────────────────────────────────────────────────────

    def _load(self, loads: Sequence[Load], began: float) -> None:
        admin = self._screen(0)
        for number, load in enumerate(loads):
            wait_until(began + load.at, self.ended)
            where, kind = ("credit", "load") if load.amount > 0 else ("debit", "remittance")
            body = {"amount": abs(load.amount), "kind": kind, "note": "in the middle of it"}
            path = f"/v1/users/{self._terminals[load.terminal]}/{where}"
            self._expect(admin.do(where, "POST", path, body, key=f"load-{number}"), "insufficient_credit")

    def _approve(self) -> None:
        """The other person that a high prize needs: the administrator above the terminals."""
        admin = self._screen(0)
        while not self.ended.wait(APPROVE_S):
            for claim in self._look(admin, "/v1/claims?status=pending&limit=500")["items"]:
                approved = admin.do("approve", "POST", f"/v1/claims/{claim['id']}/approve")
                self._expect(approved, "wrong_state", "not_settled")

    def _look(self, admin: Person, path: str) -> dict[str, Any]:
        answer = admin.look(path)
        if answer.status != 200:
            raise RuntimeError(f"GET {path}: {answer.status} {answer.body}")
        return dict(answer.body)

    def _expect(self, entry: Entry, *codes: str) -> None:
        """Notes an answer that is neither good nor one of these refusals."""
        if entry.status >= 300 and entry.code not in codes:
            self.surprises.append(f"{entry.call} {entry.path}: {entry.status} {entry.answer}")
