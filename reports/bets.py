"""What stands on each bet of a draw, as somebody sees it."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy.orm import Session

from models.draws import Draw
from models.people import User
from models.reporting import others_sold, sold_by, staked_by
from models.tickets import exposure_of
from rules.games import match_key


class LiveBets(NamedTuple):
    """`stakes`: live centavos by (play, match key), zeros left out; `whole`: nobody else has staked in the draw."""

    stakes: dict[tuple[str, str], int]
    whole: bool


def live_bets(session: Session, draw: Draw, top: User) -> LiveBets:
    """From the sums that are kept, if all of the draw is `top`'s to see; else from his agents' tickets."""
    if not others_sold(session, draw.id, top):
        return LiveBets({bet: stake for bet, stake in exposure_of(session, draw.id).items() if stake}, True)
    stakes: dict[tuple[str, str], int] = {}
    for (play, number), stake in staked_by(session, draw, sold_by(session, draw.id, top)).items():
        bet = play, match_key(draw.game, play, number)
        stakes[bet] = stakes.get(bet, 0) + stake
    return LiveBets(stakes, False)
