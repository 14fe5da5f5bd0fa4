"""A document in each of its formats, read by a program that others use."""

from __future__ import annotations

import csv
import io
import json
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import openpyxl
import pypdfium2
import pytest

from reports.document import Column, Document, Kind, Table
from reports.formats import MEDIA_TYPES, pdf_file, write, xlsx_file
from reports.formats.rows import defused, hundredths, is_formula, shown_alone
from rules.errors import ReportTooLarge
from rules.reports import REPORT_FORMATS
from tests.reporting import COLUMNS, HARMLESS, INJECTIONS, MADE, ROOT, document, named, of_rows, row, rows, totals

FORMATS = list(REPORT_FORMATS)
STREAMING = ["json", "csv", "xlsx"]


class Writer:
    """Writes documents into a folder, and reads them."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._number = folder, 0

    def __call__(self, format: str, what: Document) -> Path:
        self._number += 1
        path, drafts = self._folder / f"{self._number}.{format}", self._folder / f"{self._number}.drafts"
        drafts.mkdir()
        with path.open("xb") as file:
            write(format, what, MADE, file, drafts)
            assert not file.closed
        assert list(drafts.iterdir()) == []
        return path

    def json(self, what: Document) -> dict[str, Any]:
        return dict(json.loads(self("json", what).read_bytes()))

    def csv(self, what: Document) -> list[list[str]]:
        with self("csv", what).open(encoding="utf-8", newline="") as file:
            return list(csv.reader(file))

    def xlsx(self, what: Document, *, values: bool = False) -> openpyxl.Workbook:
        return openpyxl.load_workbook(self("xlsx", what), data_only=values)

    def pdf(self, what: Document) -> list[str]:
        """The text of each page."""
        paper = pypdfium2.PdfDocument(self("pdf", what))
        try:
            found = []
            for page in paper:
                text = page.get_textpage()
                found.append(text.get_text_bounded())
                text.close()
                page.close()
            return found
        finally:
            paper.close()


@pytest.fixture
def written(tmp_path: Path) -> Writer:
    return Writer(tmp_path)


def test_every_format_that_can_be_asked_for_is_written_and_has_a_type(written: Writer) -> None:
    assert list(MEDIA_TYPES) == FORMATS
    for format in FORMATS:
        assert written(format, of_rows(3)).stat().st_size > 100


# ── values ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_money_in_json_is_in_centavos_and_instants_are_manilas(written: Writer) -> None:
    body = written.json(of_rows(2))
    assert body["facts"] == {
        "result": "046",
        "tickets": 1_234_567,
        "stake": -123_456_789,
        "ratio": 4_512,
        "sealed_at": "2026-11-22T14:00:00+08:00",
        "date": "2026-11-22",
        "merkle_root": ROOT,
        "correction": None,
    }
    assert (body["kind"], body["about"], body["asked_by"]) == ("draw_sales", "3D-20261122-1400", "ana.reyes")
    table = body["tables"]["tickets"]
    assert table["totals"] == totals(2)
    assert table["rows"][0] == {
        "serial": 1,
        "name": "outlet 1",
        "stake": -39_850,
        "share": 1,
        "at": "2026-11-22T14:00:00+08:00",
        "day": "2026-11-22",
    }
    assert [column["kind"] for column in table["columns"]] == ["count", "text", "money", "share", "instant", "date"]
    assert body["tables"]["corrections"]["rows"] == []


def test_csv_has_its_facts_first_and_then_a_section_for_each_table(written: Writer) -> None:
    found = written.csv(of_rows(2))
    empty = [number for number, line in enumerate(found) if not line]
    head, tickets, corrections = found[: empty[0]], found[empty[0] + 1 : empty[1]], found[empty[1] + 1 :]
    facts = {line[0]: line[1] for line in head}
    assert head[0] == ["report", "draw_sales"]
    assert (facts["stake"], facts["ratio"], facts["tickets"]) == ("-1234567.89", "45.12", "1234567")
    assert (facts["sealed_at"], facts["date"], facts["correction"]) == ("2026-11-22T14:00:00+08:00", "2026-11-22", "")
    assert tickets == [
        ["table", "tickets"],
        [column.name for column in COLUMNS],
        ["1", "outlet 1", "-398.50", "0.01", "2026-11-22T14:00:00+08:00", "2026-11-22"],
        ["2", "outlet 2", "-397.00", "0.02", "2026-11-22T14:00:00+08:00", "2026-11-22"],
        ["TOTAL", "", "-795.50", "", "", ""],
    ]
    assert corrections == [["table", "corrections"], ["name", "stake"], ["TOTAL", "0.00"]]


def test_cells_of_xlsx_have_types_heads_are_frozen_and_columns_fit(written: Writer) -> None:
    book = written.xlsx(of_rows(50))
    assert book.sheetnames == ["Report", "Tickets", "Corrections"]
    sheet = book["Tickets"]
    assert [cell.value for cell in sheet[1]] == [column.title for column in COLUMNS]
    assert [cell.value for cell in sheet[2]] == [
        1,
        "outlet 1",
        -398.5,
        0.0001,
        datetime(2026, 11, 22, 14, 0),
        datetime(2026, 11, 22, 0, 0),
    ]
    assert [cell.data_type for cell in sheet[2]] == ["n", "s", "n", "n", "d", "d"]
    assert [cell.number_format for cell in sheet[2]] == [
        "#,##0",
        "General",
        "#,##0.00",
        "0.00%",
        "yyyy-mm-dd hh:mm:ss",
        "yyyy-mm-dd",
    ]
    assert sheet.freeze_panes == "A2"
    assert sheet.auto_filter.ref == "A1:F51"
    assert sheet.column_dimensions["E"].width >= 19
    assert sheet.column_dimensions["B"].width >= len("outlet 50")
    facts = {line[0].value: line[1] for line in book["Report"].iter_rows()}
    assert facts["Sales"].value == -1_234_567.89
    assert facts["Merkle root"].value == ROOT
    assert facts["Sealed at"].value == datetime(2026, 11, 22, 14, 0)


def test_totals_of_xlsx_are_sums_that_readers_without_calculation_see_too(written: Writer) -> None:
    formulas, values = written.xlsx(of_rows(20))["Tickets"], written.xlsx(of_rows(20), values=True)["Tickets"]
    assert formulas["C22"].value == "=SUM(C2:C21)"
    assert values["C22"].value == totals(20)["stake"] / 100
    assert values["A22"].value == "Total"
    assert values["C22"].value == pytest.approx(sum(cell.value for cell in values["C"][1:21]))
    assert written.xlsx(of_rows(0))["Corrections"]["B2"].value == 0  # nothing to add up


def test_two_tables_of_one_title_have_sheets_of_their_own(written: Writer) -> None:
    title = "What was sold, by: agent/number [all]"
    tables = [Table(str(number), title, COLUMNS, rows(1), totals(1)) for number in range(3)]
    names = written.xlsx(document([], {}, tables=tuple(tables))).sheetnames
    assert len(set(names)) == 4
    assert all(len(name) <= 31 for name in names)


def test_a_text_that_no_cell_holds_is_cut_and_says_so(written: Writer) -> None:
    cell = written.xlsx(named("x" * 40_000))["Tickets"]["B2"].value
    assert len(cell) == xlsx_file.CELL_CHARACTERS_MAX
    assert "40,000 characters" in cell
    assert written.json(named("x" * 40_000))["tables"]["tickets"]["rows"][0]["name"] == "x" * 40_000


def test_a_pdf_says_what_it_is_of_when_and_who_signs(written: Writer) -> None:
    pages = written.pdf(of_rows(200))
    assert len(pages) > 2
    first, whole = pages[0], "\n".join(pages)
    for said in ("Draw sales", "3D-20261122-1400", "ana.reyes", "2026-11-22 14:00:00", "-₱1,234,567.89", "45.12%"):
        assert said in first, said
    assert " ".join(ROOT[at : at + 8] for at in range(0, 64, 8)) in first
    for number, page in enumerate(pages, start=1):
        assert f"Page {number} of {len(pages)}" in page
        assert "Name of the outlet" in page or number == len(pages)  # the head again
    assert f"{shown_alone(Kind.MONEY, totals(200)['stake'])}" in whole
    assert "Approved by" in pages[-1]
    assert all(f"outlet {number}" in whole for number in range(1, 201))


def test_a_pdf_of_texts_that_no_page_holds_is_printed_all_the_same(written: Writer) -> None:
    texts = (*COLUMNS, *(Column(f"text{number}", f"Text {number}") for number in range(6)))
    cells = [(*row(number, "word " * 2_000), *["x" * 500] * 6) for number in range(1, 4)]
    pages = written.pdf(document([], {}, about="x" * 500, tables=(Table("wide", "Wide", texts, cells),)))
    assert 1 <= len(pages) < 10
    assert "Approved by" in pages[-1]


def test_a_pdf_breaks_no_number_for_want_of_room(written: Writer) -> None:
    cells = [row(number) * 4 for number in range(1, 4)]
    with pytest.raises(ReportTooLarge, match="too wide for paper"):
        written.pdf(document([], {}, tables=(Table("wide", "Wide", COLUMNS * 4, cells),)))


# ── totals ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("sums", [{"stake": 1}, {"serial": 7}, {"name": 0}, {"nothing": 0}])
def test_a_table_whose_rows_do_not_add_up_to_its_totals_is_not_written(
    written: Writer, format: str, sums: dict[str, int]
) -> None:
    with pytest.raises(ValueError, match="the rows add up to"):
        written(format, document(rows(3), sums))


@pytest.mark.parametrize("format", FORMATS)
def test_a_row_of_another_length_is_not_written(written: Writer, format: str) -> None:
    with pytest.raises(ValueError, match="a row of 5 values for 6 columns"):
        written(format, document([row(1)[:-1]], {}))


@pytest.mark.parametrize("format", FORMATS)
def test_what_there_is_none_of_counts_for_nothing(written: Writer, format: str) -> None:
    cells: Any = (None,) * len(COLUMNS)
    assert written(format, document([cells, row(1)], totals(1))).exists()


def test_totals_may_be_counted_while_the_rows_pass(written: Writer) -> None:
    counted: dict[str, int] = {}

    def counting() -> Iterator[tuple[Any, ...]]:
        for each in rows(10):
            counted["stake"] = counted.get("stake", 0) + each[2]
            yield each

    assert written.json(document(counting(), counted))["tables"]["tickets"]["totals"] == totals(10)


# ── formulas ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("text", INJECTIONS)
def test_a_text_that_could_be_a_formula_is_a_text_everywhere(written: Writer, text: str) -> None:
    what = named(text)
    what = replace(what, about=text, title=f"Title {text!r}")
    cells = [cell for line in written.csv(what) for cell in line]
    assert f"'{text}" in cells
    assert not [cell for cell in cells if is_formula(cell) and not cell.startswith(("-1234567", "-398"))]
    book = written.xlsx(named(text))
    cell = book["Tickets"]["B2"]
    assert (cell.data_type, cell.quotePrefix, cell.hyperlink) == ("s", True, None)
    assert cell.value.replace("_x000D_", "\r") == text
    assert written.json(named(text))["tables"]["tickets"]["rows"][0]["name"] == text


@pytest.mark.parametrize("text", HARMLESS)
def test_a_text_that_is_no_formula_stays_as_it_is(written: Writer, text: str) -> None:
    assert defused(text) == text
    assert text in [line[1] for line in written.csv(named(text)) if len(line) == 6]
    cell = written.xlsx(named(text))["Tickets"]["B2"]
    assert (cell.value or "", cell.hyperlink) == (text, None)
    assert cell.data_type in ("s", "n" if not text else "s")


def test_no_cell_of_xlsx_but_a_total_is_a_formula(written: Writer) -> None:
    book = written.xlsx(named(*INJECTIONS, *HARMLESS))
    cells = [cell for sheet in book for line in sheet.iter_rows() for cell in line]
    assert [cell.coordinate for cell in cells if cell.data_type == "f"] == [f"C{len(INJECTIONS) + len(HARMLESS) + 2}"]


def test_amounts_have_two_places_and_their_sign_in_front() -> None:
    assert [hundredths(cents) for cents in (0, 5, -5, 100, -12_345)] == ["0.00", "0.05", "-0.05", "1.00", "-123.45"]
    assert hundredths(123_456_789, ",") == "1,234,567.89"
    assert [shown_alone(Kind.MONEY, cents) for cents in (-5, 0, None)] == ["-₱0.05", "₱0.00", "–"]


# ── sizes ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_pdf_takes_no_more_rows_than_people_read(written: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf_file, "PDF_ROWS_MAX", 30)
    assert len(written.pdf(of_rows(30))) >= 1
    for count in (31, 10_000_000):
        with pytest.raises(ReportTooLarge, match="take xlsx or csv"):
            written("pdf", of_rows(count))
    two = of_rows(20).tables[0], of_rows(20).tables[0]
    with pytest.raises(ReportTooLarge):
        written("pdf", document([], {}, tables=two))


def test_a_sheet_takes_no_more_rows_than_it_has(written: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xlsx_file, "SHEET_ROWS_MAX", 30)
    assert written.xlsx(of_rows(30))["Tickets"].max_row == 32
    with pytest.raises(ReportTooLarge, match="take csv"):
        written("xlsx", of_rows(31))


@pytest.mark.slow
@pytest.mark.parametrize("format", STREAMING)
def test_memory_does_not_grow_with_the_rows(tmp_path: Path, format: str) -> None:
    def most(count: int) -> int:
        with (tmp_path / f"{count}").open("wb") as file:
            tracemalloc.start()
            write(format, of_rows(count), MADE, file, tmp_path)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        return peak

    most(10)  # what is loaded once
    few, many = most(2_000), most(100_000)
    assert many < few + 300_000, (few, many)
    assert (tmp_path / "100000").stat().st_size > 20 * (tmp_path / "2000").stat().st_size


def test_a_file_is_written_from_its_beginning_to_its_end(written: Writer) -> None:
    """Whoever sends it counts on its bytes: none is taken back, none comes later."""
    buffer = io.BytesIO()
    write("csv", of_rows(3), MADE, buffer, Path())
    assert buffer.getvalue() == written("csv", of_rows(3)).read_bytes()
    assert buffer.getvalue().count(b"\r\n") == buffer.getvalue().count(b"\n")
    assert not buffer.getvalue().startswith(b"\xef\xbb\xbf")
    assert date(2026, 11, 22).isoformat().encode() in buffer.getvalue()
