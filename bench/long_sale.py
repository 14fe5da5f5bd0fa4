"""A sale of many minutes at half of what the service can take: does anything grow, does anything get slower?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bench import memory
from bench.ground import Ground

SHARE = 0.5  # of the accept rate
SLICE_S = 60.0
LOGIN_EVERY = 10  # slices; an access token lives for 15 minutes


def sell(ground: Ground, seconds: float, minutes: int, say: Callable[[str], None]) -> dict[str, Any]:
    """The rate, and for each minute its answers, latencies and what each program holds in memory."""
    say("accept with the persister running")
    ground.job(ground.draw(), seconds).run()
    per_s = ground.job(ground.draw(), seconds).run()["per_s"] * SHARE
    draw, slices = ground.draw(), []
    for number in range(minutes):
        if number % LOGIN_EVERY == 0:
            for agent in ground.agents:
                agent.login()
        found = ground.job(draw, SLICE_S, per_s=per_s).run()
        slices.append({**found, "mb": memory.processes(ground)})
        sizes = ", ".join(f"{name} {mb:.0f}" for name, mb in sorted(slices[-1]["mb"].items()))
        ms = found["ms"]
        say(f"minute {number + 1}: {found['statuses']}, p50 {ms['p50']:.1f}, p99 {ms['p99']:.1f} ms; MB: {sizes}")
    return {"per_s": per_s, "slices": slices}
