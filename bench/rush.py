"""The five minutes before a draw, played in one: everybody logs in and sells, most in the last fifth."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from bench.ground import CREDIT, Ground, Job
from demo.calls import Caller

SECONDS = 60.0
LAST_FIFTH = 0.2
LATE_SHARE = 0.6  # of all tickets
THREADS = 8

# What a plan for a typical synchronous system says that it must bear.
TYPICAL_PLAN = {"users": 500, "requests_per_s": 100, "tickets_a_day": 50_000}


def play(ground: Ground, callers: list[Caller], peak_per_s: float, seconds: float = SECONDS) -> dict[str, Any]:
    """`peak_per_s` in the last fifth; before it the `callers` log in while few sell. Then the draw breaks and seals."""
    draw = ground.draw()
    late_s = seconds * LAST_FIFTH
    early_s = seconds - late_s
    late_tickets = peak_per_s * late_s
    early = ground.job(draw, early_s, per_s=late_tickets * (1 - LATE_SHARE) / LATE_SHARE / early_s)
    with early.start() as running, ThreadPoolExecutor(THREADS) as pool:
        began = time.perf_counter()
        list(pool.map(Caller.login, callers))
        logged_in = time.perf_counter() - began
        out, _ = running.communicate()
    rush = _of(ground.job(draw, late_s, per_s=peak_per_s), callers).run()
    return {
        "terminals": len(callers),
        "logins_per_s": len(callers) / logged_in,
        "early": Job.read(out),
        "rush": rush,
        "sealed_after_s": ground.close(draw),
        "typical_plan": TYPICAL_PLAN,
    }


def terminals(ground: Ground, count: int) -> list[Caller]:
    """So many agents with credit, who have not logged in."""
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(lambda number: _terminal(ground, number), range(count)))


def _terminal(ground: Ground, number: int) -> Caller:
    above = ground.superadmins[0].twin()
    name, password = f"rush-{number:04}", "a-password-for-the-rush"
    made = above.must("POST", "/v1/users", {"username": name, "password": password, "role": "agent"})
    load = {"amount": CREDIT, "kind": "load", "note": "bench"}
    above.must("POST", f"/v1/users/{made['id']}/credit", load, key=f"load-{name}")
    return Caller(ground.servers.port, name, password)


def _of(job: Job, callers: list[Caller]) -> Job:
    """The same load from these terminals, each on a connection of its own."""
    bodies = [bodies for _, bodies in job.connections]
    senders = [(caller._token, bodies[number % len(bodies)][:4]) for number, caller in enumerate(callers)]
    return replace(job, connections=senders)
