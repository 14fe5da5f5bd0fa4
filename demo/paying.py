"""After the draws: every winner is claimed, at two terminals at once, and paid at one of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from random import Random
from threading import Lock
from typing import Any

from demo.books import Held
from demo.calls import Caller, Unexpected
from demo.people import People, Terminal
from demo.sources import Place

COUNTERS = 8  # that pay at a time
PAYEE = {"name": "The holder of the ticket", "phone": "0917 000 0000", "id_no": "shown"}


@dataclass
class Paid:
    """What the terminals say that they paid, in centavos."""

    prizes: dict[Place, int] = field(default_factory=dict)  # tax included
    to_wallets: dict[int, int] = field(default_factory=dict)  # by user: what was paid over that counter
    tax: int = 0
    approved: int = 0
    refused: Counter[str] = field(default_factory=Counter)  # by code
    lock: Lock = field(default_factory=Lock, repr=False)

    def summary(self) -> dict[str, Any]:
        return {
            "claims_paid": len(self.prizes),
            "claims_approved_by_another_person": self.approved,
            "claims_refused_as_paid": self.refused["already_claimed"],
            "prizes_paid": sum(self.prizes.values()),
            "tax_withheld": self.tax,
        }


def pay_winners(people: People, prizes: Mapping[Place, int], held: Held, seed: int) -> Paid:
    """Claims each ticket of `prizes` with its receipt's number and code. Raises Unexpected."""
    paid = Paid()
    rng = Random(seed)
    places = sorted(prizes)
    pairs = [_two_terminals(people.terminals, rng) for _ in places]
    logins = {t.user_id: Caller(people.admins[0].port, t.counter.name, t.password) for pair in pairs for t in pair}
    locks = {user_id: Lock() for user_id in logins}

    def claim_at(terminal: Terminal, place: Place) -> None:
        with locks[terminal.user_id]:
            _claim(paid, logins[terminal.user_id], people.admins[0].twin(), place, held)

    with ThreadPoolExecutor(COUNTERS) as pool:
        asked = [pool.submit(claim_at, t, place) for place, pair in zip(places, pairs, strict=True) for t in pair]
        for call in asked:
            call.result()
    return paid


def _two_terminals(terminals: Sequence[Terminal], rng: Random) -> Sequence[Terminal]:
    return rng.sample(terminals, 2) if len(terminals) > 1 else [terminals[0]] * 2


def _claim(paid: Paid, terminal: Caller, approver: Caller, place: Place, held: Held) -> None:
    body: dict[str, Any] = {"code": held.codes[place], "payee": PAYEE}
    answer = terminal.ask("POST", f"/v1/tickets/{held.numbers[place]}/claim", body)
    found = answer.body
    if answer.status == 202:
        found = approver.must("POST", f"/v1/claims/{answer.body['claim_id']}/approve")
    elif answer.status != 200:
        if answer.code != "already_claimed":
            raise Unexpected(f"a winner was refused: {answer.status} {answer.body}")
        with paid.lock:
            paid.refused[answer.code] += 1
        return
    with paid.lock:
        if place in paid.prizes:
            raise Unexpected(f"{held.numbers[place]} was paid twice")
        paid.prizes[place] = found["prize"]
        paid.tax += found["tax"]
        paid.to_wallets[terminal.user_id] = paid.to_wallets.get(terminal.user_id, 0) + found["paid"]
        paid.approved += answer.status == 202
