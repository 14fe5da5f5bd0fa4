"""What the terminals hold, worked out from their books alone; and every answer that the contract does not give."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from demo.books import ticket_of
from demo.sources import Place
from faults.book import Entry
from faults.person import NO_ANSWER
from rules.tickets import Ticket

Id = tuple[str, str]  # a draw's name and a ticket's id

GOOD = (200, 201, 202)
# What may be said before a final answer comes.
PASSING = frozenset({NO_ANSWER, "intake_unavailable", "database_unavailable", "slow_down"})
# Final refusals that a terminal of this suite can get, by what it asked for.
REFUSALS = {
    "sale": {"cutoff_passed", "draw_not_open", "sold_out", "insufficient_credit"},
    "batch": set[str](),
    "void": {"void_window_over", "already_voided"},
    "cancel": {"void_window_over"},
    "find": set[str](),
    # While a draw is settled anew.
    "claim": {"already_claimed", "not_settled", "not_a_winner"},
    "follow": set[str](),
}

_ROW = re.compile(r"\| `(\w+)` \| (\d+) \|")


class Paid(NamedTuple):
    """Money that a terminal handed out; centavos."""

    claim_id: int
    number: str
    prize: int
    tax: int


class Refused(NamedTuple):
    """A sale that was refused as too late."""

    draw: str
    code: str
    answered_at: float


@dataclass
class Held:
    """All terminals' books together."""

    receipts: dict[Place, dict[str, Any]] = field(default_factory=dict)
    tickets: dict[Place, Ticket] = field(default_factory=dict)  # the same, as the rules know them
    places: dict[Id, set[Place]] = field(default_factory=dict)
    voided: set[Place] = field(default_factory=set)
    cancelled: dict[Id, str] = field(default_factory=dict)  # voided or never_sold
    paid: dict[str, list[Paid]] = field(default_factory=dict)  # by terminal
    refused: set[Id] = field(default_factory=set)  # for want of room or credit: the id may be used again
    too_late: list[Refused] = field(default_factory=list)
    not_found: list[str] = field(
        default_factory=list
    )  # numbers of tickets that could not be voided or claimed for that
    answers: Counter[str] = field(default_factory=Counter)  # by "call code", or "call accepted"
    tries: Counter[str] = field(default_factory=Counter)  # what came before final answers
    unanswered: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)  # answers that the contract does not give
    differing: list[str] = field(default_factory=list)  # receipts that contradict each other


def documented(errors: Path) -> dict[str, int]:
    """Status by code, from the table of problem codes."""
    return {code: int(status) for code, status in _ROW.findall(errors.read_text())}


def read_held(books: Mapping[str, Iterable[Entry]], codes: Mapping[str, int]) -> Held:
    """What the books say. `books` by terminal, `codes` as `documented` gives them."""
    held = Held()
    for name, book in books.items():
        _Reader(held, name, codes).read(book)
    return held


