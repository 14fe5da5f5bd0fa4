"""The crowd: who buys what, always the same for one seed, and nothing that the API would refuse as malformed."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo import crowd
from rules.games import refusal
from rules.limits import LINES_MAX, stake_refusal
from rules.tickets import Line


def test_the_same_seed_gives_the_same_slips() -> None:
    assert [crowd.slip(Random("1/7")) for _ in range(3)] == [crowd.slip(Random("1/7")) for _ in range(3)]
    assert crowd.new_id(Random(3)) == crowd.new_id(Random(3))


@given(st.integers(0, 10_000))
def test_every_slip_can_exist(seed: int) -> None:
    lines = crowd.slip(Random(seed))
    assert 1 <= len(lines) <= 5 <= LINES_MAX
    for line in lines:
        assert refusal(crowd.GAME, line.play, line.number) is None
        assert stake_refusal(line.stake) is None
        assert 100 <= line.stake <= 50_00


def test_few_numbers_are_favourites_and_many_are_rare() -> None:
    rng = Random(1)
    played = Counter(crowd.bet(rng).number for _ in range(20_000))
    assert played.most_common(1)[0][0] == "777"
    assert played["777"] > 20 * sorted(played[f"{n:03d}"] for n in range(1000))[500]
    assert len(played) > 950


def test_favourites_are_all_different_numbers() -> None:
    assert len(set(crowd.FAVOURITES)) == len(crowd.FAVOURITES)
    assert set(crowd.FAVOURITES) <= crowd.popularity().keys()


def test_a_second_choice_replaces_only_what_is_sold_out() -> None:
    lines = (Line("straight", "777", 1000), Line("rambolito", "123", 500), Line("straight", "123", 500))
    chosen = crowd.second_choice(Random(1), lines, [("straight", "777"), ("rambolito", "123")])
    assert chosen[2] == lines[2]
    assert [line.stake for line in chosen] == [line.stake for line in lines]
    assert all(refusal(crowd.GAME, line.play, line.number) is None for line in chosen)


@given(st.integers(1, 3000), st.integers(1, 80), st.integers(1, 3))
def test_the_days_customers_are_dealt_out_without_remainder(tickets: int, terminals: int, draws: int) -> None:
    dealt = crowd.counters(tickets, terminals, draws)
    assert sum(sum(counter.customers) + sum(counter.late) for counter in dealt) == tickets
    assert len({counter.name for counter in dealt}) == terminals
    assert all(counter.credit >= 100_00 for counter in dealt)
    assert all(left >= 0 for counter in dealt for left in counter.customers)


def test_some_terminals_get_too_little_credit() -> None:
    dealt = crowd.counters(20_000, 50, 3)
    expected = crowd.average_slip() * 400
    assert sum(counter.credit < expected for counter in dealt) == 6


@pytest.mark.parametrize(("total", "parts"), [(0, 3), (1, 3), (7, 3), (20_000, 3)])
def test_shares_differ_by_one_at_most(total: int, parts: int) -> None:
    found = crowd.shares(total, parts)
    assert sum(found) == total
    assert max(found) - min(found) <= 1
