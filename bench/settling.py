"""Seal, settlement and lists over draws of several sizes, beside a settlement that decides in Python."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import psycopg

from bench.baselines import in_python, schema
from bench.draining import fill
from bench.ground import STAKE, Ground
from bench.load import MARK
from bench.memory import Peak

# A number that nobody else plays: its winners are the same few whatever the size of the draw.
FIXED_NUMBER, FIXED_WINNERS = "000", 500
DRAWN = "046"

LISTS = (
    "/v1/draws",
    "/v1/users",
    "/v1/tickets",
    "/v1/tickets?draw_id={draw}",
    "/v1/tickets?agent_id={agent}",
    "/v1/tickets?draw_id={draw}&agent_id={agent}",
    "/v1/claims",
    "/v1/audit",
    "/v1/users/{agent}/ledger",
    "/v1/users/{agent}/summary?date={day}",
    "/v1/draws/{draw}/settlement",
    "/v1/draws/{draw}/paid-in-error",
)


def sizes(ground: Ground, tickets: list[int]) -> list[dict[str, Any]]:
    """For each size: seconds to seal, and to settle with fixed and with proportional winners, here and in Python."""
    return [_one(ground, count) for count in tickets]


def _one(ground: Ground, tickets: int) -> dict[str, Any]:
    draw = ground.draw()
    _sell_fixed(ground, draw)
    sold = fill(ground, draw, tickets)
    ground.wait_stored(draw, sold)
    with Peak(ground.servers.var_dir, "settle@") as peak:
        sealed = ground.close(draw)
        fixed = ground.settle(draw, FIXED_NUMBER)
        proportional = ground.correct(draw, DRAWN)
    return {
        "draw": draw,
        "tickets": sold,
        "seal_s": sealed,
        "settle_fixed_s": fixed,
        "settle_proportional_s": proportional,
        "report_s": _report_s(ground, draw),
        "settle_worker_peak_mb": peak.mb,
    }


def _report_s(ground: Ground, draw: str) -> float:
    """Of the settlement with proportional winners: how long the draw's report took."""
    query = """
        SELECT extract(epoch FROM s.finished_at - s.started_at) FROM settlement_steps s
        JOIN draws d ON d.id = s.draw_id AND d.result_version = s.version WHERE d.name = %s AND s.name = 'report'
        """
    with ground.sql() as sql:
        row = sql.execute(query, [draw]).fetchone()
    assert row is not None
    return float(row[0])


def _sell_fixed(ground: Ground, draw: str) -> None:
    """FIXED_WINNERS tickets that nobody else's number is on."""
    line = {"game": "3D", "play": "straight", "number": FIXED_NUMBER, "stake": STAKE}
    prefix = ground.next_prefix()
    tickets = [
        {"id": f"{prefix:08x}-0000-4000-8000-{number:012x}", "draw_id": draw, "lines": [line]}
        for number in range(FIXED_WINNERS)
    ]
    assert MARK.decode() not in json.dumps(tickets)
    ground.agents[-1].must("POST", "/v1/tickets/batch", {"tickets": tickets})


def in_plain_python(ground: Ground, draw: str) -> float:
    """Baseline (c) over the same tickets: seconds."""
    schema.create(ground.owner_url, [], 0)
    with ground.sql() as sql:
        sql.execute(
            f"""
            INSERT INTO {schema.SCHEMA}.tickets (id, ticket_id, agent, draw, stake, status, prize, accepted_at)
            SELECT t.serial, t.id::text, t.agent_id::text, d.name, t.stake, 'accepted', 0, t.accepted_at
            FROM tickets t JOIN draws d ON d.id = t.draw_id WHERE d.name = %s
            """,
            [draw],
        )
        sql.execute(
            f"""
            INSERT INTO {schema.SCHEMA}.lines (ticket_pk, play, number, stake)
            SELECT l.serial, l.play, l.number, l.stake
            FROM ticket_lines l JOIN draws d ON d.id = l.draw_id WHERE d.name = %s
            """,
            [draw],
        )
        sql.execute(f"ANALYZE {schema.SCHEMA}.tickets, {schema.SCHEMA}.lines")
    return _timed(lambda: in_python.settle(ground.owner_url, draw, DRAWN))


def lists(ground: Ground, draw: str) -> dict[str, Any]:
    """Milliseconds of each list's first page, and the tables of tickets that were scanned for them from end to end."""
    agent = ground.agents[0]
    day = ground.superadmins[0].must("GET", f"/v1/draws/{draw}")["date"]
    found = {}
    with ground.sql() as sql:
        before = _sequential(sql)
        for path in LISTS:
            asked = path.format(draw=draw, agent=agent.user_id, day=day)
            ground.superadmins[0].must("GET", asked)
            found[path] = min(_timed(lambda: ground.superadmins[0].must("GET", asked)) for _ in range(3)) * 1000  # noqa: B023 - called at once
        time.sleep(1.5)  # the server tells its counts with a delay
        scans = _sequential(sql) - before
    return {"ms": found, "sequential_scans": scans}


def _sequential(sql: psycopg.Connection) -> int:
    query = (
        "SELECT coalesce(sum(seq_scan), 0) FROM pg_stat_user_tables WHERE relname ~ '^ticket' AND schemaname = 'public'"
    )
    sql.execute("SELECT pg_stat_force_next_flush()")
    row = sql.execute(query).fetchone()
    return int(row[0]) if row else 0


def _timed(step: Callable[[], object]) -> float:
    began = time.perf_counter()
    step()
    return time.perf_counter() - began
