"""What comes out of the printer, in each form and on each paper."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import segno
from PIL import Image

from reports.tickets.fitting import cells, wrapped
from reports.tickets.page import check_page
from reports.tickets.paper import PAPERS
from reports.tickets.printer import Form, TicketPrinter
from reports.tickets.qr import modules, svg_path
from reports.tickets.slip import Seller, Slip, one_line
from reports.tickets.template_files import SHIPPED
from rules.texts import pesos
from rules.tickets import SERIAL_MAX, Line
from tests.slips import SELLER, TEN_LINES, Printer, black_stripes, expected_code, find_code, image_of, slip

TICKETS = {
    "original": slip(),
    "first copy": slip(copy=1),
    "second copy": slip(copy=2),
    "voided": slip(status="voided"),
    "annulled": slip(status="annulled"),
    "refunded copy": slip(status="refunded", copy=2),
    "paid": slip(status="paid"),
    "expired": slip(status="expired"),
    "lost": slip(status="lost"),
    "ten lines": slip(lines=TEN_LINES),
    "2D": slip(draw="2D-20261122-2100", lines=(Line("rambolito", "08-20", 10_000_000),)),
    "longest number": slip(draw="3D-29991231-2359", serial=SERIAL_MAX),
    "long name": slip(seller=replace(SELLER, id=10**12, username="a" * 32)),
}
MARKS = {
    "original": [],
    "lost": [],
    "first copy": ["COPY 1"],
    "second copy": ["COPY 2"],
    "voided": ["VOID - NOT VALID"],
    "annulled": ["ANNULLED - NOT VALID"],
    "refunded copy": ["REFUNDED - NOT VALID", "COPY 2"],
    "paid": ["PRIZE PAID"],
    "expired": ["CLAIM EXPIRED"],
}
each_ticket = pytest.mark.parametrize("ticket", TICKETS.values(), ids=TICKETS.keys())
each_paper = pytest.mark.parametrize("paper", PAPERS)
each_template = pytest.mark.parametrize("template", sorted({path.name.partition(".")[0] for path in SHIPPED.iterdir()}))


def printed(ticket: Slip, form: Form, paper: int, template: str = "default") -> bytes:
    return TicketPrinter(None).printed(ticket, form, paper, template)


def words(ticket: Slip, peso: str = "₱") -> list[str]:
    """What has to be on it, whatever the form."""
    values = ticket.values(58)
    found = [values["game"], values["draw"], values["draw_date"], values["draw_time"], values["stake"]]
    found += [values["sold_at"], str(values["agent"]["id"]), values["agent"]["username"]]
    found += [ticket.number, ticket.code, *ticket.marks]
    for line in values["lines"]:
        found += [line["number"], line["play"], line["stake"]]
    return [word.replace("₱", peso) for word in found]


@pytest.mark.parametrize(("name", "marks"), MARKS.items())
def test_a_ticket_says_that_it_is_a_copy_or_not_valid(name: str, marks: list[str]) -> None:
    assert TICKETS[name].marks == marks


@each_ticket
@each_paper
@each_template
def test_text_has_all_of_the_ticket_within_the_papers_columns(ticket: Slip, paper: int, template: str) -> None:
    raw = printed(ticket, Form.TXT, paper, template)
    text = raw.decode()
    assert [word for word in words(ticket) if word not in text] == []
    assert max(map(cells, text.splitlines())) <= PAPERS[paper].columns
    assert text.endswith("\n")
    for mark in ticket.marks:
        assert [line.strip("* ") for line in text.splitlines()].count(mark) == 2


@each_paper
def test_the_blocks_of_the_text_are_the_qr_code(paper: int) -> None:
    ticket = slip()
    lines = printed(ticket, Form.TXT, paper).decode().splitlines()
    block_lines = [line for line in lines if set(line) & set("█▀▄")]
    left = min(len(line) - len(line.lstrip()) for line in block_lines)
    rows = []
    for line in block_lines:
        signs = line[left:].ljust(29)
        rows += [[int(sign in "█▀") for sign in signs], [int(sign in "█▄") for sign in signs]]
    matrix = segno.make_qr(ticket.qr, error="M", boost_error=False).matrix
    assert rows[:29] == [list(row) for row in matrix]
    assert rows[29] == [0] * 29
    assert PAPERS[paper].columns >= 29 + 2


@each_ticket
@each_paper
@each_template
def test_a_printer_understands_every_byte_and_prints_all_of_it(ticket: Slip, paper: int, template: str) -> None:
    printer = Printer().take(printed(ticket, Form.ESCPOS, paper, template))
    assert [word for word in words(ticket, "P") if word not in printer.text] == []
    assert max(line.columns for line in printer.lines) <= PAPERS[paper].columns
    assert (printer.qr, printer.page, printer.cuts) == ([ticket.qr], 2, 1)
    assert printer.qr_settings == {0x41: b"2\x00", 0x43: bytes([PAPERS[paper].module_dots]), 0x45: b"1"}
    for mark in ticket.marks:
        assert [line.black for line in printer.lines if line.text == mark] == [True, True]
    shown = [line for line in printer.lines if line.text in (ticket.number, ticket.code)]
    assert len(shown) == 2, "neither is broken in two"
    assert all(line.align == 1 and line.size & 0x01 for line in shown)
    assert all(line.black == (line.text in ticket.marks) for line in printer.lines)


def test_game_and_number_are_double_where_they_fit() -> None:
    sizes = {line.text: line.size for line in Printer().take(printed(slip(), Form.ESCPOS, 58)).lines}
    assert (sizes["3D"], sizes[slip().number]) == (0x11, 0x11)
    longest = TICKETS["longest number"]
    assert {line.text: line.size for line in Printer().take(printed(longest, Form.ESCPOS, 58)).lines}[
        longest.number
    ] == 0x01
    assert {line.text: line.size for line in Printer().take(printed(longest, Form.ESCPOS, 80)).lines}[
        longest.number
    ] == 0x11


@each_ticket
@each_paper
@each_template
def test_the_picture_is_as_wide_as_the_paper_black_and_white_and_has_the_code(
    ticket: Slip, paper: int, template: str
) -> None:
    image = image_of(printed(ticket, Form.PNG, paper, template))
    assert (image.format, image.mode, image.width) == ("PNG", "1", PAPERS[paper].dots)
    assert round(image.info["dpi"][0]) == 203
    code = expected_code(ticket.qr, PAPERS[paper].module_dots)
    assert find_code(image, code) is not None
    assert len(black_stripes(image)) == 2 * len(ticket.marks)
    # Nothing runs out of the paper: but for the marks the edges are white.
    if not ticket.marks:
        for x in (0, 1, image.width - 2, image.width - 1):
            assert image.crop((x, 0, x + 1, image.height)).getextrema() == (255, 255)


@each_paper
def test_tickets_can_be_looked_at(paper: int, tmp_path: Path) -> None:
    """Copies and longer tickets are longer pictures; the files are kept as pytest keeps them."""
    heights = {}
    for name in ("original", "first copy", "voided", "ten lines"):
        path = tmp_path / f"{name}-{paper}.png"
        path.write_bytes(printed(TICKETS[name], Form.PNG, paper))
        with Image.open(path) as image:
            heights[name] = image.height
    assert heights["original"] < min(heights["first copy"], heights["voided"])
    assert max(heights["first copy"], heights["voided"]) < heights["ten lines"]
    assert heights["ten lines"] < 1_400  # 175 mm


@each_ticket
@each_paper
@each_template
def test_the_page_has_all_of_the_ticket_and_loads_nothing(ticket: Slip, paper: int, template: str) -> None:
    page = printed(ticket, Form.HTML, paper, template).decode()
    assert [word for word in words(ticket) if word not in page] == []
    check_page(page, ticket)
    assert svg_path(modules(ticket.qr)) in page
    assert f"size: {paper}mm auto" in page
    assert "<script" not in page
    assert "http" not in page
    for mark in ticket.marks:
        assert page.count(f'<p class="mark">{mark}</p>') == 2


def test_the_path_of_the_page_is_the_qr_code() -> None:
    rows = modules(slip().qr)
    runs = re.findall(r"M(\d+) (\d+)h(\d+)v1h-\3z", svg_path(rows))
    dark = [(int(x) + step, int(y)) for x, y, count in runs for step in range(int(count))]
    assert dark == [(x + 4, y + 4) for y, row in enumerate(rows) for x, module in enumerate(row) if module]


# ── what people are called ──────────────────────────────────────────────────────────────────────────────────────────

NASTY = [
    "<script>alert(1)</script>",
    "</td></tr><qr><black>",
    '"><img src=x onerror=alert(1)>',
    "=cmd|'/c calc'!A1",
    "{{ code }}{% raw %}",
    "&lt;qr&gt; & AT&T",
    "line\none\ttwo",
    "\x1b@\x1dV\x00\x07\x9b31m\x7f",
    "\u202egnorw\u2069",
    "a\u0300\u0301\u0302" * 20,
    "x" * 200,
    "Ñandú Peña–Öz ₱ “quoted”",
    "福山彩票 🎟",
    "private \ue000\ud7ff\U000e0041 use",
]
OUTLET = "outlet"


@pytest.mark.parametrize("name", NASTY)
@each_paper
def test_a_name_is_printed_as_it_is_written_and_does_nothing(name: str, paper: int) -> None:
    ticket = slip(seller=Seller(7, "corner7", name, name), copy=1)
    plain = slip(seller=Seller(7, "corner7", "Name", "Name"), copy=1)
    page = printed(ticket, Form.HTML, paper, OUTLET).decode()
    for sign in "<>":
        assert page.count(sign) == printed(plain, Form.HTML, paper, OUTLET).decode().count(sign)
    text = printed(ticket, Form.TXT, paper, OUTLET).decode()
    assert all(line.isprintable() for line in text.splitlines())
    assert max(map(cells, text.splitlines())) <= PAPERS[paper].columns
    assert "".join(one_line(name).split()) in "".join(text.split())
    printer = Printer().take(printed(ticket, Form.ESCPOS, paper, OUTLET))
    assert (printer.qr, printer.cuts) == ([ticket.qr], 1)
    assert max(line.columns for line in printer.lines) <= PAPERS[paper].columns
    assert [line.text for line in printer.lines if line.black] == ["COPY 1", "COPY 1"]
    image = image_of(printed(ticket, Form.PNG, paper, OUTLET))
    assert find_code(image, expected_code(ticket.qr, PAPERS[paper].module_dots)) is not None
    assert len(black_stripes(image)) == 2


def test_names_are_spelt_with_what_a_printer_has() -> None:
    ticket = slip(seller=Seller(7, "corner7", "Ñandú Peña–Öz “Ā” 福 ½ ₱", ""))
    assert 'Ñandú Peña-Öz "A" ? ½ P' in Printer().take(printed(ticket, Form.ESCPOS, 80, OUTLET)).text
    assert "Ñandú Peña–Öz “Ā” 福 ½ ₱" in printed(ticket, Form.TXT, 80, OUTLET).decode()


def test_printers_that_stay_in_their_first_code_page_print_small_accented_letters_alike() -> None:
    for sign in "ñÑáéíóúüÉ":
        assert sign.encode("cp437") == sign.encode("cp850")


# ── small parts ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("centavos", "text"), [(100, "₱1.00"), (123_450, "₱1,234.50"), (5, "₱0.05")])
def test_money_is_written_in_pesos(centavos: int, text: str) -> None:
    assert pesos(centavos) == text


def test_times_are_those_of_manila() -> None:
    values = slip().values(58)
    assert (values["draw_date"], values["draw_time"]) == ("Sun 22 Nov 2026", "2:00 PM")
    assert values["sold_at"] == "22 Nov 2026 13:54:59"


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", [""]),
        ("one two", ["one two"]),
        ("one two three", ["one two", "three"]),
        ("abcdefghijklmnop", ["abcdefgh", "ijklmnop"]),
        ("ab cdefghijklm no", ["ab", "cdefghij", "klm no"]),
        ("福山福山福", ["福山福山", "福"]),
    ],
)
def test_rows_are_broken_between_words_where_there_are_any(text: str, lines: list[str]) -> None:
    assert wrapped(text, 8, cells) == lines


def test_many_threads_print_alike() -> None:
    printer = TicketPrinter(None)
    wanted = [(ticket, form) for ticket in (slip(), slip(copy=1), slip(lines=TEN_LINES)) for form in Form] * 8
    alone = [printer.printed(ticket, form, 58, "outlet") for ticket, form in wanted]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda asked: printer.printed(*asked, 58, "outlet"), wanted)) == alone
