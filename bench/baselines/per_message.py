"""Baseline (b): the answer at once, one Celery message per ticket, one transaction per task."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from celery import Celery
from flask import Flask, Response, jsonify, request
from sqlalchemy.orm import Session, sessionmaker

from bench.baselines.schema import sessions, store

queue = Celery("bench", broker=os.environ["BENCH_BROKER_URL"], set_as_current=False)
queue.conf.update(task_ignore_result=True, task_acks_late=True, worker_prefetch_multiplier=1)

app = Flask(__name__, static_folder=None)


@cache
def _sessions() -> sessionmaker[Session]:
    return sessions()  # once per process of the worker, after its fork


@queue.task(name="bench.store")  # type: ignore[untyped-decorator]
def store_ticket(agent: str, body: dict[str, Any]) -> None:
    """One ticket, one transaction."""
    with _sessions().begin() as session:
        store(session, agent, body)


@app.post("/v1/tickets")
def accept() -> tuple[Response, int]:
    """Hands the ticket of the agent whose name is the token to a worker."""
    body = request.get_json()
    store_ticket.delay(request.headers["Authorization"].removeprefix("Bearer "), body)
    return jsonify({"id": body["id"], "status": "accepted"}), 202
