"""Accepting tickets: over HTTP one by one and in batches, beside the floor, the gate alone, and the baselines."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import redis

from actions.reconcile import reconcile
from bench.baselines import schema
from bench.ground import LINES, STAKE, Ground, Job, http_server
from cli.here import resources_here
from intake.gate import Sale
from rules.tickets import Line
from runtime.process import spawn_options

BATCH = 100
GATE_PIPELINE = 64
OPEN_LOOP_SHARE = 0.7
WORKER_PROCESSES = 2
BROKER_DB = 5  # of the service's own server: it stands idle meanwhile


def accept(ground: Ground, seconds: float) -> dict[str, Any]:
    """Single tickets: without the persister, with it, and open-loop at 70% of that."""
    draw = ground.draw()
    ground.job(draw, min(3.0, seconds)).run()  # warm: connections, tokens, scripts
    with ground.nobody_drains():
        idle = ground.job(draw, seconds).run()
    ground.wait_stored(draw, ground.top(draw))  # what was left lying is none of the next measure's
    running = ground.job(ground.draw(), seconds).run()
    paced = ground.job(ground.draw(), seconds, per_s=running["per_s"] * OPEN_LOOP_SHARE).run()
    return {"idle": idle, "running": running, "open_loop": paced}


def batches(ground: Ground, seconds: float) -> dict[str, Any]:
    """Uploads of BATCH tickets with the persister at work; `tickets_per_s` counts tickets."""
    found = ground.job(ground.draw(), seconds, batch=BATCH, connections=8).run()
    return {**found, "tickets_per_s": found["per_s"] * BATCH}


def floor(ground: Ground, seconds: float) -> dict[str, Any]:
    """The same server and framework with a constant answer to the same requests."""
    with http_server("bench.baselines.constant") as port:
        _moved(ground.job("3D-20260101-1400", 2.0), port).run()
        return _moved(ground.job("3D-20260101-1400", seconds), port).run()


def gate_alone(ground: Ground, seconds: float) -> dict[str, Any]:
    """Gate calls from one process, GATE_PIPELINE of them on their way at a time: no HTTP, no JSON."""
    draw, agent = ground.draw(), ground.agents[0].user_id
    with resources_here() as res:
        reconcile(res)
        sold, began = 0, time.perf_counter()
        while (took := time.perf_counter() - began) < seconds:
            sales = [Sale(agent, uuid.uuid4().hex, _lines(ground)) for _ in range(GATE_PIPELINE)]
            sold += len(res.gate.sell(draw, sales, uuid.uuid4().hex))
    return {"per_s": sold / took}


def _lines(ground: Ground) -> tuple[Line, ...]:
    return tuple(Line("straight", f"{n:03}", STAKE) for n in ground.chance.sample(range(1000), LINES))


def per_ticket(ground: Ground, seconds: float) -> dict[str, Any]:
    """Baseline (a)."""
    _prepare(ground)
    with http_server("bench.baselines.per_ticket", BENCH_DATABASE_URL=ground.owner_url) as port:
        _named(ground, _moved(ground.job("3D-20260101-1400", 2.0), port)).run()
        return _named(ground, _moved(ground.job("3D-20260101-1400", seconds), port)).run()


def per_message(ground: Ground, seconds: float) -> dict[str, Any]:
    """Baseline (b): accepted, and stored meanwhile by WORKER_PROCESSES."""
    _prepare(ground)
    broker = _broker_of(ground)
    environ = {"BENCH_DATABASE_URL": ground.owner_url, "BENCH_BROKER_URL": broker}
    with _workers(environ), http_server("bench.baselines.per_message", **environ) as port:
        job = _named(ground, _moved(ground.job("3D-20260101-1400", seconds), port))
        before = _stored(ground)
        found = job.run()
        stored = _stored(ground) - before
    redis.Redis(unix_socket_path=_socket(ground), db=BROKER_DB).flushdb()
    return {**found, "stored_per_s": stored / found["seconds"]}


def _prepare(ground: Ground) -> None:
    schema.create(ground.owner_url, [agent.username for agent in ground.agents], 10**15)


def _stored(ground: Ground) -> int:
    with ground.sql() as sql:
        row = sql.execute(f"SELECT count(*) FROM {schema.SCHEMA}.tickets").fetchone()
    return int(row[0]) if row else 0


def _broker_of(ground: Ground) -> str:
    return f"redis+socket://{_socket(ground)}?virtual_host={BROKER_DB}"


def _socket(ground: Ground) -> str:
    """A URL would name the gate's database, whatever is asked for beside it."""
    return urlsplit(ground.servers.redis_url).path


@contextmanager
def _workers(environ: dict[str, str]) -> Iterator[None]:
    command = [
        "celery",
        "-A",
        "bench.baselines.per_message:queue",
        "worker",
        "-c",
        str(WORKER_PROCESSES),
        "-l",
        "ERROR",
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", *command, "-n", "bench@%h", "--without-mingle", "--without-gossip"],
        env={**os.environ, **environ},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        **spawn_options(signal.SIGTERM),
    )
    try:
        time.sleep(4)  # it says nowhere that it is ready without a result backend
        yield
    finally:
        process.terminate()
        process.wait(60)


def _moved(job: Job, port: int) -> Job:
    return replace(job, port=port)


def _named(ground: Ground, job: Job) -> Job:
    """With the agents' names for tokens: the baselines do not even look at a signature."""
    names = [agent.username for agent in ground.agents]
    senders = [(name, bodies) for name, (_, bodies) in zip(names, job.connections, strict=True)]
    return replace(job, connections=senders)
