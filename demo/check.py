"""The check from the outside: the terminals' receipts = journal = database = seal = ledger, figure by figure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from demo.books import Held
from demo.calls import Caller, Unexpected
from demo.day import DrawOfTheDay
from demo.figures import Outcome, differing, gaps_in, outcome, root_of
from demo.sources import Books, Found, Place
from rules import merkle
from rules.tickets import leaf_text

SOURCES = ("receipts", "journal", "database", "seal", "ledger")
PROOFS_OF_A_DRAW = 5


@dataclass(frozen=True)
class Row:
    """One figure as different places have it; it holds if all of them say the same, or all are zero if they must be."""

    figure: str
    values: Mapping[str, Any]  # by source
    zero: bool = False

    @property
    def holds(self) -> bool:
        return not any(self.values.values()) if self.zero else len(set(self.values.values())) == 1


def compare_draw(
    admin: Caller, draw: DrawOfTheDay, prices: Mapping[str, int], sources: Mapping[str, Found]
) -> list[Row]:
    """One draw's figures in each of `sources` (receipts, journal, database), its seal and its settlement."""
    seal = admin.must("GET", f"/v1/draws/{draw.name}/seal")
    settlement = admin.must("GET", f"/v1/draws/{draw.name}/settlement")
    came_to = {name: outcome(draw, prices, found) for name, found in sources.items()}
    roots = {name: root_of(draw.name, found) for name, found in sources.items()}
    at = f"{draw.time:%H:%M}"

    def row(figure: str, of: Callable[[Outcome], Any], **others: Any) -> Row:
        return Row(f"{at} {figure}", {**{name: of(found) for name, found in came_to.items()}, **others})

    return [
        row("tickets", lambda o: o.tickets, seal=seal["count"]),
        row("leaves", lambda o: o.tickets, seal=seal["tree_size"]),
        row("voided", lambda o: o.voided, seal=seal["voided"]),
        row("stake of counted tickets", lambda o: o.counted, seal=seal["stake"]),
        Row(f"{at} Merkle root", {**roots, "seal": seal["merkle_root"]}),
        row("winning tickets", lambda o: len(o.prizes), ledger=settlement["winners"]),
        row("prizes", lambda o: o.paid, ledger=settlement["prizes"]),
    ]


def compare_all(sources: Mapping[str, Found], held: Held, outcomes: Sequence[Outcome], books: Books) -> list[Row]:
    """What the whole day has to be: nothing lost, doubled or altered, and the books closed."""
    receipts = sources["receipts"]
    sales = sum(found.counted for found in outcomes)
    return [
        Row("receipts and tickets", {
            "receipts": held.receipts, **{name: len(sources[name].tickets) for name in ("journal", "database")},
        }),
        Row("tickets unlike the receipts", {
            name: differing(receipts, sources[name]) for name in ("journal", "database")
        }, zero=True),
        Row("serials missing", {
            "receipts": gaps_in(receipts.tickets), **{name: sources[name].gaps for name in ("journal", "database")},
        }, zero=True),
        Row("repeats answered otherwise", {"receipts": held.wrong_repeats}, zero=True),
        Row("sum of all postings", {"ledger": books.total}, zero=True),
        Row("entries out of balance", {"ledger": books.unbalanced}, zero=True),
        Row("found by the books' own check", {"ledger": books.differences}, zero=True),
        Row("found by the audit log's own check", {"database": books.tampered}, zero=True),
        Row("sales", {"receipts": sales, "ledger": books.accounts.get("sales", 0)}),
    ]  # fmt: skip


def check_proofs(caller: Caller, found: Outcome, receipts: Found, held: Held, seed: int) -> Row:
    """Some receipts of the draw shown to the public verification: status, prize, and the path to our own root."""
    places = sorted(place for place in receipts.tickets if place[0] == found.draw.name)
    winners, voided = sorted(found.prizes), sorted(receipts.voided & set(places))
    picked = dict.fromkeys(winners[:2] + voided[:1] + Random(seed).sample(places, min(PROOFS_OF_A_DRAW, len(places))))
    root = root_of(found.draw.name, receipts)
    good = sum(_proves(caller, place, receipts, found, held, root) for place in picked)
    figure = f"{found.draw.time:%H:%M} receipts verified"
    return Row(figure, {"receipts": len(picked), "seal": good})


def _proves(caller: Caller, place: Place, receipts: Found, found: Outcome, held: Held, root: str) -> bool:
    number, code = held.numbers[place], held.codes[place]
    wrong = caller.must("GET", f"/v1/verify/{number}?code={'0' * len(code)}")
    shown = caller.must("GET", f"/v1/verify/{number}?code={code}")
    proof = shown.get("inclusion_proof")
    if wrong != {"valid": False} or not shown["valid"] or not proof:
        return False
    voided, won = place in receipts.voided, found.prizes.get(place, 0)
    leaf = leaf_text(receipts.tickets[place], voided)
    path = [bytes.fromhex(node) for node in proof["path"]]
    proven = merkle.verify(leaf, proof["index"], proof["tree_size"], path, bytes.fromhex(root))
    status = "voided" if voided else "paid" if won else "lost"
    return proven and proof["leaf_text"] == leaf and (shown["status"], shown["prize"]) == (status, won)


def prices_of(admin: Caller, draw: DrawOfTheDay) -> dict[str, int]:
    """The draw's frozen prize table. Raises Unexpected when it does not show the number that was entered."""
    body = admin.must("GET", f"/v1/draws/{draw.name}")
    if body.get("result") != draw.number:
        raise Unexpected(f"{draw.name} shows the result {body.get('result')}, not {draw.number}")
    return {name: int(pay) for name, pay in body["prize_table"].items()}
