"""Printing tickets: the agent's template if it makes a whole ticket, else the default."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

import structlog
from jinja2 import TemplateError
from markupsafe import Markup

from reports.tickets.escpos import escpos
from reports.tickets.page import check_page
from reports.tickets.paper import PAPERS, Paper
from reports.tickets.picture import picture
from reports.tickets.plain import plain
from reports.tickets.qr import modules, svg
from reports.tickets.rows import BadTemplate, check_rows, rows_of
from reports.tickets.slip import Slip
from reports.tickets.template_files import DEFAULT, PAGE, SHIPPED_PREFIX, TEXT, TemplateFiles

_log = structlog.get_logger()


class Form(StrEnum):
    """What a ticket is printed as."""

    TXT = "txt"
    HTML = "html"
    PNG = "png"
    ESCPOS = "escpos"


_MADE_OF_ROWS = {Form.TXT: plain, Form.PNG: picture, Form.ESCPOS: escpos}


class TicketPrinter:
    """Prints tickets by the templates of an operator's folder and the shipped ones. Good for several threads."""

    def __init__(self, own_templates: Path | None) -> None:
        self._files = TemplateFiles(own_templates)

    def knows(self, template: str) -> bool:
        """Whether an agent can have that template."""
        return self._files.known(template)

    def printed(self, slip: Slip, form: Form, paper_mm: int, template: str) -> bytes:
        """The ticket. `paper_mm`: one of PAPERS. A template that is gone or makes no whole ticket is logged."""
        for name in dict.fromkeys((template, DEFAULT)):
            try:
                return self._made(slip, form, PAPERS[paper_mm], name)
            except Exception as error:  # a template is somebody's program: whatever it does, a ticket is printed
                _log.warning("ticket_template_failed", template=name, format=str(form), why=_why(error, slip))
        return self._made(slip, form, PAPERS[paper_mm], SHIPPED_PREFIX + DEFAULT)

    def _made(self, slip: Slip, form: Form, paper: Paper, name: str) -> bytes:
        """Raises BadTemplate, and whatever else a template can get wrong."""
        values = slip.values(paper.mm)
        if form is Form.HTML:
            page = self._files.rendered(name, PAGE, values | {"qr": Markup(svg(modules(slip.qr)))})
            check_page(page, slip)
            return page.encode()
        rows = rows_of(self._files.rendered(name, TEXT, values))
        check_rows(rows, slip)
        return _MADE_OF_ROWS[form](rows, slip.qr, paper)


def _why(error: Exception, slip: Slip) -> str:
    """For the log, without the ticket's code: other errors than these may quote what they were given."""
    if isinstance(error, (BadTemplate, TemplateError)):
        return f"{type(error).__name__}: {error}".replace(slip.code, "…")
    return type(error).__name__
