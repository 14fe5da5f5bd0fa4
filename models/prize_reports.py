"""Winning lines and tickets with what was paid on them, as reports list them: streamed, and summed by the database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from models.draws import Draw
from models.people import User
from models.reporting import WITHIN, seen_by

READ_ROWS = 1_000

# What was paid on a ticket, and what expired of it, is laid on its lines in their order, none above its prize.
_LINES = f"""
    SELECT w.serial, w.line_no, w.agent_id, u.username, u.full_name, w.play, w.number, w.stake, w.prize,
           CAST(greatest(least(w.prize, coalesce(p.paid, 0) - w.above), 0) AS bigint) AS paid,
           CAST(greatest(least(w.prize - greatest(least(w.prize, coalesce(p.paid, 0) - w.above), 0),
                               coalesce(p.expired, 0) - greatest(w.above - coalesce(p.paid, 0), 0)), 0) AS bigint)
               AS expired,
           p.held_at IS NOT NULL AS held, c.id IS NOT NULL AS pending
    FROM (SELECT *, sum(prize) OVER (PARTITION BY serial ORDER BY line_no) - prize AS above
          FROM winners WHERE draw_id = :draw AND version = :version) AS w
    LEFT JOIN users u ON u.id = w.agent_id
    LEFT JOIN payouts p ON p.draw_id = :draw AND p.serial = w.serial
    LEFT JOIN claims c ON c.number = p.number AND c.status = 'pending'
    WHERE {WITHIN}
"""

_UNPAID = f"""
    SELECT d.name AS draw, d.draws_at, w.serial, w.agent_id, u.username, u.full_name,
           CAST(w.prize AS bigint) AS prize, coalesce(p.paid, 0) AS paid, coalesce(p.expired, 0) AS expired,
           p.held_at IS NOT NULL AS held, c.id IS NOT NULL AS pending
    FROM (SELECT draw_id, serial, agent_id, sum(prize) AS prize FROM winners
          JOIN (SELECT id, result_version FROM draws WHERE id = ANY(:draws) AND status = 'settled') AS s
            ON s.id = draw_id AND s.result_version = version
          GROUP BY draw_id, serial, agent_id) AS w
    JOIN draws d ON d.id = w.draw_id
    LEFT JOIN users u ON u.id = w.agent_id
    LEFT JOIN payouts p ON p.draw_id = w.draw_id AND p.serial = w.serial
    LEFT JOIN claims c ON c.number = p.number AND c.status = 'pending'
    WHERE w.prize > coalesce(p.paid, 0) AND {WITHIN}
"""

_OLD_UNPAID = f"""
    SELECT o.number, o.claim_until, o.agent_id, u.username, u.full_name, o.prize, coalesce(p.paid, 0) AS paid,
           coalesce(p.expired, 0) AS expired, p.held_at IS NOT NULL AS held, c.id IS NOT NULL AS pending
    FROM old_winners o
    JOIN users u ON u.id = o.agent_id
    LEFT JOIN payouts p ON p.number = o.number
    LEFT JOIN claims c ON c.number = o.number AND c.status = 'pending'
    WHERE o.prize > coalesce(p.paid, 0) AND o.imported_at >= :since AND o.imported_at < :before AND {WITHIN}
"""

MONEY = ("prize", "paid", "expired")


def winning_lines(session: Session, draw: Draw, top: User) -> Iterator[Row[Any]]:
    """The draw's winning lines under its current version, in the order of the tickets; streamed."""
    return _stream(session, f"{_LINES} ORDER BY w.serial, w.line_no", _of(draw, top))


def winning_totals(session: Session, draw: Draw, top: User) -> dict[str, int]:
    """{lines, tickets, stake, prize, paid, expired} of the same."""
    counts = "count(*) AS lines, count(DISTINCT serial) AS tickets"
    return _totals(session, f"SELECT {counts}, {_sums('stake', *MONEY)} FROM ({_LINES}) AS l", _of(draw, top))


def paid_above(session: Session, draw: Draw, top: User) -> int:
    """Centavos that were paid on tickets of the draw above what its current version gives them."""
    statement = f"""
        SELECT CAST(coalesce(sum(p.paid - coalesce(w.prize, 0)), 0) AS bigint) AS excess
        FROM payouts p
        JOIN tickets t ON t.draw_date = :day AND t.draw_id = p.draw_id AND t.serial = p.serial
        LEFT JOIN users u ON u.id = t.agent_id
        LEFT JOIN LATERAL (SELECT sum(prize) AS prize FROM winners
                           WHERE draw_id = p.draw_id AND version = :version AND serial = p.serial) AS w ON true
        WHERE p.draw_id = :draw AND p.paid > coalesce(w.prize, 0) AND {WITHIN}
    """
    return _totals(session, statement, _of(draw, top) | {"day": draw.date})["excess"]


def unpaid_tickets(session: Session, draw_ids: Sequence[int], top: User) -> Iterator[Row[Any]]:
    """Tickets of settled draws among these that win more than was paid on them, the oldest draw first; streamed."""
    values = {"draws": list(draw_ids)} | seen_by(top)
    return _stream(session, f"{_UNPAID} ORDER BY d.draws_at, d.id, w.serial", values)


def unpaid_totals(session: Session, draw_ids: Sequence[int], top: User) -> dict[str, int]:
    """{tickets, prize, paid, expired} of the same."""
    statement = f"SELECT count(*) AS tickets, {_sums(*MONEY)} FROM ({_UNPAID}) AS l"
    return _totals(session, statement, {"draws": list(draw_ids)} | seen_by(top))


def old_unpaid(session: Session, since: datetime, before: datetime, top: User) -> Iterator[Row[Any]]:
    """Winners of an older system that moved in within the period and are not all paid, by their numbers; streamed."""
    return _stream(session, f"{_OLD_UNPAID} ORDER BY o.number", {"since": since, "before": before} | seen_by(top))


def old_unpaid_totals(session: Session, since: datetime, before: datetime, top: User) -> dict[str, int]:
    """{tickets, prize, paid, expired} of the same."""
    statement = f"SELECT count(*) AS tickets, {_sums(*MONEY)} FROM ({_OLD_UNPAID}) AS l"
    return _totals(session, statement, {"since": since, "before": before} | seen_by(top))


def _of(draw: Draw, top: User) -> dict[str, Any]:
    return {"draw": draw.id, "version": draw.result_version} | seen_by(top)


def _sums(*columns: str) -> str:
    return ", ".join(f"CAST(coalesce(sum({column}), 0) AS bigint) AS {column}" for column in columns)


def _totals(session: Session, statement: str, values: dict[str, Any]) -> dict[str, int]:
    return {name: int(value) for name, value in session.execute(text(statement), values).one()._mapping.items()}


def _stream(session: Session, statement: str, values: dict[str, Any]) -> Iterator[Row[Any]]:
    """Asked when the first row is wanted; a cursor of the server's, so that memory holds READ_ROWS at a time."""
    rows = session.execute(text(statement), values, execution_options={"stream_results": True, "yield_per": READ_ROWS})
    try:
        yield from rows
    finally:
        rows.close()
