"""Bulk statements between the journal and the database: storing a batch, and reading a draw back in journal order."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from datetime import date as Date
from itertools import chain
from typing import Any, NamedTuple

from sqlalchemy import text
from sqlalchemy.orm import Session

READ_ROWS = 5_000
_AT = "timestamptz 'epoch' + ({}) * interval '1 millisecond'"


class StoredTicket(NamedTuple):
    """A ticket read back; `record` is what its journal holds at its place, made from the row and its lines."""

    serial: int
    stake: int
    record: str


def insert_tickets(session: Session, draw_id: int, day: Date, rows: Sequence[Sequence[Any]]) -> set[int]:
    """Stores (serial, id, agent, accepted ms, stake, available) rows; gives the serials that were not there before."""
    columns = list(zip(*rows, strict=True))
    statement = text(
        f"""
        INSERT INTO tickets (draw_date, draw_id, serial, id, agent_id, accepted_at, stake, available)
        SELECT :day, :draw, serial, id::uuid, agent, {_AT.format("ms")}, stake, available
        FROM unnest(CAST(:serials AS bigint[]), CAST(:ids AS text[]), CAST(:agents AS bigint[]), CAST(:ms AS bigint[]),
                    CAST(:stakes AS bigint[]), CAST(:available AS bigint[]))
             AS t(serial, id, agent, ms, stake, available)
        ON CONFLICT (draw_date, draw_id, serial) DO NOTHING RETURNING serial
        """
    )
    names = ("serials", "ids", "agents", "ms", "stakes", "available")
    values = {"day": day, "draw": draw_id} | {n: _array(c) for n, c in zip(names, columns, strict=True)}
    return set(session.scalars(statement, values))


def insert_lines(session: Session, draw_id: int, day: Date, rows: Sequence[Sequence[Any]]) -> None:
    """Stores (serial, line number, play, number, stake) rows."""
    columns = list(zip(*rows, strict=True))
    statement = text(
        """
        INSERT INTO ticket_lines (draw_date, draw_id, serial, line_no, play, number, stake)
        SELECT :day, :draw, *
        FROM unnest(CAST(:serials AS bigint[]), CAST(:line_nos AS smallint[]), CAST(:plays AS text[]),
                    CAST(:numbers AS text[]), CAST(:stakes AS bigint[]))
        """
    )
    names = ("serials", "line_nos", "plays", "numbers", "stakes")
    session.execute(
        statement, {"day": day, "draw": draw_id} | {n: _array(c) for n, c in zip(names, columns, strict=True)}
    )


def _array(values: Iterable[int | str]) -> str:
    """PostgreSQL's text for an array of numbers, or of words that need no quotes, as those of a record are.

    The driver looks at each element by itself, which took a fifth of a drain's time.
    """
    return "{" + ",".join(map(str, values)) + "}"


def insert_void(session: Session, draw_id: int, row: dict[str, Any]) -> bool:
    """Stores a void or cancel; False: it was there.

    `row`: serial, sub, kind, ticket_serial, ticket_id, agent_id, stake, ms, reason.
    """
    statement = text(
        f"""
        INSERT INTO voids (draw_id, serial, sub, kind, ticket_serial, ticket_id, agent_id, stake, made_at, reason)
        VALUES (:draw, :serial, :sub, :kind, :ticket_serial, CAST(:ticket_id AS uuid), :agent_id, :stake,
                {_AT.format(":ms")}, :reason)
        ON CONFLICT (draw_id, serial, sub) DO NOTHING RETURNING 1
        """
    )
    return session.execute(statement, {"draw": draw_id, **row}).first() is not None


def insert_gap(session: Session, draw_id: int, first: int, last: int, made_ms: int) -> None:
    """Stores a gap; one that is there already stays as it is."""
    statement = f"""
        INSERT INTO gaps (draw_id, first_serial, last_serial, made_at)
        VALUES (:draw, :first, :last, {_AT.format(":ms")})
        ON CONFLICT (draw_id, last_serial) DO NOTHING"""
    session.execute(text(statement), {"draw": draw_id, "first": first, "last": last, "ms": made_ms})


def insert_closing(session: Session, draw_id: int, row: dict[str, Any]) -> None:
    """Stores the close marker (serial, sub, ms, tickets, stake, voids, voided_stake, why)."""
    statement = f"""
        INSERT INTO closings (draw_id, serial, sub, made_at, tickets, stake, voids, voided_stake, why)
        VALUES (:draw, :serial, :sub, {_AT.format(":ms")}, :tickets, :stake, :voids, :voided_stake, :why)
        ON CONFLICT (draw_id) DO NOTHING"""
    session.execute(text(statement), {"draw": draw_id, **row})


def add_sums(
    session: Session,
    draw_id: int,
    agents: dict[int, tuple[int, int, int, int]],
    exposure: dict[tuple[str, str], int],
    full_at: Mapping[str, int],
) -> list[tuple[str, str, int]]:
    """Adds (tickets, stake, voids, voided stake) per agent and live stake per (play, key) to the draw's sums.

    Gives the (play, key, stake) among them that come to `full_at` centavos of their play or more; a play without one is
    not looked at.
    """
    if agents:
        session.execute(
            text(
                """
                INSERT INTO agent_sums AS s (draw_id, agent_id, tickets, stake, voids, voided_stake)
                SELECT :draw, *
                FROM unnest(CAST(:agents AS bigint[]), CAST(:tickets AS bigint[]), CAST(:stakes AS bigint[]),
                            CAST(:voids AS bigint[]), CAST(:voided AS bigint[]))
                ON CONFLICT (draw_id, agent_id) DO UPDATE SET
                    tickets = s.tickets + excluded.tickets, stake = s.stake + excluded.stake,
                    voids = s.voids + excluded.voids, voided_stake = s.voided_stake + excluded.voided_stake
                """
            ),
            {"draw": draw_id, "agents": list(agents)}
            | {
                name: list(column)
                for name, column in zip(
                    ("tickets", "stakes", "voids", "voided"), zip(*agents.values(), strict=True), strict=True
                )
            },
        )
    if not exposure:
        return []
    rows = session.execute(
        text(
            """
            WITH summed AS (
                INSERT INTO exposures AS e (draw_id, play, key, stake)
                SELECT :draw, * FROM unnest(CAST(:plays AS text[]), CAST(:keys AS text[]), CAST(:stakes AS bigint[]))
                ON CONFLICT (draw_id, play, key) DO UPDATE SET stake = e.stake + excluded.stake
                RETURNING play, key, stake)
            SELECT summed.play, key, summed.stake
            FROM summed JOIN unnest(CAST(:full_plays AS text[]), CAST(:full_at AS bigint[])) AS full_(play, stake)
              ON full_.play = summed.play AND summed.stake >= full_.stake
            """
        ),
        {
            "draw": draw_id,
            "plays": [play for play, _ in exposure],
            "keys": [key for _, key in exposure],
            "stakes": list(exposure.values()),
            "full_plays": list(full_at),
            "full_at": list(full_at.values()),
        },
    )
    return [(play, key, stake) for play, key, stake in rows]


_LINES = """(SELECT string_agg(left(l.play, 1) || l.number || ':' || l.stake, ',' ORDER BY l.line_no)
             FROM ticket_lines l WHERE l.draw_date = t.draw_date AND l.draw_id = t.draw_id AND l.serial = t.serial)"""


def read_tickets(
    session: Session, draw_id: int, day: Date, first: int = 1, last: int | None = None
) -> Iterator[StoredTicket]:
    """The draw's tickets with serials from `first` to `last` in serial order, streamed with flat memory."""
    return chain.from_iterable(ticket_chunks(session, draw_id, day, first, last))


