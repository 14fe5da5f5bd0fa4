"""What is due, taxed and said of a winning ticket."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.claims import claim_status, due, withholding
from rules.tickets import old_code_digest, old_code_matches

MONEY = st.integers(0, 10**12)
KEY = b"k" * 32


@pytest.mark.parametrize(
    ("prize", "paid", "expired", "left"),
    [(500, 0, 0, 500), (500, 200, 0, 300), (500, 200, 300, 0), (500, 700, 0, 0), (0, 0, 0, 0)],
)
def test_due_is_what_neither_was_paid_nor_expired(prize: int, paid: int, expired: int, left: int) -> None:
    assert due(prize, paid, expired) == left


@pytest.mark.parametrize(
    ("prize", "tax"), [(1_000_000, 0), (1_000_001, 200_000), (1_000_004, 200_000), (1_000_005, 200_001)]
)
def test_a_prize_above_the_line_is_taxed_as_a_whole_rounded_down(prize: int, tax: int) -> None:
    assert withholding(prize, prize, 0, 1_000_000, 2_000) == tax


def test_the_rest_bears_what_was_not_withheld_before() -> None:
    assert withholding(3_000_000, 1_000_000, 400_000, 1_000_000, 2_000) == 200_000
    assert withholding(1_200_000, 700_000, 0, 1_000_000, 2_000) == 240_000
    assert withholding(1_100_000, 100_000, 0, 1_000_000, 2_000) == 100_000
    assert withholding(2_000_000, 500_000, 500_000, 1_000_000, 2_000) == 0


@given(prize=MONEY, paid=MONEY, above=MONEY, basis_points=st.integers(0, 10_000))
def test_tax_is_never_above_what_is_paid_nor_below_nothing(
    prize: int, paid: int, above: int, basis_points: int
) -> None:
    first = min(paid, prize)
    withheld = withholding(first, first, 0, above, basis_points)
    rest = due(prize, first)
    tax = withholding(prize, rest, withheld, above, basis_points)
    assert 0 <= withheld <= first
    assert 0 <= tax <= rest
    assert withheld + tax <= max(withheld, prize * basis_points // 10_000)


@pytest.mark.parametrize(
    ("prize", "paid", "expired", "pending", "over", "status"),
    [
        (500, 0, 0, False, False, "won"),
        (500, 200, 0, False, False, "won"),
        (500, 0, 0, True, False, "claim_pending"),
        (500, 0, 0, True, True, "claim_pending"),
        (500, 500, 0, False, False, "paid"),
        (500, 500, 0, False, True, "paid"),
        (500, 700, 0, False, False, "paid"),
        (0, 500, 0, False, False, "paid"),
        (0, 0, 0, False, True, "lost"),
        (500, 0, 0, False, True, "expired"),
        (500, 0, 500, False, True, "expired"),
        (500, 200, 300, False, True, "expired"),
    ],
)
def test_the_status_says_what_became_of_the_prize(
    prize: int, paid: int, expired: int, pending: bool, over: bool, status: str
) -> None:
    assert claim_status(prize, paid, expired, pending=pending, over=over) == status


def test_an_old_code_is_compared_as_people_type_it_and_belongs_to_its_number() -> None:
    digest = old_code_digest(KEY, "A-1", "oil 7x-9")
    assert old_code_matches(KEY, "A-1", digest, "0117X9")
    assert old_code_matches(KEY, "A-1", digest, " OIL-7x 9")
    for number, key, typed in (("A-2", KEY, "oil7x9"), ("A-1", b"o" * 32, "oil7x9"), ("A-1", KEY, "oil7x8")):
        assert not old_code_matches(key, number, digest, typed)


@pytest.mark.parametrize("code", ["", "- -", "é", "ж7"])
def test_an_old_code_of_nothing_is_refused_and_nothing_typed_fits(code: str) -> None:
    with pytest.raises(ValueError, match="character"):
        old_code_digest(KEY, "A-1", code)
    assert not old_code_matches(KEY, "A-1", old_code_digest(KEY, "A-1", "0"), code)
