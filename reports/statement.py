"""What moved on a wallet and on those below it, and what is to be handed in: all of it from the ledger's postings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy.orm import Session

from models.people import User
from models.statements import Holder, Span, branch_days, branch_holders, branch_sums, branch_users
from reports.about import about, scope_facts
from reports.document import Column, Document, Fact, Kind, Table
from reports.kinds import Scope, Sources
from rules.statements import COLUMNS, to_remit

_TITLES = {
    "moved_in": "Moved in",
    "sales": "Sales",
    "voids": "Voids",
    "refunds": "Refunds",
    "commissions": "Commissions",
    "prizes_paid": "Prizes paid",
    "loads": "Loads",
    "remittances": "Remittances",
    "shortages": "Shortages",
    "corrections": "Corrections",
}
_MOVES = tuple(Column(name, _TITLES[name], Kind.MONEY) for name in COLUMNS.values())
_CHANGE = Column("change", "Change", Kind.MONEY)
_DAYS = (Column("date", "Date", Kind.DATE), Column("draw_id", "Draw"), *_MOVES, _CHANGE)
_PEOPLE = (
    Column("user_id", "Id", Kind.ID),
    Column("username", "Username"),
    Column("full_name", "Name"),
    Column("role", "Role"),
    Column("opening", "Opening balance", Kind.MONEY),
    *_MOVES,
    _CHANGE,
    Column("closing", "Closing balance", Kind.MONEY),
    Column("to_remit", "To remit", Kind.MONEY),
)
_REMIT = {
    "sales": "Sales",
    "voids": "Voids and refunds",
    "prizes_paid": "Prizes paid",
    "commission": "Commission",
    "remitted": "Remitted",
    "to_remit": "Net to remit",
}

Sums = Mapping[str, int]


def build(sources: Sources, scope: Scope) -> Document:
    """Of `top` and everyone below him: about a draw, or a period by the instants of the entries.

    Columns are signed as the wallets see them: a sale takes from a wallet. Opening balance and movements make the
    closing balance, for each wallet and for all together; a draw has neither. What one of the branch gives another adds
    up to nothing. The facts from sales to net to remit are those of a day's summary.
    """
    session, top = sources.session, scope.top
    span = Span(scope.since, scope.before, scope.draw.id if scope.draw is not None else None)
    sums = branch_sums(session, top.id, span)
    tables = [_days(session, top, span)]
    holders = branch_holders(session, top.id)
    balances = _balances(session, top, scope, holders)
    if len(holders) > 1:
        tables.append(_people(session, top, span, holders, balances))
    opening, closing = (
        (None, None) if scope.draw is not None else map(sum, zip((0, 0), *balances.values(), strict=True))
    )
    facts = (
        *scope_facts(session, scope),
        Fact("opening", "Opening balance", opening, Kind.MONEY),
        Fact("change", "Change", sum(sums.values()), Kind.MONEY),
        Fact("closing", "Closing balance", closing, Kind.MONEY),
        *(Fact(name, _REMIT[name], value, Kind.MONEY) for name, value in to_remit(sums).items()),
    )
    return Document("statement", "Statement", about(scope), facts, tuple(tables))


def _balances(session: Session, top: User, scope: Scope, holders: Iterable[Holder]) -> dict[int, tuple[int, int]]:
    """(opening, closing) by user: from the balance now back over what came since; nothing for a draw.

    Not forwards from the first entry: that would read everything that these wallets have ever seen.
    """
    if scope.draw is not None:
        return {}
    since_then = branch_users(session, top.id, Span(scope.since))
    after = branch_users(session, top.id, Span(scope.before))
    found = {}
    for holder in holders:
        opening = holder.balance - sum(since_then.get(holder.user_id, {}).values())
        found[holder.user_id] = opening, holder.balance - sum(after.get(holder.user_id, {}).values())
    return found


def _moves(sums: Sums) -> tuple[int, ...]:
    """In the order of _MOVES, and then all together."""
    return (*(sums.get(kind, 0) for kind in COLUMNS), sum(sums.values()))


def _days(session: Session, top: User, span: Span) -> Table:
    rows = [(day, draw, *_moves(sums)) for (day, draw), sums in branch_days(session, top.id, span).items()]
    return Table("movements", "By day and draw", _DAYS, rows, _totals(_DAYS, rows))


def _people(
    session: Session, top: User, span: Span, holders: Iterable[Holder], balances: Mapping[int, tuple[int, int]]
) -> Table:
    """Everyone on whose wallet there is or was something."""
    sums = branch_users(session, top.id, span)
    rows = []
    for holder in holders:
        mine = sums.get(holder.user_id, {})
        opening, closing = balances.get(holder.user_id, (None, None))
        if mine or opening or closing:
            who = holder.user_id, holder.username, holder.full_name, holder.role
            rows.append((*who, opening, *_moves(mine), closing, to_remit(mine)["to_remit"]))
    return Table("people", "By user", _PEOPLE, rows, _totals(_PEOPLE, rows))


def _totals(columns: tuple[Column, ...], rows: Sequence[tuple[object, ...]]) -> dict[str, int]:
    """Of the columns of money; what nobody has is not summed."""
    found = {}
    for i, column in enumerate(columns):
        values = [value for row in rows if isinstance(value := row[i], int)]
        if column.kind is Kind.MONEY and len(values) == len(rows):
            found[column.name] = sum(values)
    return found
