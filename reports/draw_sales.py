"""What was sold, voided, won and earned in a draw, or in each draw of a period."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy.orm import Session

from models.draws import Draw
from models.people import User
from models.reporting import people_named, won_on
from models.settlement import Seal
from models.sums import kept_sums
from reports import figures
from reports.about import STANDING, about, against_tickets, checked_fact, draws_of, scope_facts
from reports.bets import live_bets
from reports.document import Column, Document, Fact, Kind, Table
from reports.figures import Figures, add, figures_of, nothing, row, total
from reports.kinds import Scope, Sources

PERSON = (
    Column("user_id", "Id", Kind.ID),
    Column("username", "Username"),
    Column("full_name", "Name"),
)

_PLAYS = (
    Column("play", "Play"),
    Column("live_stake", "Live stake", Kind.MONEY),
    Column("won_lines", "Winning lines", Kind.COUNT),
    Column("won_stake", "Stake that won", Kind.MONEY),
    Column("prizes", "Prizes", Kind.MONEY),
)

_DRAWS = (
    Column("draw_id", "Draw"),
    Column("status", "State"),
    Column("result", "Result"),
    *figures.COLUMNS,
    Column("merkle_root", "Merkle root"),
    Column("checked", "Sums"),
)


def build(sources: Sources, scope: Scope) -> Document:
    """About a draw, or a period: then about each draw that is drawn in it. Money of those whom `top` sees."""
    session, top = sources.session, scope.top
    by_user: dict[int, Figures] = {}
    draws: list[tuple[Draw, Figures]] = []
    for draw in draws_of(session, scope):
        found = figures_of(session, draw, top)
        draws.append((draw, total(list(found.values()))))
        for user, its in found.items():
            add(by_user.setdefault(user, nothing()), its)
    tables = [_agents(session, by_user)]
    if scope.draw is not None:
        own = (checked_fact(session, scope.draw, kept_sums(session, scope.draw.id)),)
        tables.append(_plays(session, scope.draw, top))
    else:
        own = (Fact("draws", "Draws", len(draws), Kind.COUNT),)
        tables.insert(0, _by_draw(session, draws))
    facts = (*scope_facts(session, scope), *own, *_sums(by_user), STANDING)
    return Document("draw_sales", "Sales", about(scope), facts, tuple(tables))


def _sums(by_user: Mapping[int, Figures]) -> Iterable[Fact]:
    """Everything together; agents are those who sold."""
    sums = total(list(by_user.values()))
    of_agents = sum(its["commission"] for its in by_user.values() if its["tickets"])
    yield from (Fact(column.name, column.title, sums[column.name], column.kind) for column in figures.COLUMNS)
    yield Fact("commission_agents", "Commission of those who sold", of_agents, Kind.MONEY)
    yield Fact("commission_above", "Commission of those above them", sums["commission"] - of_agents, Kind.MONEY)
    # Whole basis points, rounded down; none where nothing was staked.
    ratio = sums["prizes"] * 10_000 // sums["net"] if sums["net"] else None
    yield Fact("payout_ratio", "Payout ratio", ratio, Kind.SHARE)


def _agents(session: Session, by_user: Mapping[int, Figures]) -> Table:
    """Those who sold; what others earn on it stands in the facts."""
    sold = {user: its for user, its in by_user.items() if its["tickets"] or its["winners"]}
    people = people_named(session, sold)
    named = sorted((people[user].username if user in people else "", user) for user in sold)
    rows = [(user, name, people[user].full_name if user in people else None, *row(sold[user])) for name, user in named]
    columns = (*PERSON, *figures.COLUMNS)
    return Table("agents", "By agent", columns, rows, total(list(sold.values())))


def _plays(session: Session, draw: Draw, top: User) -> Table:
    live = live_bets(session, draw, top).stakes
    won = won_on(session, draw, top) if draw.status == "settled" else {}
    rows = []
    for play in sorted({play for play, _ in live.keys() | won.keys()}, reverse=True):
        mine = [sums for (other, _), sums in won.items() if other == play]
        staked = sum(stake for (other, _), stake in live.items() if other == play)
        rows.append((play, staked, *(sum(sums[i] for sums in mine) for i in range(3))))
    return Table("plays", "By play", _PLAYS, rows, _column_sums(_PLAYS[1:], [row[1:] for row in rows]))


def _by_draw(session: Session, draws: Sequence[tuple[Draw, Figures]]) -> Table:
    rows = []
    for draw, its in draws:
        seal = session.get(Seal, draw.id)
        checked = against_tickets(session, draw, kept_sums(session, draw.id))
        root = seal.merkle_root.hex() if seal is not None else None
        rows.append((draw.name, draw.status, draw.result, *row(its), root, checked))
    return Table("draws", "By draw", _DRAWS, rows, total([its for _, its in draws]))


def _column_sums(columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> dict[str, int]:
    return {column.name: sum(row[i] for row in rows) for i, column in enumerate(columns)}
