from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.errors import Invalid
from rules.games import DEFAULT_PRIZES, GAMES, covers, match_key, outcomes, prize, refusal
from rules.limits import STAKE_MAX, Limits, Refused, left, sold_out, stake_refusal, summed, take
from rules.tickets import Line

Exposure = dict[tuple[str, str], int]

TABLES = {"3D": DEFAULT_PRIZES["3D"], "2D": DEFAULT_PRIZES["2D"]}
# Few symbols, so that bets meet on the same outcomes.
NUMBERS = {
    "3D": ["112", "121", "211", "123", "132", "321", "111"],
    "2D": ["08-20", "20-08", "08-08", "01-31"],
}


def payout(game: str, exposure: Exposure, outcome: str) -> int:
    """What an outcome costs, from the prizes themselves."""
    return sum(prize(game, TABLES[game], play, number, stake, outcome) for (play, number), stake in exposure.items())


def fits(game: str, limits: Limits, exposure: Exposure, bet: Line) -> bool:
    """Whether the limits hold after the bet, by looking at every outcome that it can win with."""
    key = (bet.play, match_key(game, bet.play, bet.number))
    after = Counter(exposure)
    after[key] += bet.stake
    return after[key] <= limits.stake(*key) and all(
        payout(game, after, outcome) <= limits.payout
        for outcome in outcomes(game)
        if prize(game, TABLES[game], bet.play, bet.number, 1, outcome)
    )


@st.composite
def situations(draw: st.DrawFn) -> tuple[str, Limits, list[Line]]:
    game = draw(st.sampled_from(["3D", "2D"]))
    lines = st.tuples(
        st.sampled_from(sorted(GAMES[game].plays)),
        st.sampled_from(NUMBERS[game]),
        st.integers(1, 12).map(lambda pesos: pesos * 100),
    ).filter(lambda line: refusal(game, line[0], line[1]) is None)
    amounts = st.integers(0, 2_500)  # not whole pesos on purpose
    own = st.dictionaries(st.sampled_from([match_key(game, "straight", n) for n in NUMBERS[game]]), amounts, max_size=2)
    sorted_own = st.dictionaries(st.sampled_from(sorted({"".join(sorted(n)) for n in ("112", "123")})), amounts)
    by_number = {"straight": draw(own), **({"rambolito": draw(sorted_own)} if game == "3D" else {})}
    limits = Limits(draw(amounts), draw(amounts), draw(st.integers(0, 900_000)), by_number)
    return game, limits, [Line(*line) for line in draw(st.lists(lines, max_size=8))]


def sold(game: str, bets: list[Line]) -> Exposure:
    exposure: Counter[tuple[str, str]] = Counter()
    for play, number, stake in bets:
        exposure[play, match_key(game, play, number)] += stake
    return dict(exposure)


@settings(max_examples=150, deadline=None)
@given(situations())
def test_what_is_left_is_the_largest_stake_that_fits(situation: tuple[str, Limits, list[Line]]) -> None:
    game, limits, bets = situation
    exposure: Exposure = {}
    for bet in bets:
        room = left(game, TABLES[game], limits, exposure, bet.play, bet.number)
        assert room >= 0
        assert room % 100 == 0
        assert room == 0 or fits(game, limits, exposure, bet._replace(stake=room))
        assert not fits(game, limits, exposure, bet._replace(stake=room + 100))
        if fits(game, limits, exposure, bet):
            exposure = sold(game, [*(Line(*key, stake) for key, stake in exposure.items()), bet])


@settings(max_examples=150, deadline=None)
@given(situations(), st.integers(0, 8))
def test_take_refuses_exactly_what_does_not_fit_after_the_bets_before_it(
    situation: tuple[str, Limits, list[Line]], earlier: int
) -> None:
    game, limits, bets = situation
    exposure = sold(game, bets[:earlier])  # may already be over limits that were lowered since
    untouched = dict(exposure)
    refused = take(game, TABLES[game], limits, exposure, bets[earlier:])
    assert exposure == untouched

    expected = []
    for bet in summed(game, bets[earlier:]):
        if fits(game, limits, exposure, bet):
            key = (bet.play, match_key(game, bet.play, bet.number))
            exposure[key] = exposure.get(key, 0) + bet.stake
        else:
            room = left(game, TABLES[game], limits, exposure, bet.play, bet.number)
            expected.append(Refused(bet.play, bet.number, room))
    assert refused == expected


@settings(max_examples=150, deadline=None)
@given(situations())
def test_sold_out_lists_what_has_nothing_left_by_a_sale_or_by_its_own_limit(
    situation: tuple[str, Limits, list[Line]],
) -> None:
    game, limits, bets = situation
    exposure = sold(game, bets)
    won = {outcome for play, number in exposure for outcome in covers(game, play, number)}
    looked_at = {(play, outcome) for play in GAMES[game].plays for outcome in won}
    looked_at |= {(play, key) for play, keys in limits.by_number.items() for key in keys}
    expected = {
        (play, match_key(game, play, number))
        for play, number in looked_at
        if refusal(game, play, number) is None and not fits(game, limits, exposure, Line(play, number, 100))
    }
    found = sold_out(game, TABLES[game], limits, exposure)
    assert [(item["play"], item["number"]) for item in found] == sorted(expected)
    assert all(item["left"] == 0 for item in found)


