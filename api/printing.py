"""Tickets as they go to a printer."""

from __future__ import annotations

from typing import Any

from flask import Response
from marshmallow import Schema, fields, validate

from actions import printing
from actions.resources import Resources
from api.fields import Digits
from api.operation import Blueprint, Files, operation
from api.tokens import Actor
from reports.tickets.paper import PAPERS
from reports.tickets.printer import Form
from rules import errors

blueprint = Blueprint("printing", __name__, url_prefix="/v1", description="Tickets as they go to a printer")

MEDIA_TYPES = {
    Form.TXT: "text/plain; charset=utf-8",
    Form.HTML: "text/html; charset=utf-8",
    Form.PNG: "image/png",
    Form.ESCPOS: "application/octet-stream",
}
_ENDINGS = {Form.TXT: "txt", Form.HTML: "html", Form.PNG: "png", Form.ESCPOS: "bin"}


class PrintQuery(Schema):
    format = fields.String(required=True, validate=validate.OneOf([form.value for form in Form]))
    paper = Digits(
        load_default=None,
        validate=validate.OneOf(list(PAPERS)),
        metadata={"description": "width of the roll, mm; your own if not given"},
    )


@operation(
    blueprint,
    "GET /tickets/<number>/print",
    allowed="ticket.print",
    query=PrintQuery,
    answers={200: Files(tuple(MEDIA_TYPES.values()))},
    problems=[errors.NotFound, errors.TokenRevoked, errors.IntakeUnavailable],
)
def print_ticket(res: Resources, actor: Actor, query: dict[str, Any], number: str) -> Response:
    """Your own ticket for the printer: the original, or after `…/reprint` the copy that was counted last.

    Asking for it counts nothing.
    """
    form = Form(query["format"])
    name, content = printing.printed(res, actor.id, number, form, query["paper"])
    answer = Response(content, content_type=MEDIA_TYPES[form])
    answer.headers["Content-Disposition"] = f'inline; filename="ticket-{name}.{_ENDINGS[form]}"'
    return answer
