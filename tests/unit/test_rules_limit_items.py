"""Limits as lists of {play, number?, max}."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.errors import Invalid
from rules.games import DEFAULT_PRIZES, GAMES, match_key, outcomes, refusal
from rules.limit_items import PAY_MAX, limits_from_items, number_items, play_items, prize_table_errors
from rules.limits import LIMIT_MAX, Limits


def item(play: str, most: int, number: str | None = None) -> dict[str, Any]:
    return {"play": play, "max": most} | ({} if number is None else {"number": number})


def test_items_become_limits_by_play_and_match_key() -> None:
    items = [item("straight", 5), item("rambolito", 7, "640"), item("straight", 0, "640")]
    assert limits_from_items("3D", items, 9) == {
        "stake_straight": 5,
        "by_number": {"rambolito": {"046": 7}, "straight": {"640": 0}},
        "payout": 9,
    }
    assert limits_from_items("3D", []) == {}


@pytest.mark.parametrize(
    ("items", "path"),
    [
        ([item("straight", 1), item("straight", 2)], "limits"),
        ([item("rambolito", 1, "046"), item("rambolito", 2, "640")], "limits"),
        ([item("straight", 1), item("straight", 1, "46")], "limits.1.number"),
        ([item("rambolito", 1, "111")], "limits.0.number"),
        ([item("straight", 1, "08-20")], "limits.0.number"),
    ],
)
def test_what_cannot_be_bet_or_stands_twice_is_refused_by_its_path(items: list[dict[str, Any]], path: str) -> None:
    with pytest.raises(Invalid) as refused:
        limits_from_items("3D", items)
    assert refused.value.errors[0]["path"] == path


amounts = st.integers(0, LIMIT_MAX)


@given(data=st.data(), game=st.sampled_from(sorted(GAMES)), straight=amounts, rambolito=amounts)
def test_limits_written_as_items_read_back_alike(data: st.DataObject, game: str, straight: int, rambolito: int) -> None:
    by_number: dict[str, dict[str, int]] = {}
    for play in ("straight", "rambolito"):
        bets = [number for number in outcomes(game) if refusal(game, play, number) is None]
        chosen = data.draw(st.dictionaries(st.sampled_from(bets), amounts, max_size=5))
        by_number[play] = {match_key(game, play, number): amount for number, amount in chosen.items()}
    limits = Limits(stake_straight=straight, stake_rambolito=rambolito, by_number=by_number)
    items = [*play_items(limits), *number_items(by_number)]
    assert Limits.from_dict(limits_from_items(game, items, limits.payout), game).to_dict() == limits.to_dict()


def test_a_price_list_names_every_prize_of_its_game_and_no_other() -> None:
    assert prize_table_errors("3D", DEFAULT_PRIZES["3D"]) == []
    wrong = {"straight": 0, "rambolito_pair": PAY_MAX + 1, "quadruple": 5}
    paths = [error["path"] for error in prize_table_errors("3D", wrong)]
    names = ["quadruple", "rambolito_distinct", "rambolito_pair", "straight"]
    assert paths == [f"prize_table.{name}" for name in names]
