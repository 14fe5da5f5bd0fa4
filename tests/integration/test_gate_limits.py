"""The gate's limits against the pure rules: whatever is sold, both say the same."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actions.sell import sell_batch
from intake.bets import summed
from intake.gate import Sale
from rules import games, limits
from rules.errors import Problem, SoldOut
from rules.tickets import Line
from tests.integration.conftest import Lottery, new_id

# Few numbers and large stakes, so that limits are met from every side.
_NUMBERS = {
    "3D": ["112", "121", "211", "123", "321", "213", "777"],
    "2D": ["01-02", "02-01", "11-11", "30-31"],
}


def _lines(game: str) -> st.SearchStrategy[list[Line]]:
    stakes = st.sampled_from([100, 5_000, 40_000, 83_300, 100_000, 150_000, 150_100])
    line = st.builds(Line, st.sampled_from(games.PLAYS), st.sampled_from(_NUMBERS[game]), stakes)
    return st.lists(line.filter(lambda bet: games.refusal(game, bet.play, bet.number) is None), min_size=1, max_size=10)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), game=st.sampled_from(["3D", "2D"]))
def test_the_gate_and_the_rules_refuse_the_same_bets(lottery: Lottery, data: st.DataObject, game: str) -> None:
    agent = lottery.rich_agent()
    draw = lottery.draw(game, minute=lottery.next_minute())
    exposure: dict[tuple[str, str], int] = {}
    for _ in range(data.draw(st.integers(1, 6))):
        lines = tuple(data.draw(_lines(game)))
        expected = limits.take(game, games.DEFAULT_PRIZES[game], limits.Limits(), exposure, lines)
        answer = sell_batch(lottery.res, [(draw, Sale(agent, new_id(), lines))])[0]
        if isinstance(answer, SoldOut):
            assert answer.extra["lines"] == [bet._asdict() for bet in expected]
        else:
            assert not isinstance(answer, Problem)
            assert expected == []
            for bet, stake in summed(game, lines).items():
                exposure[bet] = exposure.get(bet, 0) + stake
        assert {b: s for b, s in lottery.res.gate.exposures([draw])[0].items() if s} == exposure
