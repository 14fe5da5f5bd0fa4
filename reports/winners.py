"""The winning lines of a settled draw, and what was paid on them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from models.draws import Draw
from models.prize_reports import paid_above, winning_lines, winning_totals
from reports.about import about, scope_facts
from reports.document import Column, Document, Fact, Kind, Table
from reports.kinds import Scope, Sources
from reports.prizes import prize_status
from rules.claims import claim_until, due
from rules.errors import NotSettled
from rules.tickets import ticket_number

_COLUMNS = (
    Column("number", "Ticket"),
    Column("line", "Line", Kind.COUNT),
    Column("user_id", "Agent", Kind.ID),
    Column("username", "Username"),
    Column("full_name", "Name"),
    Column("play", "Play"),
    Column("bet", "Number"),
    Column("stake", "Stake", Kind.MONEY),
    Column("prize", "Prize", Kind.MONEY),
    Column("paid", "Paid so far", Kind.MONEY),
    Column("expired", "Expired", Kind.MONEY),
    Column("due", "Due", Kind.MONEY),
    Column("status", "State"),
)
_SUMMED = ("stake", "prize", "paid", "expired", "due")


def build(sources: Sources, scope: Scope) -> Document:
    """About a draw. A ticket's payments lie on its winning lines in their order, none above its prize; what was paid
    above all of them, under an earlier result, is a fact. Raises NotSettled, also while a correction settles."""
    session, draw = sources.session, scope.draw
    assert draw is not None
    if draw.status != "settled":
        raise NotSettled
    sums = winning_totals(session, draw, scope.top)
    sums["due"] = sums["prize"] - sums["paid"] - sums["expired"]
    until = claim_until(draw.draws_at, sources.claim_days)
    facts = (
        *scope_facts(session, scope),
        Fact("claim_until", "Can be claimed before", until, Kind.INSTANT),
        Fact("tickets", "Winning tickets", sums["tickets"], Kind.COUNT),
        Fact("lines", "Winning lines", sums["lines"], Kind.COUNT),
        *(Fact(column.name, column.title, sums[column.name], column.kind) for column in _COLUMNS if _is_sum(column)),
        Fact("paid_in_error", "Paid above what is won", paid_above(session, draw, scope.top), Kind.MONEY),
    )
    totals = {name: sums[name] for name in _SUMMED}
    rows = _rows(sources, scope, draw, over=sources.now >= until)
    return Document("winners", "Winners", about(scope), facts, (Table("lines", "Lines", _COLUMNS, rows, totals),))


def _is_sum(column: Column) -> bool:
    return column.name in _SUMMED


def _rows(sources: Sources, scope: Scope, draw: Draw, *, over: bool) -> Iterator[tuple[Any, ...]]:
    for line in winning_lines(sources.session, draw, scope.top):
        money = line.prize, line.paid, line.expired
        yield (
            ticket_number(draw.name, line.serial),
            line.line_no,
            *(line.agent_id, line.username, line.full_name),
            *(line.play, line.number, line.stake),
            *money,
            due(*money),
            prize_status(*money, held=line.held, pending=line.pending, over=over),
        )
