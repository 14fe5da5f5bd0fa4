"""A draw's report and an agent's statement as files: opened, and every cell held against the tickets themselves."""

from __future__ import annotations

import csv
import io
from typing import Any

import openpyxl
import pypdfium2
import pytest

from actions import reports
from tasks.make_report import make_report
from tests.integration.conftest import Lottery
from tests.integration.reporting import World, postings, stakes_on, tickets, wins

PEOPLE = "SELECT id, username, full_name FROM users"


@pytest.fixture
def world(lottery: Lottery) -> World:
    made = World(lottery)
    made.run()
    return made


def file_of(world: World, owner: int, kind: str, format: str, draw: str) -> bytes:
    asked = reports.ask(world.res, owner, kind, format, draw=draw)
    assert make_report(world.res, asked["id"])
    found = reports.download(world.res, owner, asked["id"])
    with found.file as file:
        return file.read()


def sheets_of(content: bytes) -> dict[str, list[tuple[Any, ...]]]:
    book = openpyxl.load_workbook(io.BytesIO(content), data_only=True)
    return {sheet.title: list(sheet.iter_rows(values_only=True)) for sheet in book.worksheets}


def pesos(centavos: int) -> float:
    return centavos / 100


def agent_cells(world: World, agent: int) -> tuple[Any, ...]:
    """What must stand in an agent's row of the settled draw, from his tickets, their lines and his postings."""
    name, full_name = next((row.username, row.full_name) for row in world.rows(PEOPLE) if row.id == agent)
    mine = [sold for sold in tickets(world) if sold.draw == world.settled and sold.agent == agent]
    voided = [sold for sold in mine if sold.voided]
    won = [lines for sold in mine if (lines := wins(sold, "123"))]
    stake, back = sum(sold.stake for sold in mine), sum(sold.stake for sold in voided)
    earned = sum(m.amount for m in postings(world) if (m.user, m.draw, m.kind) == (agent, world.settled, "commission"))
    prizes = sum(prize for lines in won for *_, prize in lines)
    counts = (len(mine), pesos(stake), len(voided), pesos(back), pesos(0), pesos(stake - back))
    return (agent, name, full_name, *counts, len(won), sum(map(len, won)), pesos(prizes), pesos(earned))


def test_every_cell_of_a_draws_report_is_what_the_tickets_say(world: World) -> None:
    sheets = sheets_of(file_of(world, world.superadmin, "draw_sales", "xlsx", world.settled))
    head, *rows, total = sheets["By agent"]
    wanted = sorted((agent_cells(world, agent) for agent in world.agents), key=lambda row: row[1])
    assert rows == wanted
    assert total[0] == "Total"
    sums = [sum(row[place] for row in wanted) for place in range(3, len(head))]
    assert [round(value, 2) for value in total[3:]] == [round(value, 2) for value in sums]
    head, *plays, total = sheets["By play"]
    mine = [sold for sold in tickets(world) if sold.draw == world.settled]
    won = [line for sold in mine for line in wins(sold, "123")]
    assert plays == [
        (
            play,
            pesos(sum(stake for bet, stake in stakes_on(mine).items() if bet[0] == play)),
            sum(line[0] == play for line in won),
            pesos(sum(line[2] for line in won if line[0] == play)),
            pesos(sum(line[3] for line in won if line[0] == play)),
        )
        for play in ("straight", "rambolito")
    ]
    facts = {row[0]: row[1] for row in sheets["Report"][1:]}
    root = world.rows("SELECT encode(merkle_root, 'hex') AS root FROM seals s JOIN draws d ON d.id = s.draw_id "
                      "WHERE d.name = :draw", draw=world.settled)  # fmt: skip
    assert facts["Merkle root"] == root[0].root
    assert facts["Result"] == "123"


def statement_cells(world: World, agent: int) -> dict[str, float]:
    mine = [m for m in postings(world) if m.user == agent and m.draw == world.settled]
    by = {
        kind: pesos(sum(m.amount for m in mine if m.kind == kind)) for kind in ("sale", "void", "claim", "commission")
    }
    return {
        "Sales": by["sale"],
        "Voids": by["void"],
        "Commissions": by["commission"],
        "Prizes paid": by["claim"],
        "Change": pesos(sum(m.amount for m in mine)),
    }


def test_every_cell_of_a_statement_is_what_the_postings_say(world: World) -> None:
    for agent in world.agents:
        wanted = statement_cells(world, agent)
        sheets = sheets_of(file_of(world, agent, "statement", "xlsx", world.settled))
        head, *days, total = sheets["By day and draw"]
        assert {row[head.index("Draw")] for row in days} == {world.settled}
        for title in head[2:]:
            column = [row[head.index(title)] for row in days]
            assert round(sum(column), 2) == round(wanted.get(title, 0), 2) == round(total[head.index(title)], 2), title
        facts = {row[0]: row[1] for row in sheets["Report"][1:]}
        to_remit = -wanted["Sales"] - wanted["Voids"] - wanted["Prizes paid"] - wanted["Commissions"]
        assert facts["Net to remit"] == pytest.approx(to_remit)


def test_csv_and_pdf_say_the_same(world: World) -> None:
    lines = list(csv.reader(io.StringIO(file_of(world, world.superadmin, "draw_sales", "csv", world.settled).decode())))
    pages = pypdfium2.PdfDocument(file_of(world, world.superadmin, "draw_sales", "pdf", world.settled))
    words = "".join(page.get_textpage().get_text_bounded() for page in pages)
    for agent in world.agents:
        cells = agent_cells(world, agent)
        row = next(line for line in lines if line[:2] == [str(agent), cells[1]])
        assert row[3:] == [f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in cells[3:]]
        assert cells[1] in words
        assert f"{cells[8]:,.2f}" in words
    pages.close()


MARKUP = '<r><t>x</t></r></is></c><c r="Z9"><f>1+1</f></c><c r="AA9" t="inlineStr"><is><r><t>y</t></r>'


def test_a_name_forges_no_cell_and_breaks_no_page(world: World) -> None:
    world.owner(f"UPDATE users SET full_name = '{MARKUP}' WHERE id = {world.ana}")
    lines = "\n".join("x" * 99)
    world.owner(f"UPDATE users SET full_name = E'{lines}' WHERE id = {world.bea}".replace("\n", "\\n"))
    content = file_of(world, world.superadmin, "draw_sales", "xlsx", world.settled)
    book = openpyxl.load_workbook(io.BytesIO(content))
    assert {cell.data_type for row in book["By agent"].iter_rows(max_row=6) for cell in row} <= {"s", "n"}
    names = {row[0]: row[2] for row in book["By agent"].iter_rows(min_row=2, max_row=6, values_only=True)}
    assert names[world.ana].strip() == MARKUP
    pages = pypdfium2.PdfDocument(file_of(world, world.superadmin, "draw_sales", "pdf", world.settled))
    count = len(pages)
    pages.close()
    assert count <= 3