def ticket_chunks(
    session: Session, draw_id: int, day: Date, first: int = 1, last: int | None = None
) -> Generator[list[StoredTicket]]:
    """As `read_tickets`, up to READ_ROWS at a time."""
    statement = text(
        f"""
        SELECT t.serial, t.stake, 't|' || t.agent_id || '|' || replace(t.id::text, '-', '') || '|'
               || CAST(extract(epoch FROM t.accepted_at) * 1000 AS bigint) || '|' || t.available || '|'
               || coalesce({_LINES}, '')
        FROM tickets t WHERE t.draw_date = :day AND t.draw_id = :draw AND t.serial >= :first
             AND (CAST(:last AS bigint) IS NULL OR t.serial <= :last)
        ORDER BY t.serial
        """
    )
    rows = session.execute(
        statement,
        {"day": day, "draw": draw_id, "first": first, "last": last},
        execution_options={"stream_results": True, "yield_per": READ_ROWS},
    )
    for part in rows.partitions(READ_ROWS):
        yield list(map(StoredTicket._make, part))


def read_ids(session: Session, draw_id: int, day: Date) -> Iterator[tuple[str, int]]:
    """(id as 32 hex digits, serial) of every ticket of the draw, streamed."""
    statement = text(
        "SELECT replace(id::text, '-', ''), serial FROM tickets WHERE draw_date = :day AND draw_id = :draw"
    )
    rows = session.execute(
        statement,
        {"day": day, "draw": draw_id},
        execution_options={"stream_results": True, "yield_per": READ_ROWS},
    )
    yield from ((row[0], row[1]) for row in rows)


def count_records(session: Session, draw_id: int, day: Date, serial: int, sub: int) -> int:
    """How many journal records up to (serial, sub) the database holds in whatever form, but for the open record."""
    statement = text(
        """
        SELECT (SELECT count(*) FROM tickets WHERE draw_date = :day AND draw_id = :draw AND serial <= :serial)
             + (SELECT count(*) FROM voids WHERE draw_id = :draw AND (serial, sub) <= (:serial, :sub))
             + (SELECT count(*) FROM gaps WHERE draw_id = :draw AND last_serial <= :serial)
             + (SELECT count(*) FROM closings WHERE draw_id = :draw AND (serial, sub) <= (:serial, :sub))
             + (SELECT count(*) FROM dead_letters
                WHERE draw_id = :draw AND status IN ('waiting', 'annulled') AND (serial, sub) <= (:serial, :sub))
        """
    )
    values = {"day": day, "draw": draw_id, "serial": serial, "sub": sub}
    return int(session.execute(statement, values).scalar_one())