def test_a_rambolito_is_blocked_by_a_straight_number_that_it_covers_and_the_other_way_round() -> None:
    limits = Limits(stake_straight=200_000, stake_rambolito=2_000_000, payout=60_000_000)
    straight = {("straight", "321"): 133_300}  # 59,985,000 of 60,000,000
    assert left("3D", TABLES["3D"], limits, straight, "rambolito", "123") == 200
    assert left("3D", TABLES["3D"], limits, straight, "straight", "123") == 133_300
    full = straight | {("rambolito", "123"): 200}
    assert sold_out("3D", TABLES["3D"], limits, full) == [
        {"play": "rambolito", "number": "123", "left": 0},
        {"play": "straight", "number": "321", "left": 0},
    ]
    rambolito = {("rambolito", "123"): 800_000}
    assert {item["number"] for item in sold_out("3D", TABLES["3D"], limits, rambolito)} == {
        *covers("3D", "rambolito", "123")
    }


def test_equal_lines_are_refused_together_where_each_alone_would_fit() -> None:
    bets = [
        Line("straight", "046", 100_000),
        Line("rambolito", "123", 80_000),
        Line("straight", "046", 100_000),
    ]
    assert take("3D", TABLES["3D"], Limits(), {}, bets) == [Refused("straight", "046", 100_000)]
    orders = [Line("rambolito", "321", 80_000), Line("rambolito", "123", 80_000)]
    assert summed("3D", orders) == [Line("rambolito", "321", 160_000)]
    assert take("3D", TABLES["3D"], Limits(), {}, orders) == [Refused("rambolito", "321", 150_000)]


def test_what_is_over_a_lowered_limit_has_nothing_left_rather_than_less_than_nothing() -> None:
    exposure = {("straight", "046"): 50_000}
    assert left("3D", TABLES["3D"], Limits(stake_straight=100), exposure, "straight", "046") == 0
    assert left("3D", TABLES["3D"], Limits(payout=1), exposure, "rambolito", "046") == 0


@pytest.mark.parametrize("stake", [-100, 0, 1, 99, 101, 150, STAKE_MAX + 100])
def test_a_stake_that_is_not_whole_pesos_within_bounds_is_refused(stake: int) -> None:
    assert stake_refusal(stake)


def test_whole_pesos_are_taken() -> None:
    assert stake_refusal(100) is stake_refusal(STAKE_MAX) is None


def test_limits_go_through_a_plain_dict_and_refuse_nonsense() -> None:
    limits = Limits(100, 200, 300)
    assert Limits.from_dict(limits.to_dict()) == limits
    assert Limits.from_dict({}) == Limits(stake_straight=100_000, stake_rambolito=150_000, payout=60_000_000)
    with pytest.raises(Invalid) as caught:
        Limits.from_dict({"payout": -1, "stake_straight": 1.5, "stake_rambolito": True, "stake_target": 1})
    assert [error["path"] for error in caught.value.errors] == [
        "limits.payout",
        "limits.stake_straight",
        "limits.stake_rambolito",
        "limits.stake_target",
    ]


def test_a_number_may_have_a_limit_of_its_own_below_or_above_the_plays() -> None:
    limits = Limits(by_number={"straight": {"046": 500, "777": 120_000}, "rambolito": {"123": 0}})
    rooms = [left("3D", TABLES["3D"], limits, {}, *bet) for bet in (("straight", "046"), ("straight", "777"))]
    assert rooms == [500, 120_000]
    assert left("3D", TABLES["3D"], limits, {}, "rambolito", "321") == 0
    assert left("3D", TABLES["3D"], limits, {}, "straight", "640") == limits.stake("straight") == 100_000
    assert sold_out("3D", TABLES["3D"], limits, {}) == [{"play": "rambolito", "number": "123", "left": 0}]
    assert Limits.from_dict(limits.to_dict(), "3D") == limits


def test_limits_of_numbers_refuse_what_no_bet_is_counted_under() -> None:
    nonsense = {"straight": {"46": 1, "046": -1, "111": True}, "rambolito": {"321": 1, "111": 1, "123": 1}, "x": {}}
    with pytest.raises(Invalid) as caught:
        Limits.from_dict({"by_number": nonsense}, "3D")
    assert [error["path"].removeprefix("limits.by_number.") for error in caught.value.errors] == [
        "straight.46",
        "straight.046",
        "straight.111",
        "rambolito.321",
        "rambolito.111",
        "x",
    ]
    for shape in ([], {"straight": [1]}):
        with pytest.raises(Invalid):
            Limits.from_dict({"by_number": shape})


def test_a_draws_limits_are_its_games_overruled_one_by_one_by_what_was_asked() -> None:
    game, numbers = Limits(100, 200, 300).to_dict(), {"straight": {"046": 1, "111": 2}}
    assert Limits.frozen(game) == Limits(100, 200, 300)
    assert Limits.frozen(game, numbers) == Limits(100, 200, 300, numbers)
    asked = {"payout": 9, "by_number": {"straight": {"046": 7}, "rambolito": {"123": 8}}}
    merged = {"straight": {"046": 7, "111": 2}, "rambolito": {"123": 8}}
    assert Limits.frozen(game, numbers, asked) == Limits(100, 200, 9, merged)
    assert numbers == {"straight": {"046": 1, "111": 2}}
