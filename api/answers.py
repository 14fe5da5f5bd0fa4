"""JSON answers."""

from __future__ import annotations

from typing import Any

import orjson
from flask import Response

MEDIA_TYPE = "application/json"


def json_bytes(body: Any) -> bytes:
    """The body as JSON."""
    return orjson.dumps(body)


def json_answer(body: Any, status: int = 200) -> Response:
    """The body as a response."""
    return Response(json_bytes(body), status, content_type=MEDIA_TYPE)
