from fractions import Fraction
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.games import (
    DEFAULT_PRIZES,
    GAMES,
    anagrams,
    covers,
    is_outcome,
    match_key,
    outcomes,
    prize,
    prize_class,
    refusal,
    winning_bets,
)

# What each play returns of its stakes in the long run, exactly.
RETURNS = {
    ("3D", "straight"): Fraction(45, 100),
    ("3D", "rambolito"): Fraction(45, 100),
    ("2D", "straight"): Fraction(400, 961),
    ("2D", "rambolito"): Fraction(400, 961),
}


def bets(game: str) -> list[tuple[str, str]]:
    return [
        (play, number) for play in GAMES[game].plays for number in outcomes(game) if refusal(game, play, number) is None
    ]


def symbols(game: str, number: str) -> list[str]:
    return number.split("-") if game == "2D" else list(number)


def test_the_games_have_all_their_outcomes_and_bets() -> None:
    assert outcomes("3D") == tuple(f"{number:03d}" for number in range(1000))
    assert outcomes("2D") == tuple(f"{a:02d}-{b:02d}" for a, b in product(range(1, 32), repeat=2))
    assert len(bets("3D")) == 1000 + 990  # without the triples
    assert len(bets("2D")) == 961 + 930  # without the doubles


@pytest.mark.parametrize("game", GAMES)
def test_every_bet_pays_the_same_share_over_all_outcomes(game: str) -> None:
    prizes = DEFAULT_PRIZES[game]
    for play, number in bets(game):
        paid = sum(prize(game, prizes, play, number, 100, result) for result in outcomes(game))
        assert Fraction(paid, 100 * len(outcomes(game))) == RETURNS[game, play], (play, number)


@pytest.mark.parametrize("game", GAMES)
def test_a_bet_wins_exactly_with_its_number_or_any_order_of_it(game: str) -> None:
    key_of = {number: sorted(symbols(game, number)) for number in outcomes(game)}
    for play, number in bets(game):
        if play == "straight":
            expected: tuple[str, ...] = (number,)
        else:
            expected = tuple(result for result in outcomes(game) if key_of[result] == key_of[number])
        assert covers(game, play, number) == expected
        assert all(match_key(game, play, other) == match_key(game, play, number) for other in expected)


@pytest.mark.parametrize("game", GAMES)
def test_only_an_anagram_of_a_result_can_win(game: str) -> None:
    for result in outcomes(game):
        found = set(anagrams(game, result))
        assert found >= {number for _, numbers in winning_bets(game, result) for number in numbers}
        assert {"".join(sorted(number)) for number in found} == {"".join(sorted(result))}
    assert anagrams("3D", "064") == ["046", "064", "406", "460", "604", "640"]
    assert anagrams("2D", "08-20") == ["08-20", "20-08"]
    assert anagrams("3D", "777") == ["777"]
    for number in ("46", "0464", "08-20"):
        with pytest.raises(ValueError, match="not a number of 3D"):
            anagrams("3D", number)


@pytest.mark.parametrize("game", GAMES)
def test_the_winning_bets_of_a_result_are_those_that_a_prize_is_paid_for(game: str) -> None:
    winners: dict[str, set[tuple[str, str]]] = {result: set() for result in outcomes(game)}
    for play, number in bets(game):
        for result in covers(game, play, number):
            assert prize(game, DEFAULT_PRIZES[game], play, number, 100, result) > 0
            winners[result].add((play, number))
    for result in outcomes(game):
        found = winning_bets(game, result)
        assert [play for play, _ in found] == ["straight", "rambolito"]
        assert {(play, number) for play, numbers in found for number in numbers} == winners[result]


def test_triples_and_doubles_have_no_winning_rambolito() -> None:
    assert winning_bets("3D", "111") == [("straight", ("111",)), ("rambolito", ())]
    assert winning_bets("2D", "08-08") == [("straight", ("08-08",)), ("rambolito", ())]
    assert winning_bets("3D", "112") == [("straight", ("112",)), ("rambolito", ("112", "121", "211"))]


def test_ten_pesos_pay_what_the_prize_table_says() -> None:
    table = DEFAULT_PRIZES["3D"]
    assert prize("3D", table, "straight", "046", 1000, "046") == 450_000
    assert prize("3D", table, "rambolito", "112", 1000, "211") == 150_000
    assert prize("3D", table, "rambolito", "123", 1000, "321") == 75_000
    assert prize("3D", table, "straight", "046", 1000, "064") == 0
    assert prize("2D", DEFAULT_PRIZES["2D"], "straight", "08-20", 1000, "08-20") == 400_000
    assert prize("2D", DEFAULT_PRIZES["2D"], "rambolito", "20-08", 1000, "08-20") == 200_000


def test_prize_classes_are_named_by_how_many_orders_a_number_has() -> None:
    assert prize_class("3D", "straight", "111") == "straight"
    assert prize_class("3D", "rambolito", "121") == "rambolito_pair"
    assert prize_class("3D", "rambolito", "123") == "rambolito_distinct"
    assert prize_class("2D", "rambolito", "31-01") == "rambolito"


def test_the_match_key_sorts_a_rambolito_and_leaves_a_straight_bet_alone() -> None:
    assert match_key("3D", "rambolito", "321") == "123"
    assert match_key("2D", "rambolito", "20-08") == "08-20"
    assert match_key("3D", "straight", "321") == "321"


BAD_3D = ["", "12", "1234", "123\n", "\n123", " 123", "12a", "-12", "+12", "1.2", "1-2", "²12", "1\u06632"]
BAD_3D += ["\u0660\u0664\u0666", "\uff10\uff14\uff16"]  # 046 in Arabic digits, and in full width
BAD_2D = ["", "08", "0820", "8-20", "08-20\n", "08-32", "00-01", "08-20-", "-08-20", "08--20", "08\u201320"]
BAD_2D += ["\u0660\u0668-\u0662\u0660", "\uff10\uff18-\uff12\uff10"]  # 08-20 likewise


@pytest.mark.parametrize(("game", "number"), [("3D", n) for n in BAD_3D] + [("2D", n) for n in BAD_2D])
def test_a_number_with_anything_but_its_own_ascii_digits_is_refused(game: str, number: str) -> None:
    assert not is_outcome(game, number)
    assert all(refusal(game, play, number) for play in GAMES[game].plays)
    with pytest.raises(ValueError, match="number"):
        covers(game, "straight", number)
    with pytest.raises(ValueError, match="number"):
        match_key(game, "rambolito", number)
    with pytest.raises(ValueError, match="number"):
        winning_bets(game, number)
    with pytest.raises(ValueError, match="number"):
        prize(game, DEFAULT_PRIZES[game], "straight", outcomes(game)[0], 100, number)


@settings(deadline=None)
@given(st.sampled_from(sorted(GAMES)), st.text(max_size=6) | st.text("0123456789-٣3\n ", max_size=6))
def test_whatever_is_typed_is_an_outcome_only_if_it_is_in_the_list(game: str, number: str) -> None:
    assert is_outcome(game, number) == (number in outcomes(game))


def test_bets_that_cannot_exist_are_refused_with_a_reason() -> None:
    assert "no such game" in str(refusal("4D", "straight", "0460"))
    assert "no such play" in str(refusal("3D", "target", "046"))
    assert "equal" in str(refusal("3D", "rambolito", "777"))
    assert "equal" in str(refusal("2D", "rambolito", "08-08"))
    assert refusal("3D", "straight", "777") is None
    assert refusal("2D", "straight", "08-08") is None
    with pytest.raises(ValueError, match="equal"):
        prize_class("3D", "rambolito", "777")
