"""Reports of a draw, asked for and made as people get them: how long, and what the worker holds meanwhile."""

from __future__ import annotations

import time
from typing import Any

from bench.ground import Ground
from bench.memory import Peak
from demo.calls import Unexpected

# A statement is of whoever asks; the others show everybody. The journal is read whole for the last.
REPORTS = (
    ("draw_sales", "xlsx"),
    ("draw_sales", "csv"),
    ("hierarchy", "pdf"),
    ("winners", "csv"),
    ("exposure", "xlsx"),
    ("unclaimed", "csv"),
    ("statement", "pdf"),
    ("reconciliation", "json"),
)
WAIT_S = 280.0
LOOK_S = 0.02


def make(ground: Ground, draw: str) -> list[dict[str, Any]]:
    """[{kind, format, s, bytes, worker_peak_mb}]: seconds from the request until it can be downloaded."""
    return [_one(ground, draw, kind, format) for kind, format in REPORTS]


def _one(ground: Ground, draw: str, kind: str, format: str) -> dict[str, Any]:
    caller = ground.superadmins[0]
    with Peak(ground.servers.var_dir, "reports@") as peak:
        began = time.perf_counter()
        asked = caller.must("POST", "/v1/reports", {"kind": kind, "draw_id": draw, "format": format})
        while (found := caller.must("GET", f"/v1/reports/{asked['id']}"))["status"] in ("waiting", "running"):
            if time.perf_counter() - began > WAIT_S:
                raise Unexpected(f"no {kind} after {WAIT_S} s")
            time.sleep(LOOK_S)
        took = time.perf_counter() - began
    if found["status"] != "ready":
        raise Unexpected(f"{kind}: {found}")
    return {"kind": kind, "format": format, "s": took, "bytes": found["bytes"], "worker_peak_mb": peak.mb}
