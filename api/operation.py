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

from actions import logins
from actions.resources import Resources
from api import problems as problem_documents
from api.answers import json_answer
from api.bodies import Parser, expect_no_body, read_body
from api.errors import CLASSES, status_of, title_of
from api.rates import UNCOUNTED_ROOMS
from api.served import served
from api.tokens import Actor, Refresher
from rules import errors
from rules.rights import ADMINISTRATORS, may
from runtime.origin import origin, set_origin

View = Callable[..., Any]
Schema = type[ma.Schema]


class Caller(Enum):
    """Who may call, where that is no question of role."""

    ANYONE = "anyone"
    REFRESHER = "whoever holds a refresh token"
    ANYONE_OR_USER = "anyone; with a login there is more to see"
    USER = "anybody with a login"


class Sale(NamedTuple):
    """The body of a sale: documented by `schema`, handed to the view as bytes."""

    schema: Schema
    bytes_max: int


class Files(NamedTuple):
    """An answer that is no JSON: the view makes the Response, with one of these content types."""

    media_types: tuple[str, ...]


class Checks(NamedTuple):
    """What stands between a token and its call."""

    sale: bool
    fresh: bool
    gate_only: bool
    while_restricted: bool
    once_more: Callable[[Resources, Actor], None] | None


class Blueprint(SmorestBlueprint):
    """A group of endpoints; its arguments are read by our parser."""

    ARGUMENTS_PARSER = Parser()


def operation(
    blueprint: Blueprint,
    call: str,
    *,
    allowed: Caller | str,
    answers: Mapping[int, Schema | Files | None],
    body: Schema | Sale | None = None,
    query: Schema | None = None,
    problems: Sequence[type[errors.Problem]] = (),
    fresh: bool = False,
    gate_only: bool = False,
    while_restricted: bool = False,
    once_more: Callable[[Resources, Actor], None] | None = None,
    **documented: Any,
) -> Callable[[View], View]:
    """Registers a view under `call` ("POST /users"). `allowed`: a Caller, or an action of rules.rights.

    `answers`: the schema of each good status; `problems`: those that the checks here do not imply;
    `fresh`: only with a token from a login or step-up of the last minutes; `gate_only`: an agent's call that
    must work without PostgreSQL, so that the gate says how he stands; `while_restricted`: open to a user who
    has to change his password or set up one-time codes before anything else; `once_more`: called before a token
    of an ended session is refused; `documented` goes into the OpenAPI operation as it is. The view returns a body,
    (body, status), None (204) or a Response.
    """
    method, path = call.split()
    checks = Checks(isinstance(body, Sale), fresh, gate_only, while_restricted, once_more)

    def decorate(view: View) -> View:
        endpoint = _answering(view, method, allowed, body)
        if query is not None:
            endpoint = blueprint.arguments(query, location="query")(endpoint)
        if body is not None and not isinstance(body, Sale):
            endpoint = blueprint.arguments(body)(endpoint)
        implied = _implied_problems(method, allowed, checks, body, query)
        if blueprint.name not in UNCOUNTED_ROOMS:
            implied.append(errors.SlowDown)
        endpoint = blueprint.doc(**_description(answers, [*problems, *implied], allowed, body), **documented)(endpoint)
        endpoint = _guarded(endpoint, allowed, checks)
        blueprint.add_url_rule(path, view.__name__, endpoint, methods=[method])
        return view

    return decorate


def _guarded(endpoint: View, allowed: Caller | str, checks: Checks) -> View:
    """Login and role come before anything of the request is read."""

    @wraps(endpoint)
    def guarded(**path: Any) -> Any:
        g.action = allowed if isinstance(allowed, str) else None
        g.actor = _actor(allowed, checks)
        return endpoint(**path)

    return guarded


