"""JSON answers."""

from __future__ import annotations

from typing import Any

import orjson
from flask import Response
from flask.json.provider import JSONProvider

MEDIA_TYPE = "application/json"


def json_bytes(body: Any) -> bytes:
    """The body as JSON."""
    return orjson.dumps(body)


def json_answer(body: Any, status: int = 200) -> Response:
    """The body as a response."""
    return Response(json_bytes(body), status, content_type=MEDIA_TYPE)


class FastJson(JSONProvider):
    """orjson wherever Flask itself reads or writes JSON."""

    def dumps(self, obj: Any, **kwargs: Any) -> str:
        return orjson.dumps(obj).decode()

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        return orjson.loads(s)
