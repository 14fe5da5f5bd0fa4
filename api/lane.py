"""The sale's own lane: past the framework, which costs more than everything else that Python does for a ticket.

It takes only what is plainly in order: a JSON body of announced length, a token that was verified before or verifies
now, a ticket that reads well. All else goes to the application's endpoint, which finds the same, and says it. So does
a sale in which something unforeseen is raised: the same id again is the same sale.
"""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from io import BytesIO
from typing import TYPE_CHECKING

import structlog
from flask import Flask

from actions import sell
from api import problems
from api.answers import MEDIA_TYPE, json_bytes
from api.bodies import BODY_BYTES_MAX
from api.errors import status_of
from api.hooks import note_asker
from api.sale import read_sale
from api.served import Served, served
from intake.gate import Sale
from intake.gate_errors import Unreconciled
from rules.errors import Problem
from rules.rights import may

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

PATH = "/v1/tickets"

_LINES = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}

_log = structlog.get_logger()


def beside(app: Flask) -> WSGIApplication:
    """The application with the lane before it."""
    framework = app.wsgi_app
    here = served(app)

    def lane(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] != PATH or environ["REQUEST_METHOD"] != "POST":
            return framework(environ, start_response)
        read = _read(here, environ)
        if read is None:
            return framework(environ, start_response)
        note_asker(environ)
        try:
            receipt, replayed = sell.sell(here.res, *read)
            status, body, headers = 200 if replayed else 201, json_bytes(receipt), [("Content-Type", MEDIA_TYPE)]
        except Problem as problem:
            if isinstance(problem, Unreconciled):
                here.background.wake()
            status, body = status_of(problem), json_bytes(problems.document(problem))
            headers = [("Content-Type", problems.MEDIA_TYPE), *problems.headers(problem)]
        except Exception:
            _log.error("lane_failed", exc_info=True)
            return framework(environ, start_response)
        headers += [("Content-Length", str(len(body))), ("Cache-Control", "no-store")]
        start_response(_LINES[status], headers)
        return [body]

    return lane


def _read(here: Served, environ: WSGIEnvironment) -> tuple[str, Sale] | None:
    """(draw's name, sale); None: it is not plainly in order. What was read of the body can be read again."""
    size = environ.get("CONTENT_LENGTH", "")
    if not size.isdecimal() or len(size) > len(str(BODY_BYTES_MAX)) or int(size) > BODY_BYTES_MAX:
        return None
    media_type = environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
    if media_type != MEDIA_TYPE or "HTTP_ORIGIN" in environ:  # what a page of another origin may read is not known here
        return None
    try:
        actor = here.tokens.cached_actor(environ.get("HTTP_AUTHORIZATION"))
        if actor.restricted or not may(actor.role, "ticket.sell"):
            return None
        raw = environ["wsgi.input"].read(int(size))
        environ["wsgi.input"] = BytesIO(raw)
        return read_sale(raw, actor.id, actor.session)
    except Exception:  # the framework meets it again, and knows what to say
        return None
