"""One terminal: sells to its customers one by one, and keeps its own record of every answer.

Its record is a file of JSON lines, each with `what`: `receipt`, `refusal`, `repeat` (the answer to a request that was
sent twice), `voided`, `void_refused`, `end`.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any

from demo.calls import Answer, Caller, Connection, NoAnswer
from demo.crowd import Counter, new_id, sale_body, second_choice, slip
from rules.tickets import Line

TWICE_SHARE = 0.1  # of all requests are sent a second time …
AT_ONCE_SHARE = 0.5  # … half of these while the first is still under way, over a second connection
VOID_SHARE = 0.01  # of tickets are taken back at once
# When the late customers' requests leave, against the cutoff, in seconds.
LATE_S = (-0.12, 0.06)
BE_THERE_S = 0.3  # before the cutoff nothing else is begun
SECOND_CHOICES = 2  # how often a customer takes other numbers instead of sold-out ones


class Cutoffs:
    """When each draw stops selling, on this machine's clock (seconds since 1970), as one poll tells all terminals."""

    def __init__(self) -> None:
        self.at: dict[str, float] = {}
        self._clock = (float("inf"), 0.0)  # the quickest answer's seconds, and how far ahead its clock was

    def take(self, draws: Sequence[dict[str, Any]], asked_at: float, answered_at: float) -> None:
        """Draws as the API shows them. Of all its clock readings the one that took the shortest way counts."""
        for draw in draws:
            ahead = datetime.fromisoformat(draw["now"]).timestamp() - (asked_at + answered_at) / 2
            self._clock = min(self._clock, (answered_at - asked_at, ahead))
            self.at[draw["id"]] = datetime.fromisoformat(draw["cutoff_at"]).timestamp() - self._clock[1]

    def seconds_left(self, draw: str) -> float:
        return self.at.get(draw, float("inf")) - time.time()


class Book:
    """The terminal's record on disk; a line is there before the next request leaves."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8")

    def write(self, what: str, **fields: Any) -> None:
        self._file.write(json.dumps({"what": what, **fields}) + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()


class Terminal(threading.Thread):
    """Sells each draw's customers in turn, and is there again at each cutoff for the late ones."""

    def __init__(
        self, caller: Caller, counter: Counter, draws: Sequence[str], cutoffs: Cutoffs, book: Book, seed: int
    ) -> None:
        super().__init__(name=counter.name, daemon=True)
        self.answered = [0] * len(draws)  # customers served, per draw; read by others
        self.regular_left = sum(counter.customers)
        self.failure: BaseException | None = None
        self._caller = caller
        self._second = Connection(caller.port)
        self._counter = counter
        self._draws = draws
        self._cutoffs = cutoffs
        self._book = book
        self._rng = Random(f"{seed}/{counter.index}")
        self._late = dict(enumerate(counter.late))  # draws whose late customers have not come yet

    def run(self) -> None:
        try:
            for place, customers in enumerate(self._counter.customers):
                for _ in range(customers):
                    self._serve_late_ones()
                    self._serve(place)
                    self.regular_left -= 1
            while self._late:
                time.sleep(0.05)
                self._serve_late_ones()
            self._book.write("end", asked_again=self._caller.asked_again)
        except BaseException as error:  # whoever started the thread looks at it
            self.failure = error
        finally:
            self._book.close()

    # ── customers ─────────────────────────────────────────────────────────────────────────────────────────────

    def _serve_late_ones(self) -> None:
        for place in [p for p in self._late if self._cutoffs.seconds_left(self._draws[p]) < BE_THERE_S]:
            moments = sorted(self._rng.uniform(*LATE_S) for _ in range(self._late.pop(place)))
            for moment in moments:
                time.sleep(max(0.0, self._cutoffs.seconds_left(self._draws[place]) + moment))
                self._serve(place, late=True)

    def _serve(self, place: int, late: bool = False) -> None:
        """One customer, with a receipt or without one in the end."""
        lines = slip(self._rng)
        for _ in range(1 + SECOND_CHOICES):
            answer = self._sell(self._draws[place], lines, late)
            if answer.code != "sold_out":
                break
            refused = [(item["play"], item["number"]) for item in answer.body["lines"]]
            lines = second_choice(self._rng, lines, refused)
        self.answered[place] += 1
        if answer.status < 300 and not late and self._rng.random() < VOID_SHARE:
            self._void(str(answer.body["number"]))

    def _sell(self, draw: str, lines: tuple[Line, ...], late: bool) -> Answer:
        body = sale_body(new_id(self._rng), draw, lines)
        twice = self._rng.random() < TWICE_SHARE
        at_once = twice and self._rng.random() < AT_ONCE_SHARE
        tries, started = self._caller.asked_again, time.perf_counter()
        second_is_under_way = at_once and self._send_second(body)
        first = self._caller.ask("POST", "/v1/tickets", body)
        ms = (time.perf_counter() - started) * 1000
        measured = ms if first.status == 201 and self._caller.asked_again == tries else None
        if first.status < 300:
            self._book.write("receipt", ms=measured, at=time.time(), late=late, receipt=first.body)
        if twice:
            second = self._caller.ask("POST", "/v1/tickets", body, over=self._second, sent=second_is_under_way)
            self._keep_repeat(first, second, at_once, late)
            first = first if first.status < 300 or second.status >= 300 else second
        if first.status >= 300:
            short = first.body.get("lines", [])
            self._book.write("refusal", code=first.code, draw=draw, late=late, at=time.time(), lines=short)
        return first

    # ── sent twice ────────────────────────────────────────────────────────────────────────────────────────────

    def _send_second(self, body: dict[str, Any]) -> bool:
        try:
            self._second.send("POST", "/v1/tickets", body, self._caller.headers)
        except NoAnswer:
            return False
        return True

    def _keep_repeat(self, first: Answer, second: Answer, at_once: bool, late: bool) -> None:
        """One of the two may have made the ticket; the other must have got the same receipt."""
        if first.status >= 300 and second.status < 300:
            # Between two refused-or-not requests a void may make room; then this is the ticket's first receipt.
            self._book.write("receipt", ms=None, at=time.time(), late=late, receipt=second.body)
        both = first.status < 300 and second.status < 300
        alike = both and first.body == second.body and 200 in (first.status, second.status)
        lost = first.status < 300 and second.status >= 300 and not at_once
        wrong = (both and not alike) or lost
        self._book.write("repeat", replayed=alike, wrong=wrong, status=second.status, code=second.code)

    # ── taking back ───────────────────────────────────────────────────────────────────────────────────────────

    def _void(self, number: str) -> None:
        tries = self._caller.asked_again
        body = {"reason": "the customer changed his mind"}
        answer = self._caller.ask("POST", f"/v1/tickets/{number}/void", body)
        # A void that had to be asked for twice may find its own first try.
        mine = answer.code == "already_voided" and self._caller.asked_again > tries
        if answer.status == 200 or mine:
            self._book.write("voided", number=number)
        else:
            self._book.write("void_refused", number=number, code=answer.code)
