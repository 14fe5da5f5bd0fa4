"""An operator's templates: they win, they may change at any time, and none of them keeps a ticket from being whole."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from reports.tickets.printer import Form, TicketPrinter
from reports.tickets.rows import Drawn, Text, rows_of
from reports.tickets.slip import Slip
from tests.slips import Printer, slip

WHOLE = "{{ number }}\n{{ code }}\n{% for mark in marks %}{{ mark }}\n{% endfor %}<qr>\n"
WHOLE_PAGE = "<p>{{ number }}</p><p>{{ code }}</p>{% for mark in marks %}<p>{{ mark }}</p>{% endfor %}{{ qr }}"
TICKET = slip(copy=1)


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text, encoding="utf-8")


def text_of(printer: TicketPrinter, template: str, ticket: Slip = TICKET) -> str:
    return printer.printed(ticket, Form.TXT, 58, template).decode()


def fallen(printer: TicketPrinter, template: str, form: Form = Form.TXT) -> list[dict[str, Any]]:
    """What was logged, once the default is seen to have been printed instead."""
    with capture_logs() as lines:
        made = printer.printed(TICKET, form, 58, template)
    assert made == TicketPrinter(None).printed(TICKET, form, 58, "default")
    for line in lines:
        assert (line["event"], line["log_level"], line["format"]) == ("ticket_template_failed", "warning", form)
        assert TICKET.code not in str(line)
    return [dict(line) for line in lines]


def test_an_own_template_is_taken_and_an_own_default_wins(tmp_path: Path) -> None:
    write(tmp_path, "shop.txt.j2", "The shop\n" + WHOLE)
    write(tmp_path, "default.txt.j2", "Our own\n" + WHOLE)
    printer = TicketPrinter(tmp_path)
    assert text_of(printer, "shop").startswith("The shop\n")
    assert text_of(printer, "default").startswith("Our own\n")
    assert text_of(TicketPrinter(None), "default") != text_of(printer, "default")


def test_the_three_forms_of_a_text_template_are_one(tmp_path: Path) -> None:
    write(tmp_path, "shop.txt.j2", "<middle><bold>The shop\n" + WHOLE)
    printer = TicketPrinter(tmp_path)
    first = Printer().take(printer.printed(TICKET, Form.ESCPOS, 58, "shop")).lines[0]
    assert (first.text, first.align, first.bold) == ("The shop", 1, True)
    assert printer.printed(TICKET, Form.PNG, 58, "shop") != printer.printed(TICKET, Form.PNG, 58, "default")


def test_a_template_may_change_blocks_of_the_shipped_one(tmp_path: Path) -> None:
    change = '{% extends "shipped/default.txt.j2" %}{% block head %}<middle>Open daily\n{{ super() }}{% endblock %}'
    write(tmp_path, "default.txt.j2", change)
    text = text_of(TicketPrinter(tmp_path), "default")
    assert "Open daily" in text
    assert "TOTAL" in text
    page = '{% extends "shipped/default.html.j2" %}{% block head %}<p>Open daily</p>{% endblock %}'
    write(tmp_path, "default.html.j2", page)
    assert b"<p>Open daily</p>" in TicketPrinter(tmp_path).printed(TICKET, Form.HTML, 58, "default")


def test_changes_count_from_the_next_ticket_on(tmp_path: Path) -> None:
    printer = TicketPrinter(tmp_path)
    shipped = text_of(printer, "default")
    write(tmp_path, "default.txt.j2", "First\n" + WHOLE)
    assert text_of(printer, "default").startswith("First\n")
    write(tmp_path, "default.txt.j2", "Second\n" + WHOLE)
    assert text_of(printer, "default").startswith("Second\n")
    os.replace(_beside(tmp_path, "Moved\n" + WHOLE), tmp_path / "default.txt.j2")
    assert text_of(printer, "default").startswith("Moved\n")
    (tmp_path / "default.txt.j2").unlink()
    assert text_of(printer, "default") == shipped


def test_a_change_of_a_template_reaches_those_that_extend_it(tmp_path: Path) -> None:
    printer = TicketPrinter(tmp_path)
    write(tmp_path, "shop.txt.j2", '{% extends "default.txt.j2" %}')
    assert "TOTAL" in text_of(printer, "shop")
    write(tmp_path, "default.txt.j2", "Ours\n" + WHOLE)
    assert text_of(printer, "shop").startswith("Ours\n")


def _beside(folder: Path, text: str) -> Path:
    write(folder, "new", text)
    return folder / "new"


BROKEN = {
    "empty": "",
    "without a number": WHOLE.replace("{{ number }}", ""),
    "without a code": WHOLE.replace("{{ code }}", ""),
    "without a qr": WHOLE.replace("<qr>", ""),
    "without marks": "{{ number }}\n{{ code }}\n<qr>\n",
    "with half of the code": WHOLE.replace("{{ code }}", "{{ code[:8] }}"),
    "with the number in two rows": WHOLE.replace("{{ number }}", "{{ number[:8] }}\n{{ number[8:] }}"),
    "with a syntax error": WHOLE + "{% if %}",
    "with an unknown name": WHOLE + "{{ prize }}",
    "with an unknown mark": WHOLE + "<blink>",
    "with a mark out of place": WHOLE + "a <bold>b",
    "with a qr beside text": WHOLE + "<qr> here",
    "that fails": WHOLE + "{{ 1 // 0 }}",
    "that fails on the code": WHOLE + "{{ code|list|sum }}",
    "that quotes the code": WHOLE + "{{ agent[code] }}",
    "that extends itself": '{% extends "bad.txt.j2" %}',
    "that never ends": "{% for a in range(99999) %}{% for b in range(99999) %}{{ a }}{{ b }}{% endfor %}{% endfor %}",
    "that is too long": WHOLE + "row\n" * 200,
    "that is too wide": WHOLE + "x" * 10_000,
    "that reaches out": WHOLE + "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "that includes a file": WHOLE + '{% include "../../../etc/passwd" %}',
    "that calls out": WHOLE + "{{ self.__init__.__globals__ }}",
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN.keys())
@pytest.mark.parametrize("form", [Form.TXT, Form.PNG, Form.ESCPOS])
def test_a_template_that_makes_no_whole_ticket_falls_back_to_the_default(tmp_path: Path, text: str, form: Form) -> None:
    write(tmp_path, "bad.txt.j2", text)
    (line,) = fallen(TicketPrinter(tmp_path), "bad", form)
    assert line["template"] == "bad"
    assert line["why"]


BROKEN_PAGES = {
    "empty": "",
    "without a number": WHOLE_PAGE.replace("{{ number }}", ""),
    "without a code": WHOLE_PAGE.replace("{{ code }}", ""),
    "without a qr": WHOLE_PAGE.replace("{{ qr }}", ""),
    "without marks": "<p>{{ number }}</p><p>{{ code }}</p>{{ qr }}",
    "with the code in a comment": WHOLE_PAGE.replace("{{ code }}", "<!-- {{ code }} -->"),
    "with the code in a style": WHOLE_PAGE.replace("{{ code }}", "<style>{{ code }}</style>"),
    "with the code in the title": WHOLE_PAGE.replace("{{ code }}", "<title>{{ code }}</title>"),
    "with the code in two paragraphs": WHOLE_PAGE.replace("{{ code }}", "{{ code[:8] }}</p><p>{{ code[8:] }}"),
    "with the qr in a comment": WHOLE_PAGE.replace("{{ qr }}", "<!-- {{ qr }} -->"),
    "with the qr as text": WHOLE_PAGE.replace("{{ qr }}", "{{ qr|forceescape }}"),
    "with a syntax error": WHOLE_PAGE + "{% for %}",
    "of many megabytes": WHOLE_PAGE + "{% for a in range(99999) %}{{ 'x' * 1000 }}{% endfor %}",
}


@pytest.mark.parametrize("text", BROKEN_PAGES.values(), ids=BROKEN_PAGES.keys())
def test_a_page_that_shows_no_whole_ticket_falls_back_to_the_default(tmp_path: Path, text: str) -> None:
    write(tmp_path, "bad.html.j2", text)
    (line,) = fallen(TicketPrinter(tmp_path), "bad", Form.HTML)
    assert line["template"] == "bad"


def test_a_whole_page_is_taken(tmp_path: Path) -> None:
    split = WHOLE_PAGE.replace("{{ code }}", "<b>{{ code[:4] }}</b> {{ code[4:8] }}-<i>{{ code[8:] }}</i>")
    write(tmp_path, "good.html.j2", split)
    with capture_logs() as lines:
        page = TicketPrinter(tmp_path).printed(TICKET, Form.HTML, 58, "good")
    assert lines == []
    assert b"<b>" + TICKET.code[:4].encode() in page


def test_number_and_code_may_be_spaced(tmp_path: Path) -> None:
    spaced = WHOLE.replace("{{ code }}", "{{ code[:4] }} {{ code[4:8] }} {{ code[8:12] }}-{{ code[12:] }}")
    write(tmp_path, "good.txt.j2", spaced)
    with capture_logs() as lines:
        assert f"{TICKET.code[:4]} {TICKET.code[4:8]}" in text_of(TicketPrinter(tmp_path), "good")
    assert lines == []


def test_a_template_that_is_gone_or_no_text_falls_back(tmp_path: Path) -> None:
    printer = TicketPrinter(tmp_path)
    (tmp_path / "bytes.txt.j2").write_bytes(b"\xff\xfe" + WHOLE.encode())
    (tmp_path / "folder.txt.j2").mkdir()
    write(tmp_path, "page.html.j2", WHOLE_PAGE)
    for name in ("gone", "bytes", "folder", "page"):
        (line,) = fallen(printer, name)
        assert line["template"] == name


def test_a_broken_default_of_ones_own_falls_back_to_the_shipped_one(tmp_path: Path) -> None:
    write(tmp_path, "default.txt.j2", "nothing")
    write(tmp_path, "bad.txt.j2", "{% if %}")
    assert [line["template"] for line in fallen(TicketPrinter(tmp_path), "bad")] == ["bad", "default"]


def test_a_folder_that_goes_away_leaves_the_shipped_ones(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    write(own, "shop.txt.j2", "The shop\n" + WHOLE)
    printer = TicketPrinter(own)
    assert printer.knows("shop")
    (own / "shop.txt.j2").unlink()
    own.rmdir()
    assert not printer.knows("shop")
    assert [line["template"] for line in fallen(printer, "shop")] == ["shop"]


def test_a_template_is_known_by_a_file_of_either_kind(tmp_path: Path) -> None:
    write(tmp_path, "shop.txt.j2", WHOLE)
    write(tmp_path, "web.html.j2", WHOLE_PAGE)
    write(tmp_path, "Big.txt.j2", WHOLE)
    write(tmp_path, "secret.txt", WHOLE)
    printer = TicketPrinter(tmp_path)
    assert [name for name in ("default", "outlet", "shop", "web") if not printer.knows(name)] == []
    for name in ("", "Big", "secret", "other", "shop.txt", "../shop", "shipped/default", "shop\n", "x" * 33, "šhop"):
        assert not printer.knows(name), name


def test_what_a_template_cannot_change_is_the_ticket(tmp_path: Path) -> None:
    write(tmp_path, "sly.txt.j2", "{% set _ = marks.clear() %}" + WHOLE)
    (line,) = fallen(TicketPrinter(tmp_path), "sly")
    assert line["why"].startswith("SecurityError")


def test_rows_are_what_the_marks_say() -> None:
    rows = rows_of("\n<middle><big> Game &amp; <right>x\n\n<rule>\n a<right>b \n<bold>&lt;qr&gt;\n<qr>\n\n")
    assert rows == [
        Text("Game &", "x", frozenset({"middle", "big"})),
        Text(""),
        Drawn.RULE,
        Text("a", "b"),
        Text("<qr>", "", frozenset({"bold"})),
        Drawn.QR,
    ]
