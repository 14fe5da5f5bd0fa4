"""Selling while many listen: the same load at half of the accept rate, without and with a thousand live clients."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from bench.ground import Ground
from demo.calls import Caller, Unexpected
from runtime.process import spawn_options

SHARE = 0.5  # of the accept rate


def listening(ground: Ground, callers: Sequence[Caller], per_s: float, seconds: float) -> dict[str, Any]:
    """{alone, beside: what the load saw at that rate; most_alone, most_beside: as fast as it goes; heard, lost}."""
    paced = per_s * SHARE
    ground.job(ground.draw(), min(2.0, seconds)).run()
    alone = ground.job(ground.draw(), seconds, per_s=paced).run()
    most_alone = ground.job(ground.draw(), seconds).run()
    # Those who sell hear of their own sales and wallets, the superadmin of everything.
    clients = [*callers, *ground.agents, ground.superadmins[0]]
    with _clients(ground.servers.live_port, [caller._token for caller in clients]) as found:
        beside = ground.job(ground.draw(), seconds, per_s=paced).run()
        most_beside = ground.job(ground.draw(), seconds).run()
    return {
        "clients": len(clients),
        "alone": alone,
        "beside": beside,
        "most_alone": most_alone,
        "most_beside": most_beside,
        **found,
    }


@contextmanager
def _clients(port: int, tokens: list[str]) -> Iterator[dict[str, Any]]:
    """Connected all the while; what they heard is in the yielded dictionary afterwards."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.listeners"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        **spawn_options(signal.SIGTERM),
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    found: dict[str, Any] = {}
    try:
        process.stdin.write(json.dumps({"port": port, "tokens": tokens}) + "\n")
        process.stdin.flush()
        if process.stdout.readline().strip() != "ready":
            raise Unexpected("the live clients were not let in")
        yield found
        process.stdin.close()
        found.update(json.loads(process.stdout.readline()))
    finally:
        process.terminate()
        process.wait(30)
