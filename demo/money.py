"""What the day has to leave in the books, worked out from receipts and claims: wallets, prizes, tax, commissions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from demo.calls import Caller
from demo.check import Row
from demo.figures import Outcome
from demo.paying import Paid
from demo.people import COORDINATOR_BP, TERMINAL_BP, Terminal
from demo.sources import Books, Found
from rules.tickets import stake


def compare_money(
    superadmin: Caller,
    terminals: Sequence[Terminal],
    outcomes: Sequence[Outcome],
    receipts: Found,
    paid: Paid,
    books: Books,
) -> list[Row]:
    """Prizes, commissions and wallets; as the API shows them and as the ledger has them. Raises Unexpected."""
    won, paid_out = sum(found.paid for found in outcomes), sum(paid.prizes.values())
    sold = _sold(receipts)
    earned = commissions(sold, terminals)
    expected = _wallets(terminals, sold, earned, paid)
    shown = _balances(superadmin)

    def account(figure: str, amount: int, kind: str) -> Row:
        return Row(figure, {"receipts": amount, "ledger": books.accounts.get(kind, 0)})

    return [
        Row("winners paid", {"receipts": sum(len(found.prizes) for found in outcomes), "database": len(paid.prizes)}),
        account("prizes owed", won - paid_out, "prizes_owed"),
        account("cost of prizes not paid", paid_out - won, "prizes"),
        account("cost of prizes paid", -paid_out, "prizes_paid"),
        account("tax withheld from prizes", paid.tax, "tax_withheld"),
        account("commissions on sales", -sum(earned.values()), "commissions"),
        account("cash taken for credit", -sum(t.counter.credit for t in terminals), "cash"),
        Row("money in wallets", {
            "receipts": sum(expected.values()),
            "database": sum(shown.get(user_id, 0) for user_id in expected),
            "ledger": sum(books.wallets.get(user_id, 0) for user_id in expected),
        }),
        Row("wallets unlike the receipts", {
            "database": sum(shown.get(user_id) != amount for user_id, amount in expected.items()),
            "ledger": sum(books.wallets.get(user_id, 0) != amount for user_id, amount in expected.items()),
        }, zero=True),
    ]  # fmt: skip


def commissions(sold: Mapping[tuple[str, int], int], terminals: Sequence[Terminal]) -> dict[int, int]:
    """Centavos earned by user: each terminal's on its own sales of each draw, its coordinator's on the same."""
    above = {t.user_id: t.coordinator_id for t in terminals}
    earned: dict[int, int] = {}
    for (_, agent), amount in sold.items():
        for user_id, bp in ((agent, TERMINAL_BP), (above[agent], COORDINATOR_BP)):
            earned[user_id] = earned.get(user_id, 0) + amount * bp // 10_000
    return earned


def _sold(receipts: Found) -> dict[tuple[str, int], int]:
    """Stakes that count, by (draw, agent)."""
    sold: dict[tuple[str, int], int] = {}
    for place, ticket in receipts.tickets.items():
        if place not in receipts.voided:
            key = place[0], ticket.agent_id
            sold[key] = sold.get(key, 0) + stake(ticket.lines)
    return sold


def _wallets(
    terminals: Sequence[Terminal], sold: Mapping[tuple[str, int], int], earned: Mapping[int, int], paid: Paid
) -> dict[int, int]:
    """A terminal's credit less its sales, a coordinator's nothing (all of it went on), both with what they earned."""
    expected = {t.coordinator_id: 0 for t in terminals} | {t.user_id: t.counter.credit for t in terminals}
    for (_, agent), amount in sold.items():
        expected[agent] -= amount
    for amounts in (earned, paid.to_wallets):
        for user_id, amount in amounts.items():
            expected[user_id] += amount
    return expected


def _balances(superadmin: Caller) -> dict[int, int]:
    shown: dict[int, int] = {}
    cursor = ""
    while True:
        page = superadmin.must("GET", f"/v1/users?limit=500{cursor}")
        shown.update({user["id"]: user["wallet"]["balance"] for user in page["items"]})
        if page["next"] is None:
            return shown
        cursor = f"&cursor={page['next']}"
