"""The floor: the same HTTP server and framework, answering a constant to the same POST."""

from __future__ import annotations

from flask import Flask, Response, request

app = Flask(__name__, static_folder=None)

ANSWER = b'{"status":"accepted"}'


@app.post("/v1/tickets")
def accept() -> Response:
    """Reads the body and forgets it."""
    request.get_data()
    return Response(ANSWER, 201, content_type="application/json")
