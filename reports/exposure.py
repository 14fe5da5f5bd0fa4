"""What stands on each number of a draw, and what it would cost."""

from __future__ import annotations

from collections.abc import Iterable

from models.draws import Draw
from models.sums import kept_sums
from reports.about import about, checked_fact, scope_facts
from reports.bets import LiveBets, live_bets
from reports.document import Column, Document, Fact, Kind, Table
from reports.kinds import Scope, Sources
from rules.errors import DrawNotOpen
from rules.games import covers, prize_class
from rules.limits import Limits, left, payout_of

_BETS = (
    Column("play", "Play"),
    Column("number", "Number"),
    Column("live_stake", "Live stake", Kind.MONEY),
    Column("limit", "Limit", Kind.MONEY),
    Column("left", "Left", Kind.MONEY),
    Column("pays", "It would pay", Kind.MONEY),
    Column("payout", "Highest payout with it", Kind.MONEY),
)

_NOT_SHOWN = "not shown: it would tell what others sold"


def build(sources: Sources, scope: Scope) -> Document:
    """About a draw. `left` is of the whole draw's limits, and stands there only for whoever sees all of its sales.

    Raises DrawNotOpen: it has not been open yet.
    """
    session, draw = sources.session, scope.draw
    assert draw is not None
    if draw.limits is None:
        raise DrawNotOpen
    bets = live_bets(session, draw, scope.top)
    rows = sorted(_rows(draw, bets), key=lambda row: (-row[6], -row[2], row[0], row[1]))
    totals = {"live_stake": sum(row[2] for row in rows), "pays": sum(row[5] for row in rows)}
    facts = (
        *scope_facts(session, scope),
        checked_fact(session, draw, kept_sums(session, draw.id)),
        Fact("live_stake", "Live stake", totals["live_stake"], Kind.MONEY),
        Fact("payout_limit", "Limit of what an outcome may cost", Limits.from_dict(draw.limits).payout, Kind.MONEY),
        Fact("highest_payout", "Highest payout", max((row[6] for row in rows), default=0), Kind.MONEY),
        Fact("left", "What is left of the limits", "of the whole draw" if bets.whole else _NOT_SHOWN),
    )
    return Document("exposure", "Exposure", about(scope), facts, (Table("bets", "By bet", _BETS, rows, totals),))


def _rows(draw: Draw, bets: LiveBets) -> Iterable[tuple[str, str, int, int, int | None, int, int]]:
    """`payout` is that of the dearest outcome on which the bet wins, with everything else that wins on it."""
    assert draw.prize_table is not None
    assert draw.limits is not None
    prizes = {name: int(pay) for name, pay in draw.prize_table.items()}
    limits = Limits.from_dict(draw.limits)
    for (play, key), stake in bets.stakes.items():
        rest = left(draw.game, prizes, limits, bets.stakes, play, key) if bets.whole else None
        worst = max(payout_of(draw.game, prizes, bets.stakes, outcome) for outcome in covers(draw.game, play, key))
        pays = stake * prizes[prize_class(draw.game, play, key)]
        yield play, key, stake, limits.stake(play, key), rest, pays, worst
