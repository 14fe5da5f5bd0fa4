"""From the journal into the database: how fast one worker drains, and how far behind the sale it runs."""

from __future__ import annotations

import time
from array import array
from bisect import bisect_left
from typing import Any

from bench.ground import Ground

BATCH = 100
SAMPLE_S = 0.004
LAG_SHARE = 0.5  # of the accept rate


def drain(ground: Ground, tickets: int) -> dict[str, Any]:
    """Tickets/s of one worker from a journal that holds `tickets`, from its first commit to its last."""
    draw = ground.draw()
    with ground.nobody_drains():
        sold = fill(ground, draw, tickets)
        with ground.sql() as sql:
            ground.drain_with_one()
            first = last = 0
            began = ended = 0.0
            while last < sold:
                time.sleep(SAMPLE_S)
                last, now = ground.position(sql, draw), time.perf_counter()
                if last and not first:
                    first, began = last, now
                ended = now
    return {"tickets_per_s": (sold - first) / (ended - began), "tickets": sold}


def fill(ground: Ground, draw: str, tickets: int) -> int:
    """Sells at least so many by batches; the last serial."""
    sold = 0
    while sold < tickets:
        found = ground.job(draw, min(20.0, max(1.0, (tickets - sold) / 12_000)), batch=BATCH, connections=8).run()
        sold += int(found["statuses"].get("200", 0)) * BATCH
    return ground.top(draw)


def lag(ground: Ground, per_s: float, seconds: float) -> dict[str, Any]:
    """Milliseconds from acceptance, by the gate's clock, until the ticket was committed, at that rate."""
    draw = ground.draw()
    serials, instants = array("q"), array("d")
    with ground.job(draw, seconds, per_s=per_s).start() as running, ground.sql() as sql:
        while running.poll() is None:
            serial = ground.position(sql, draw)
            if not serials or serial > serials[-1]:
                serials.append(serial)
                instants.append(time.time())
            time.sleep(SAMPLE_S)
        ground.wait_stored(draw, ground.top(draw))
        rows = sql.execute(
            "SELECT serial, extract(epoch FROM accepted_at) FROM tickets JOIN draws ON draws.id = draw_id "
            "WHERE name = %s AND serial <= %s",
            [draw, serials[-1]],
        ).fetchall()
    behind = sorted(instants[bisect_left(serials, serial)] - float(accepted) for serial, accepted in rows)
    at = {"p50": 0.5, "p99": 0.99}
    return {
        "ms": {name: behind[int((len(behind) - 1) * q)] * 1000 for name, q in at.items()},
        "tickets": len(behind),
        "per_s": per_s,
    }
