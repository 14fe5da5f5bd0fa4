"""The OpenAPI document, its browsable page (all of it served from here), and the table of problem codes."""

from __future__ import annotations

from functools import cache
from html import escape
from typing import Any

from flask import Flask, Response, current_app
from flask_smorest import Api
from flask_swagger_ui import get_swaggerui_blueprint

from api.answers import json_answer
from api.errors import TABLE, title_of
from api.operation import Blueprint, Caller, operation
from api.ticket_schemas import ProblemBody

JSON_PATH = "/v1/openapi.json"
PAGE_PATH = "/v1/docs"

blueprint = Blueprint("documents", __name__, url_prefix="/v1", description="This description")


class Document(Api):
    """The API as flask-smorest describes it; errors are answered by `api.problems`."""

    DEFAULT_ERROR_RESPONSE_NAME = None

    def _register_error_handlers(self) -> None:
        pass


def describe(app: Flask) -> Document:
    """Starts the document of an application; blueprints are registered on what it returns."""
    app.config.update(API_TITLE="drawbreak", API_VERSION="1", OPENAPI_VERSION="3.0.3")
    document = Document(
        app,
        spec_kwargs={
            "info": {"description": _ABOUT},
            "servers": [{"url": "/", "description": "this server"}],
        },
    )
    document.spec.components.schema("Problem", schema=ProblemBody)
    document.spec.components.security_scheme("bearer", {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"})
    app.register_blueprint(get_swaggerui_blueprint(PAGE_PATH, JSON_PATH, {"app_name": "drawbreak"}))
    app.extensions["drawbreak-openapi"] = cache(document.spec.to_dict)
    return document


@operation(blueprint, "GET /openapi.json", allowed=Caller.ANYONE, answers={200: None})
def openapi(_: Any, __: None) -> Response:
    """This document."""
    return json_answer(current_app.extensions["drawbreak-openapi"]())


@operation(blueprint, "GET /docs/errors", allowed=Caller.ANYONE, answers={200: None})
def problem_codes(_: Any, __: None) -> Response:
    """The table of problem codes, for people; the `type` of each problem points into it."""
    rows = "\n".join(
        f'<tr id="{code}"><td><code>{code}</code></td><td>{row.status}</td>'
        f"<td>{escape(title_of(code))}</td><td>{escape(row.advice)}</td></tr>"
        for code, row in TABLE.items()
    )
    return Response(_ERRORS_PAGE.format(rows=rows), content_type="text/html; charset=utf-8")


_ABOUT = """Bet-taking for numbers games. Money is in integer centavos, instants are RFC 3339. Lists are
`{"items", "next"}`, newest first. Errors are `application/problem+json`; their codes stand in
[the table](/v1/docs/errors). Bodies up to 64 KiB, batches up to 1 MiB."""

_ERRORS_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>drawbreak: problem codes</title>
<style>body {{ font: 15px/1.5 sans-serif; margin: 2em auto; max-width: 70em; padding: 0 1em }}
td, th {{ text-align: left; vertical-align: top; padding: .3em 1em .3em 0; border-bottom: 1px solid #ccc }}
tr:target {{ background: #ffc }}</style></head>
<body><h1>Problem codes</h1>
<table><tr><th>code</th><th>status</th><th>meaning</th><th>what to do</th></tr>
{rows}
</table></body></html>
"""
