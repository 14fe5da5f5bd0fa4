"""What is to be handed in of a wallet's entries."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rules.statements import COLUMNS, to_remit


def test_nothing_is_to_be_handed_in_of_nothing() -> None:
    assert set(to_remit({}).values()) == {0}


def test_sales_less_what_went_back_was_paid_earned_and_handed_in() -> None:
    sums = {"sale": -10_000, "void": 1_000, "refund": 500, "claim": 2_000, "commission": 700, "remittance": 3_000}
    assert to_remit(sums) == {
        "sales": 10_000,
        "voids": 1_500,
        "prizes_paid": 2_000,
        "commission": 700,
        "remitted": 3_000,
        "to_remit": 2_800,
    }


@given(st.dictionaries(st.sampled_from(sorted(COLUMNS)), st.integers(-(10**15), 10**15)))
def test_loads_shortages_corrections_and_what_moved_in_are_no_part_of_it(sums: dict[str, int]) -> None:
    others = {kind: amount for kind, amount in sums.items() if kind in ("load", "shortage", "correction", "opening")}
    assert set(to_remit(others).values()) == {0}
    assert to_remit(sums)["to_remit"] == -sum(sums.values()) + sum(others.values())
