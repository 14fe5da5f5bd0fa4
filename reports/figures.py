"""What everybody sold, won for customers and earned, draw by draw: the figures that reports arrange."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy.orm import Session

from models.draws import Draw
from models.people import User
from models.reporting import booked_by, sold_by, won_by
from reports.document import Column, Kind

Figures = dict[str, int]

# `net` is the stake less voids and refunds; `winners` counts tickets, `won_lines` their winning lines.
COLUMNS = (
    Column("tickets", "Tickets", Kind.COUNT),
    Column("stake", "Stake", Kind.MONEY),
    Column("voids", "Voids", Kind.COUNT),
    Column("voided_stake", "Voided stake", Kind.MONEY),
    Column("refunded", "Refunded", Kind.MONEY),
    Column("net", "Net", Kind.MONEY),
    Column("winners", "Winning tickets", Kind.COUNT),
    Column("won_lines", "Winning lines", Kind.COUNT),
    Column("prizes", "Prizes", Kind.MONEY),
    Column("commission", "Commission", Kind.MONEY),
)
NAMES = tuple(column.name for column in COLUMNS)


def nothing() -> Figures:
    return dict.fromkeys(NAMES, 0)


def figures_of(session: Session, draw: Draw, top: User) -> dict[int, Figures]:
    """NAMES by user of those whom `top` sees: agents who sold, and whoever earned a commission.

    Prizes are those of the current version, and nothing before that is settled.
    """
    booked = booked_by(session, draw.id, ("refund", "commission"), top)
    sold = sold_by(session, draw.id, top)
    found = {user: nothing() for user in sold.keys() | booked["refund"].keys() | booked["commission"].keys()}
    for user, counts in sold.items():
        found[user] |= counts
    for user, amount in booked["refund"].items():
        found[user]["refunded"] = amount
    for user, amount in booked["commission"].items():
        found[user]["commission"] = amount
    for user, won in won_by(session, draw, top).items() if draw.status == "settled" else ():
        found.setdefault(user, nothing()).update(winners=won.tickets, won_lines=won.lines, prizes=won.prize)
    for figures in found.values():
        figures["net"] = figures["stake"] - figures["voided_stake"] - figures["refunded"]
    return found


def figures_of_all(session: Session, draws: Sequence[Draw], top: User) -> dict[int, Figures]:
    """The same of several draws together."""
    found: dict[int, Figures] = {}
    for draw in draws:
        for user, figures in figures_of(session, draw, top).items():
            add(found.setdefault(user, nothing()), figures)
    return found


def add(to: Figures, figures: Mapping[str, int]) -> None:
    for name in NAMES:
        to[name] += figures[name]


def total(all_figures: Sequence[Mapping[str, int]]) -> Figures:
    found = nothing()
    for figures in all_figures:
        add(found, figures)
    return found


def row(figures: Mapping[str, int]) -> tuple[int, ...]:
    """In the order of COLUMNS."""
    return tuple(figures[name] for name in NAMES)
