"""Each game's settings for draws to come: prices, limits, times. A new game of the rules gets its row at setup."""

from __future__ import annotations

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, sessionmaker

from models.draws import Game
from rules.draws import SCHEDULE_TIMES
from rules.games import DEFAULT_PRIZES, GAMES
from rules.limits import Limits


def ensure_games(sessions: sessionmaker[Session]) -> None:
    """Adds the settings of games that the database does not know yet; what is there stays as it is."""
    times = [f"{time:%H:%M}" for time in SCHEDULE_TIMES]
    rows = [
        {"game": game, "prize_table": DEFAULT_PRIZES[game], "limits": Limits().to_dict(), "times": times}
        for game in GAMES
    ]
    with sessions.begin() as session:
        session.execute(insert(Game).values(rows).on_conflict_do_nothing())
