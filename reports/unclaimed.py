"""Prizes that nobody has fetched, or not all of: what is due, until when, and what has expired."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import Row

from models.prize_reports import old_unpaid, old_unpaid_totals, unpaid_tickets, unpaid_totals
from reports.about import about, draws_of, scope_facts
from reports.document import Column, Document, Fact, Kind, Table
from reports.kinds import Scope, Sources
from reports.prizes import days_left, prize_status
from rules.claims import claim_until, due
from rules.errors import NotSettled
from rules.tickets import ticket_number

_COLUMNS = (
    Column("number", "Ticket"),
    Column("draw_id", "Draw"),
    Column("user_id", "Agent", Kind.ID),
    Column("username", "Username"),
    Column("full_name", "Name"),
    Column("prize", "Prize", Kind.MONEY),
    Column("paid", "Paid so far", Kind.MONEY),
    Column("expired", "Expired", Kind.MONEY),
    Column("due", "Due", Kind.MONEY),
    Column("status", "State"),
    Column("claim_until", "Can be claimed before", Kind.INSTANT),
    Column("days_left", "Days left", Kind.COUNT),
)
_SUMMED = ("prize", "paid", "expired", "due")


def build(sources: Sources, scope: Scope) -> Document:
    """About a draw, or all that are drawn in a period; then with a table of what an older system left, by the day on
    which it moved in. Raises NotSettled about a draw; of a period those that are not settled are counted."""
    session, draws = sources.session, draws_of(sources.session, scope)
    if scope.draw is not None and scope.draw.status != "settled":
        raise NotSettled
    ids = [draw.id for draw in draws]
    sums = unpaid_totals(session, ids, scope.top)
    table = _table("tickets", "Tickets", sums, _tickets(sources, scope, ids))
    facts = [
        *scope_facts(session, scope),
        Fact("unsettled", "Draws not settled", sum(draw.status != "settled" for draw in draws), Kind.COUNT),
        *_facts(sums, ""),
    ]
    if scope.draw is not None:
        return Document("unclaimed", "Unclaimed prizes", about(scope), tuple(facts), (table,))
    assert scope.since is not None
    assert scope.before is not None
    old = old_unpaid_totals(session, scope.since, scope.before, scope.top)
    old_rows = _older(sources, old_unpaid(session, scope.since, scope.before, scope.top))
    tables = (table, _table("older", "From an older system", old, old_rows))
    return Document("unclaimed", "Unclaimed prizes", about(scope), (*facts, *_facts(old, "older_")), tables)


def _facts(sums: dict[str, int], prefix: str) -> Iterable[Fact]:
    sums["due"] = sums["prize"] - sums["paid"] - sums["expired"]
    yield Fact(f"{prefix}tickets", "Tickets" if not prefix else "Of an older system", sums["tickets"], Kind.COUNT)
    titles = {column.name: column.title for column in _COLUMNS}
    yield from (Fact(prefix + name, titles[name], sums[name], Kind.MONEY) for name in _SUMMED)


def _table(name: str, title: str, sums: dict[str, int], rows: Iterator[tuple[Any, ...]]) -> Table:
    rest = sums["prize"] - sums["paid"] - sums["expired"]
    totals = {"prize": sums["prize"], "paid": sums["paid"], "expired": sums["expired"], "due": rest}
    return Table(name, title, _COLUMNS, rows, totals)


def _tickets(sources: Sources, scope: Scope, draw_ids: list[int]) -> Iterator[tuple[Any, ...]]:
    for ticket in unpaid_tickets(sources.session, draw_ids, scope.top):
        until = claim_until(ticket.draws_at, sources.claim_days)
        yield _row(ticket_number(ticket.draw, ticket.serial), ticket.draw, ticket, until, sources.now)


def _older(sources: Sources, winners: Iterable[Row[Any]]) -> Iterator[tuple[Any, ...]]:
    for winner in winners:
        yield _row(winner.number, None, winner, winner.claim_until, sources.now)


def _row(number: str, draw: str | None, found: Row[Any], until: datetime, now: datetime) -> tuple[Any, ...]:
    money = found.prize, found.paid, found.expired
    status = prize_status(*money, held=found.held, pending=found.pending, over=now >= until)
    person = found.agent_id, found.username, found.full_name
    return (number, draw, *person, *money, due(*money), status, until, days_left(until, now))
