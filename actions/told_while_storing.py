"""What a batch of a draw's records gives to tell: numbers sold out, credit that runs low, records that were refused.

Nearly every batch gives nothing, and then nothing is asked of the database. Telling never keeps a ticket from being
stored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import structlog
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from models.dead_letters import RECORD
from models.draws import Draw
from models.events import note_events
from models.notifications import newly_sold_out, tell
from models.people import User
from rules.errors import Invalid
from rules.games import PLAYS
from rules.limits import STAKE_UNIT, Limits
from rules.notifications import ALL, SOLD_OUT, Notice, dead_letter, low_credit, sold_out

# Data exceptions and violated constraints: nobody but us is to blame, and no ticket may wait for it.
_OUR_FAULT = ("22", "23")

Bet = tuple[str, str]  # play, match key

_log = structlog.get_logger()


def full_at(draw: Draw) -> dict[str, int]:
    """By play the least stake in centavos at which one of its numbers is sold out; numbers that cannot be sold at all
    do not count."""
    limits = _limits(draw)
    if limits is None:
        return {}
    found = {}
    for play in PLAYS:
        most = [limits.stake(play), *limits.by_number.get(play, {}).values()]
        if sellable := [one for one in most if one >= STAKE_UNIT]:
            found[play] = min(sellable) - STAKE_UNIT + 1  # less than a whole peso is left
    return found


def filled(draw: Draw, full: Sequence[tuple[str, str, int]], added: Mapping[Bet, int]) -> list[Bet]:
    """Those of the (play, key, stake so far) of which less than a whole peso is left, and which `added` to."""
    limits = _limits(draw) if full else None
    if limits is None:
        return []
    return [(p, key) for p, key, stake in full if added[p, key] > 0 and limits.stake(p, key) - stake < STAKE_UNIT]


class Crossed(NamedTuple):
    """What a batch gives to tell: dead letters by their ids, bets that it has filled up, and centavos available by
    agent where it has brought them below `low_at`."""

    letters: Sequence[int]
    full: Sequence[Bet]
    low: Mapping[int, int]
    low_at: int


def tell_of_batch(session: Session, draw: Draw, crossed: Crossed) -> None:
    """Tells it, in the batch's transaction. Raises the errors of a server that cannot work, and no others."""
    if not (crossed.letters or crossed.full or crossed.low):
        return
    try:
        with session.begin_nested():
            notices = [dead_letter(letter, RECORD, draw.name) for letter in crossed.letters]
            notices += _sold_out(session, draw, crossed.full)
            notices += _low_credit(session, crossed)
            tell(session, notices)
    except DBAPIError as error:
        if (getattr(error.orig, "sqlstate", None) or "")[:2] not in _OUR_FAULT:
            raise
        _log.error("not_told", draw=draw.name, error=str(error.orig))


def _limits(draw: Draw) -> Limits | None:
    try:
        return Limits.from_dict(draw.limits or {})
    except Invalid:  # somebody's hand in the database, and no reason to leave tickets in the journal
        return None


def _sold_out(session: Session, draw: Draw, bets: Sequence[Bet]) -> list[Notice]:
    new = newly_sold_out(session, draw.id, bets) if bets else []
    told = [({"draw_id": draw.name, "play": play, "number": key, "left": 0}, ALL) for play, key in new]
    note_events(session, SOLD_OUT, told)
    return [sold_out(draw.name, new)] if new else []


def _low_credit(session: Session, crossed: Crossed) -> list[Notice]:
    if not crossed.low:
        return []
    query = select(User.id, User.username, User.parent_id).where(User.id.in_(crossed.low)).order_by(User.id)
    return [low_credit(*user, crossed.low[user.id], crossed.low_at) for user in session.execute(query)]
