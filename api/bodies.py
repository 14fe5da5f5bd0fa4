"""Reading requests: a body's size, type and JSON, in that order; and the parser of documented schemas."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, NoReturn

import marshmallow as ma
import orjson
from flask import Request, request
from webargs.flaskparser import FlaskParser

from rules.errors import FieldError, Invalid, TooLarge, UnsupportedMediaType

# A full ticket is about 1 KB of JSON, a full batch of 500 about 600 KB.
BODY_BYTES_MAX = 64 * 1024
BATCH_BYTES_MAX = 1024 * 1024
# What is read of a refused request, so that its sender hears why.
REFUSED_BYTES_MAX = 4 * BATCH_BYTES_MAX

_NOT_JSON: FieldError = {"path": "", "message": "the body is not JSON"}


def read_body(bytes_max: int) -> bytes:
    """The body, also of a chunked request; b"" if there is none. Raises TooLarge, UnsupportedMediaType."""
    announced = request.content_length
    if announced is None and not request.environ.get("wsgi.input_terminated"):
        announced = 0
    if announced is not None and announced > bytes_max:
        raise TooLarge
    stream = request.environ["wsgi.input"]
    raw = _read_at_most(stream, bytes_max + 1 if announced is None else announced)
    if len(raw) > bytes_max:
        raise TooLarge
    if raw and request.mimetype != "application/json":
        raise UnsupportedMediaType
    return raw


def read_away() -> None:
    """Reads what a refused request has announced, within REFUSED_BYTES_MAX, and keeps nothing of it.

    A connection closed on what is still being sent would take the answer along.
    """
    left, stream = request.content_length or 0, request.environ["wsgi.input"]
    if left <= REFUSED_BYTES_MAX:
        with suppress(OSError):  # the caller has gone
            while left > 0 and (part := stream.read(min(left, BODY_BYTES_MAX))):
                left -= len(part)


def _read_at_most(stream: Any, size: int) -> bytes:
    parts = []
    while size > 0 and (part := stream.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def parse_json(raw: bytes) -> Any:
    """What the JSON says; integers beyond 64 bits come as floats, of a repeated key the last counts.

    Raises Invalid.
    """
    try:
        return orjson.loads(raw)
    except ValueError as error:
        raise Invalid("The body is not JSON.", errors=[_NOT_JSON]) from error


def expect_no_body() -> None:
    """For calls without a body: takes none, or an empty object.

    Raises Invalid, TooLarge, UnsupportedMediaType.
    """
    raw = read_body(BODY_BYTES_MAX)
    if raw and parse_json(raw) != {}:
        raise Invalid(errors=[{"path": "", "message": "this call takes no fields"}])


def field_errors(messages: Any, path: tuple[str, ...] = ()) -> Iterator[FieldError]:
    """Marshmallow's messages, one for each bad field, with paths such as `lines.0.number`."""
    if isinstance(messages, Mapping):
        for key, inner in messages.items():
            yield from field_errors(inner, path if key == "_schema" else (*path, str(key)))
    else:
        texts = [messages] if isinstance(messages, str) else messages
        yield {"path": ".".join(path), "message": " ".join(str(text) for text in texts)}


class Parser(FlaskParser):
    """Reads what a schema documents; raises Invalid for whatever is wrong, unknown fields too."""

    # As the base class has it, which is no ClassVar.
    DEFAULT_UNKNOWN_BY_LOCATION = {"json": ma.RAISE, "query": ma.RAISE}  # noqa: RUF012 - see above

    def load_json(self, req: Request, schema: ma.Schema) -> Any:
        return parse_json(read_body(BODY_BYTES_MAX))

    def handle_error(
        self,
        error: ma.ValidationError,
        req: Request,
        schema: ma.Schema,
        *,
        error_status_code: Any,
        error_headers: Any,
    ) -> NoReturn:
        assert isinstance(error.messages, dict)
        # The outermost key is the place where the parameters stood: json or query.
        raise Invalid(errors=[found for messages in error.messages.values() for found in field_errors(messages)])
