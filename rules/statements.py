"""What a wallet's entries add up to, and what is to be handed in of it. Signed centavos, as the wallet sees them."""

from collections.abc import Mapping

# Every kind of entry that touches a wallet (docs/books.md), and what a statement calls its sum.
COLUMNS = {
    "opening": "moved_in",
    "sale": "sales",
    "void": "voids",
    "refund": "refunds",
    "commission": "commissions",
    "claim": "prizes_paid",
    "load": "loads",
    "remittance": "remittances",
    "shortage": "shortages",
    "correction": "corrections",
}


def to_remit(sums: Mapping[str, int]) -> dict[str, int]:
    """{sales, voids, prizes_paid, commission, remitted, to_remit} in centavos, from sums by kind of entry.

    `voids` counts stakes given back with a whole draw, too; `prizes_paid` is what winners got in their hands;
    `remitted` what was handed in, less what was handed back.
    """
    sales = -sums.get("sale", 0)
    less = {
        "voids": sums.get("void", 0) + sums.get("refund", 0),
        "prizes_paid": sums.get("claim", 0),
        "commission": sums.get("commission", 0),
        "remitted": sums.get("remittance", 0),
    }
    return {"sales": sales, **less, "to_remit": sales - sum(less.values())}
