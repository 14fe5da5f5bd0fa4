"""One endpoint: its address, who may call it, what it takes and answers, and which problems it may meet.

`@operation` makes a plain function `(res, actor, [body], [query], **path)` into an endpoint, and writes its
part of the OpenAPI document from the same facts. Checks run in the order of the contract: login (401), role
(403), size (413), type (415), content (422).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import wraps
from typing import Any, NamedTuple

import marshmallow as ma
from flask import Response, g, request
from flask_smorest import Blueprint as SmorestBlueprint

from api import problems as problem_documents
from api.answers import json_answer
from api.bodies import Parser, expect_no_body, read_body
from api.errors import CLASSES, status_of, title_of
from api.served import served
from api.tokens import Actor
from rules import errors
from rules.rights import may

View = Callable[..., Any]
Schema = type[ma.Schema]


class Caller(Enum):
    """Who may call, where that is no question of role."""

    ANYONE = "anyone"
    ANYONE_OR_USER = "anyone; with a login there is more to see"
    USER = "anybody with a login"


class Sale(NamedTuple):
    """The body of a sale: documented by `schema`, handed to the view as bytes."""

    schema: Schema
    bytes_max: int


class Blueprint(SmorestBlueprint):
    """A group of endpoints; its arguments are read by our parser."""

    ARGUMENTS_PARSER = Parser()


def operation(
    blueprint: Blueprint,
    call: str,
    *,
    allowed: Caller | str,
    answers: Mapping[int, Schema | None],
    body: Schema | Sale | None = None,
    query: Schema | None = None,
    problems: Sequence[type[errors.Problem]] = (),
    **documented: Any,
) -> Callable[[View], View]:
    """Registers a view under `call` ("POST /users"). `allowed`: a Caller, or an action of rules.rights.

    `answers`: the schema of each good status; `problems`: those that the checks here do not imply;
    `documented` goes into the OpenAPI operation as it is. The view returns a body, (body, status) or a
    Response.
    """
    method, path = call.split()

    def decorate(view: View) -> View:
        endpoint = _answering(view, method, allowed, body)
        if query is not None:
            endpoint = blueprint.arguments(query, location="query")(endpoint)
        if body is not None and not isinstance(body, Sale):
            endpoint = blueprint.arguments(body)(endpoint)
        implied = _implied_problems(method, allowed, body, query)
        endpoint = blueprint.doc(**_description(answers, [*problems, *implied], allowed, body), **documented)(endpoint)
        endpoint = _guarded(endpoint, allowed, fast=isinstance(body, Sale))
        blueprint.add_url_rule(path, view.__name__, endpoint, methods=[method])
        return view

    return decorate


def _guarded(endpoint: View, allowed: Caller | str, *, fast: bool) -> View:
    """Login and role come before anything of the request is read."""

    @wraps(endpoint)
    def guarded(**path: Any) -> Any:
        g.actor = _actor(allowed, fast)
        return endpoint(**path)

    return guarded


def _actor(allowed: Caller | str, fast: bool) -> Actor | None:
    header = request.headers.get("Authorization")
    if allowed is Caller.ANYONE or (allowed is Caller.ANYONE_OR_USER and header is None):
        return None
    tokens = served().tokens
    actor = tokens.cached_actor(header) if fast else tokens.actor(header)
    if isinstance(allowed, str) and not may(actor.role, allowed):
        raise errors.Forbidden
    return actor


def _answering(view: View, method: str, allowed: Caller | str, body: Schema | Sale | None) -> View:
    @wraps(view)
    def endpoint(*parsed: Any, **path: Any) -> Response:
        if isinstance(body, Sale):
            parsed = (read_body(body.bytes_max), *parsed)
        elif body is None and method != "GET":
            expect_no_body()
        answer = view(served().res, g.actor, *parsed, **path)
        if isinstance(answer, Response):
            return answer
        return json_answer(*answer) if isinstance(answer, tuple) else json_answer(answer)

    return endpoint


# ── the OpenAPI document ────────────────────────────────────────────────────────────────────────────────────


def _implied_problems(
    method: str, allowed: Caller | str, body: Schema | Sale | None, query: Schema | None
) -> list[type[errors.Problem]]:
    found: list[type[errors.Problem]] = []
    if allowed is not Caller.ANYONE:
        found += [errors.BadToken, errors.TokenExpired]
    if isinstance(allowed, str):
        found += [errors.Forbidden]
    if method != "GET":
        found += [errors.TooLarge, errors.UnsupportedMediaType, errors.Invalid]
    if query is not None:
        found += [errors.Invalid]
    return [*found, errors.DatabaseUnavailable] if allowed is not Caller.ANYONE else found


def _description(
    answers: Mapping[int, Schema | None],
    problems: Sequence[type[errors.Problem]],
    allowed: Caller | str,
    body: Schema | Sale | None,
) -> dict[str, Any]:
    responses: dict[int, Any] = {}
    for status, schema in answers.items():
        content = {"application/json": {"schema": schema}} if schema else None
        responses[status] = {"description": _PHRASES[status], **({"content": content} if content else {})}
    for problem in sorted({problem.code for problem in problems}):
        _add_problem(responses, problem)
    described: dict[str, Any] = {
        "responses": responses,
        "security": _SECURITY[allowed if isinstance(allowed, Caller) else Caller.USER],
    }
    if isinstance(body, Sale):
        described["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": body.schema}},
        }
    return described


def _add_problem(responses: dict[int, Any], code: str) -> None:
    status = status_of(CLASSES[code])
    schema = {"$ref": "#/components/schemas/Problem"}
    empty = {"description": "", "content": {problem_documents.MEDIA_TYPE: {"schema": schema}}}
    line = f"`{code}`: {title_of(code)}"
    found = responses.setdefault(status, empty)
    found["description"] = f"{found['description']}\n\n{line}".strip()


_PHRASES = {
    200: "OK",
    201: "Created",
    202: "Accepted; follow it with GET on the same object",
    304: "Not modified since that ETag",
    503: "Something that matters is away",
}
_SECURITY: dict[Caller, list[dict[str, list[str]]]] = {
    Caller.ANYONE: [],
    Caller.ANYONE_OR_USER: [{}, {"bearer": []}],
    Caller.USER: [{"bearer": []}],
}
