"""Problem documents (RFC 9457), and the handlers that turn every exception into one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog
from flask import Flask, Response, g, request
from sqlalchemy import exc as sql_errors
from werkzeug.exceptions import HTTPException

from api.answers import json_bytes
from api.bodies import read_away
from api.errors import InternalError, status_of, title_of
from intake.gate_errors import Unreconciled
from rules.errors import (
    DatabaseUnavailable,
    Invalid,
    MethodNotAllowed,
    NotFound,
    Problem,
    TooLarge,
    UnsupportedMediaType,
)

MEDIA_TYPE = "application/problem+json"
DATABASE_RETRY_AFTER_S = 1

# What Flask itself refuses; anything else it may refuse is a request that we could not read.
_OF_STATUS: dict[int | None, type[Problem]] = {
    404: NotFound,
    405: MethodNotAllowed,
    413: TooLarge,
    415: UnsupportedMediaType,
}

_log = structlog.get_logger()


def document(problem: Problem) -> dict[str, Any]:
    """The problem as its JSON document."""
    standard = {
        "type": f"/v1/docs/errors#{problem.code}",
        "title": title_of(problem.code),
        "status": status_of(problem),
        "detail": problem.detail,
        "code": problem.code,
        "errors": problem.errors,
    }
    assert not problem.extra.keys() & standard.keys()
    return {**standard, **problem.extra}


def headers(problem: Problem) -> list[tuple[str, str]]:
    """Retry-After and WWW-Authenticate where they belong."""
    found = []
    retry_after = problem.extra.get("retry_after")
    if isinstance(retry_after, int | float):
        found.append(("Retry-After", str(max(1, round(retry_after)))))
    if status_of(problem) == 401:
        found.append(("WWW-Authenticate", "Bearer"))
    return found


def answer(problem: Problem) -> Response:
    """The problem as a response."""
    g.problem_code = problem.code  # for the audit log
    response = Response(json_bytes(document(problem)), status_of(problem), content_type=MEDIA_TYPE)
    response.headers.extend(headers(problem))
    return response


def handle_all(app: Flask, on_unreconciled: Callable[[], None]) -> None:
    """Registers the handlers. `on_unreconciled`, which must not block, is told to look at the gate."""

    def of_problem(problem: Problem) -> Response:
        read_away()
        if isinstance(problem, Unreconciled):
            on_unreconciled()
        return answer(problem)

    app.register_error_handler(Problem, of_problem)
    app.register_error_handler(HTTPException, _of_http)
    for error in (sql_errors.OperationalError, sql_errors.InterfaceError, sql_errors.TimeoutError):
        app.register_error_handler(error, _of_database)
    app.register_error_handler(sql_errors.DataError, _of_value)
    app.register_error_handler(Exception, _of_mistake)


def _of_http(error: HTTPException) -> Response:
    read_away()
    kind = _OF_STATUS.get(error.code)
    if kind is None:
        return answer(Invalid() if (error.code or 500) < 500 else InternalError())
    response = answer(kind())
    for name, value in error.get_headers():
        if name == "Allow":
            response.headers[name] = value
    return response


def _of_database(error: Exception) -> Response:
    _log.warning("database_unavailable", path=request.path, error=str(error).splitlines()[0])
    return answer(DatabaseUnavailable(retry_after=DATABASE_RETRY_AFTER_S))


def _of_value(error: Exception) -> Response:
    """A value that no column can hold, such as a number of twenty digits in a cursor that was made up."""
    _log.warning("value_out_of_range", path=request.path, error=str(error).splitlines()[0])
    return answer(Invalid())


def _of_mistake(error: Exception) -> Response:
    _log.error("uncaught", method=request.method, path=request.path, exc_info=error)
    return answer(InternalError())
