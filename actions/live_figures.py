"""Sales and exposure while they happen: the house's from the gate's counters, a branch's as far as it is stored.

The gate counts by draw and by bet, in O(1), and no sale pays for more (docs/decisions/0011). An answer is
kept for a moment (runtime/fresh.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date as Date
from functools import partial
from typing import Any

from sqlalchemy.orm import Session

from actions.resources import Resources
from actions.subtree import acting, reachable
from intake.gate_counts import Counts
from models.draws import Game, draw_by_name
from models.figures import Sold, Stored, branches, sold_below, stored_draws
from models.people import User, sees_everyone
from models.sums import kept_sums
from rules.draws import LIVE, manila_date
from rules.errors import IntakeUnavailable, NoSuchDraw
from rules.limits import Limits, left, sold_out, worst_payout
from rules.rights import ADMINISTRATORS, Role
from rules.texts import rfc3339


def draw_sales(res: Resources, actor_id: int, name: str, user_id: int | None) -> dict[str, Any]:
    """What has been sold of a draw, by all (who see everyone), or by a user and everyone below him.

    Raises NoSuchDraw, NotFound, TokenRevoked.
    """
    with res.sessions() as session:
        top = _top(session, actor_id, user_id)
        if draw_by_name(session, name) is None:
            raise NoSuchDraw
    found = res.fresh.get(("sales", name, top), partial(_sales, res, top, names=[name]))
    draw = found["draws"][0] if found["draws"] else {"draw_id": name, "status": "scheduled", **Sold().body()}
    return {**draw, **{key: found[key] for key in ("at", "counted", "journal", "below")}}


def sales_of_day(
    res: Resources, actor_id: int, date: Date | None, game: str | None, user_id: int | None
) -> dict[str, Any]:
    """The same for all draws of a date (None: today in Manila), by draw and by game. Raises NotFound, TokenRevoked."""
    date = date or manila_date(res.clock.now())
    with res.sessions() as session:
        top = _top(session, actor_id, user_id)
    found = res.fresh.get(("sales", date, game, top), partial(_sales, res, top, date=date, game=game))
    return {"date": date.isoformat(), **found}


def _top(session: Session, actor_id: int, user_id: int | None) -> int | None:
    """Whose sales: the user's, by default the actor's own; None: everybody's."""
    actor = acting(session, actor_id)
    user: User = actor if user_id is None else reachable(session, actor, user_id)
    # An operator below an administrator sees more than that administrator: not by way of him.
    return None if sees_everyone(user) and sees_everyone(actor) else user.id


def _sales(res: Resources, top: int | None, **which: Any) -> dict[str, Any]:
    at = rfc3339(res.clock.now())
    with res.sessions() as session:
        draws = stored_draws(session, **which)
        ids = [draw.draw_id for draw in draws]
        below = branches(session, ids, top)
        sold = {draw.draw_id: draw.sold for draw in draws} if top is None else sold_below(session, ids, top)
    live = [draw for draw in draws if draw.status in LIVE]
    counts = _counts(res, live)
    if top is None:
        sold |= {draw: Sold(*found[:4]) for draw, found in counts.items()}
    games: dict[str, Sold] = {}
    for draw in draws:
        games[draw.game] = games.get(draw.game, Sold()).plus(sold.get(draw.draw_id, Sold()))
    total = Sold()
    for one in games.values():
        total = total.plus(one)
    return {
        "at": at,
        "counted": "at the gate" if top is None and len(counts) == len(live) else "as stored",
        "journal": _lag(res, live, counts),
        "total": total.body(),
        "games": [{"game": game, **one.body()} for game, one in games.items()],
        "draws": [
            {"draw_id": draw.name, "status": draw.status, **sold.get(draw.draw_id, Sold()).body()} for draw in draws
        ],
        "below": [
            {"user_id": one.user_id, "username": one.username, "role": one.role, **one.sold.body()} for one in below
        ],
    }


def _counts(res: Resources, live: Sequence[Stored]) -> dict[int, Counts]:
    """What the gate has counted of these draws, by their ids; without those that it does not hold, or if it is away."""
    if not live:
        return {}
    try:
        found = res.gate.counts([draw.name for draw in live])
    except IntakeUnavailable:
        return {}
    return {draw.draw_id: counts for draw, counts in zip(live, found, strict=True) if counts is not None}


def _lag(res: Resources, live: Sequence[Stored], counts: dict[int, Counts]) -> dict[str, Any] | None:
    """Records of these draws' journals that are not stored yet, and for how long nothing was stored while they wait;
    None: the gate does not tell."""
    if len(counts) < len(live):
        return None
    now, records, seconds = res.clock.now(), 0, 0.0
    for draw in live:
        last = counts[draw.draw_id]
        if (last.serial, last.sub) > (draw.serial, draw.sub):
            records += last.serial - draw.serial or last.sub - draw.sub
            seconds = max(seconds, (now - draw.moved_at).total_seconds())
    return {"records": records, "seconds": round(max(seconds, 0.0), 1)}


def exposure(res: Resources, actor_id: int, name: str) -> dict[str, Any]:
    """What stands on each number of a draw that has opened, the highest first; what is left of it for everybody, and
    stake, limit and the payout that it might cost for those who answer for the house.

    Raises NoSuchDraw, TokenRevoked, IntakeUnavailable (an open draw, and the gate is away).
    """
    with res.sessions() as session:
        actor = acting(session, actor_id)
        if draw_by_name(session, name) is None:
            raise NoSuchDraw
    body = res.fresh.get(("exposure", name), partial(_exposure, res, name))
    if Role(actor.role) in ADMINISTRATORS or sees_everyone(actor):
        return body
    shown = ("play", "number", "left")
    return {**body, "items": [{key: item[key] for key in shown} for item in body["items"]]}


def _exposure(res: Resources, name: str) -> dict[str, Any]:
    at = rfc3339(res.clock.now())
    with res.sessions() as session:
        draw = draw_by_name(session, name)
        assert draw is not None  # no draw is ever deleted
        prizes = draw.prize_table or session.get_one(Game, draw.game).prize_table
        stakes = kept_sums(session, draw.id).bets if draw.status not in LIVE else {}
    if draw.status in LIVE:
        (stakes,) = res.gate.exposures([name])
    limits = Limits.from_dict(draw.limits or {})
    items = [
        {
            "play": play,
            "number": key,
            "stake": stake,
            "limit": limits.stake(play, key),
            "left": left(draw.game, prizes, limits, stakes, play, key),
            "payout": worst_payout(draw.game, prizes, stakes, play, key),
        }
        for (play, key), stake in sorted(stakes.items(), key=lambda item: (-item[1], item[0]))
        if stake
    ]
    full = sold_out(draw.game, prizes, limits, stakes)
    return {"draw_id": name, "status": draw.status, "at": at, "items": items, "sold_out": full}