class _Reader:
    """One terminal's book."""

    def __init__(self, held: Held, name: str, codes: Mapping[str, int]) -> None:
        self._held, self._name, self._codes = held, name, codes
        self._numbers: dict[str, Place] = {}
        self._claims: dict[int, str] = {}  # number of the ticket by claim
        self._paid: dict[int, Paid] = {}

    def read(self, book: Iterable[Entry]) -> None:
        for entry in book:
            self._held.tries.update(entry.tries)
            for said in set(entry.tries) - PASSING:
                self._wrong(entry, f"was told {said} in between")
            if not entry.status:
                self._held.unanswered.append(f"{self._name}: {entry.call} {entry.path}")
                continue
            self._held.answers[f"{entry.call} {entry.code or 'accepted'}"] += 1
            if entry.code == "not_found" and entry.call in ("void", "claim"):
                self._held.not_found.append(entry.path.split("/")[3])
            elif entry.status >= 300:
                self._refusal(entry, entry.call, entry.status, entry.answer)
            getattr(self, f"_{entry.call}")(entry)
        self._held.paid[self._name] = list(self._paid.values())

    def _wrong(self, entry: Entry, what: str) -> None:
        self._held.wrong.append(f"{self._name}: {entry.call} {entry.path} {what}")

    def _refusal(self, entry: Entry, call: str, status: int, answer: Any) -> None:
        """Whether it is one that is documented, and that can come here."""
        code = answer.get("code") if isinstance(answer, dict) else None
        if self._codes.get(str(code)) != status or code not in REFUSALS[call]:
            self._wrong(entry, f"was answered {status} {str(answer)[:200]}")

    # ── by what was asked ─────────────────────────────────────────────────────────────────────────────────────

    def _sale(self, entry: Entry) -> None:
        self._sold(entry, entry.body, entry.status, entry.answer)

    def _batch(self, entry: Entry) -> None:
        if entry.status != 200:
            return
        for sent, result in zip(entry.body["tickets"], entry.answer["results"], strict=True):
            if result["status"] >= 300:
                self._refusal(entry, "sale", result["status"], result["error"])
            self._held.answers[f"sale {result.get('error', {}).get('code', 'accepted')}"] += 1
            self._sold(entry, sent, result["status"], result.get("receipt") or result["error"])

    def _sold(self, entry: Entry, sent: dict[str, Any], status: int, answer: dict[str, Any]) -> None:
        held = self._held
        if status in GOOD:
            if [answer["draw_id"], answer["id"], answer["lines"]] != [sent["draw_id"], sent["id"], sent["lines"]]:
                held.differing.append(f"this receipt is not what was asked for: {sent} {answer}")
            self._receipt(answer)
        elif answer.get("code") in ("sold_out", "insufficient_credit"):
            held.refused.add((sent["draw_id"], sent["id"]))
        elif answer.get("code") in ("cutoff_passed", "draw_not_open"):
            held.too_late.append(Refused(sent["draw_id"], answer["code"], entry.answered_at))

    def _receipt(self, answer: dict[str, Any]) -> None:
        held, place = self._held, (answer["draw_id"], answer["serial"])
        known = held.receipts.setdefault(place, answer)
        if known | {"status": ""} != answer | {"status": ""}:  # which may be another one later
            held.differing.append(f"two receipts for {place}: {known} and {answer}")
        held.tickets[place] = ticket_of(answer)
        held.places.setdefault((answer["draw_id"], answer["id"]), set()).add(place)
        self._numbers[answer["number"]] = place

    def _find(self, entry: Entry) -> None:
        if entry.status == 200:
            self._receipt(entry.answer)

    def _void(self, entry: Entry) -> None:
        # "already": an echo or a lost answer of its own, since nobody else may void it.
        place = self._numbers.get(entry.path.split("/")[3])
        if place is None:
            self._wrong(entry, "is of a ticket without a receipt")
        elif entry.status == 200 or entry.code == "already_voided":
            self._held.voided.add(place)

    def _cancel(self, entry: Entry) -> None:
        if entry.status == 200:
            self._held.cancelled[entry.body["draw_id"], entry.path.split("/")[4]] = entry.answer["status"]

    def _claim(self, entry: Entry) -> None:
        number = entry.path.split("/")[3]
        answer = entry.answer
        if entry.status == 200:
            self._hand_out(answer["claim_id"], number, answer)
        elif entry.status == 202:
            self._claims[answer["claim_id"]] = number
        elif entry.code == "already_claimed" and answer["by_you"] and answer["claim_status"] == "paid":
            self._hand_out(answer["claim_id"], number, answer)  # unless it has done so for this very claim

    def _follow(self, entry: Entry) -> None:
        if entry.status == 200 and entry.answer["status"] == "paid":
            self._hand_out(entry.answer["id"], self._claims[entry.answer["id"]], entry.answer)

    def _hand_out(self, claim_id: int, number: str, answer: dict[str, Any]) -> None:
        paid = Paid(claim_id, number, answer["prize"], answer["tax"])
        if self._paid.setdefault(claim_id, paid) != paid:
            self._held.differing.append(f"{self._name}: claim {claim_id} pays {self._paid[claim_id]} and {paid}")
