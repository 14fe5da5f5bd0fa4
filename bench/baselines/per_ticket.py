"""Baseline (a): Flask and the ORM, one transaction per ticket, committed before the answer."""

from __future__ import annotations

from flask import Flask, Response, jsonify, request

from bench.baselines.schema import sessions, store

app = Flask(__name__, static_folder=None)
_sessions = sessions()


@app.post("/v1/tickets")
def accept() -> tuple[Response, int]:
    """Stores the ticket of the agent whose name is the token."""
    agent = request.headers["Authorization"].removeprefix("Bearer ")
    with _sessions.begin() as session:
        ticket = store(session, agent, request.get_json())
        answer = {"id": ticket.ticket_id, "serial": ticket.id, "stake": ticket.stake, "status": ticket.status}
    return jsonify(answer), 201