def _actor(allowed: Caller | str, checks: Checks) -> Actor | Refresher | None:
    header = request.headers.get("Authorization")
    if allowed is Caller.ANYONE or (allowed is Caller.ANYONE_OR_USER and header is None):
        return None
    tokens = served().tokens
    if allowed is Caller.REFRESHER:
        return tokens.refresher(header)
    actor = tokens.cached_actor(header) if checks.sale else tokens.actor(header)
    if not checks.sale:  # the journal has it, and the audit log nothing
        set_origin(origin()._replace(actor_id=actor.id, actor=actor.username, role=actor.role.value))
    _check_standing(actor, checks)
    if isinstance(allowed, str) and not may(actor.role, allowed):
        raise errors.Forbidden
    if checks.fresh and not actor.fresh:
        raise errors.StepUpRequired
    return actor


def _check_standing(actor: Actor, checks: Checks) -> None:
    """Whether the user and his session still stand: a sale asks the gate, in its one call; the others ask here."""
    res = served().res
    # The gate does not know whose password was chosen by somebody else; a token from that time is asked here.
    if checks.sale and not actor.restricted:
        return
    if checks.gate_only and not actor.restricted:
        try:
            return res.gate.standing(actor.id, actor.session)
        except errors.AgentSuspended as error:
            raise errors.TokenRevoked from error
    try:
        standing = logins.check(res, actor.id, actor.session)
    except errors.TokenRevoked:
        if checks.once_more is not None:
            checks.once_more(res, actor)
        raise
    if checks.while_restricted:
        return
    if standing.must_change_password:
        raise errors.PasswordChangeRequired
    if res.settings.totp_required and actor.role in ADMINISTRATORS and not standing.has_totp:
        raise errors.TotpRequired


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
        if answer is None:
            return _nothing()
        return json_answer(*answer) if isinstance(answer, tuple) else json_answer(answer)

    return endpoint


def _nothing() -> Response:
    response = Response(status=204)
    del response.headers["Content-Type"]
    return response


# ── the OpenAPI document ────────────────────────────────────────────────────────────────────────────────────


def _implied_problems(
    method: str, allowed: Caller | str, checks: Checks, body: Schema | Sale | None, query: Schema | None
) -> list[type[errors.Problem]]:
    found: list[type[errors.Problem]] = []
    if allowed is not Caller.ANYONE:
        found += [errors.BadToken, errors.TokenExpired, errors.TokenRevoked]
    if allowed is not Caller.ANYONE and allowed is not Caller.REFRESHER and not checks.while_restricted:
        found += [errors.PasswordChangeRequired, errors.TotpRequired]
    if checks.fresh:
        found += [errors.StepUpRequired]
    if checks.gate_only:
        found += [errors.IntakeUnavailable]
    if isinstance(allowed, str):
        found += [errors.Forbidden]
    if method != "GET":
        found += [errors.TooLarge, errors.UnsupportedMediaType, errors.Invalid]
    if query is not None:
        found += [errors.Invalid]
    return [*found, errors.DatabaseUnavailable] if allowed is not Caller.ANYONE else found


def _description(
    answers: Mapping[int, Schema | Files | None],
    problems: Sequence[type[errors.Problem]],
    allowed: Caller | str,
    body: Schema | Sale | None,
) -> dict[str, Any]:
    responses: dict[int, Any] = {}
    for status, schema in answers.items():
        responses[status] = {"description": _PHRASES[status], **_content(schema)}
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


def _content(schema: Schema | Files | None) -> dict[str, Any]:
    if isinstance(schema, Files):
        anything = {"schema": {"type": "string", "format": "binary"}}
        return {"content": {media_type.partition(";")[0]: anything for media_type in schema.media_types}}
    return {"content": {"application/json": {"schema": schema}}} if schema else {}


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
    204: "Done",
    202: "Accepted; follow it with GET on the same object",
    304: "Not modified since that ETag",
    503: "Something that matters is away",
}
_SECURITY: dict[Caller, list[dict[str, list[str]]]] = {
    Caller.ANYONE: [],
    Caller.REFRESHER: [{"bearer": []}],
    Caller.ANYONE_OR_USER: [{}, {"bearer": []}],
    Caller.USER: [{"bearer": []}],
}
