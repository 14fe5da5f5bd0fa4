"""Every kind in every format, of a draw that was sold, settled and claimed."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import openpyxl
import pypdfium2
import pytest

from actions import claims
from actions import reports as asking
from actions.resources import Resources
from models.settlement import Seal
from reports.kinds import About
from reports.registry import KINDS
from rules.reports import REPORT_FORMATS
from tasks.make_report import make_report
from tasks.settle import settle
from tests.integration.after_sales import read_draw, resulted
from tests.integration.conftest import Lottery
from tests.integration.making_reports import status


class Settled:
    """A draw of one agent below one coordinator below one administrator."""

    def __init__(self, lottery: Lottery) -> None:
        self.superadmin, self.admin = lottery.person("superadmin"), lottery.person("admin")
        self.coordinator = lottery.person("coordinator", parent=self.admin)
        self.agent = lottery.person(pesos=1_000, parent=self.coordinator)
        self.draw = lottery.draw()
        ticket = lottery.sell(self.draw, self.agent, "s046:10", "r123:5")
        lottery.sell(self.draw, self.agent, "s047:10")
        self.res: Resources = resulted(lottery, self.draw, "046")
        assert settle(self.res, self.draw)
        claims.claim(self.res, self.agent, ticket["number"], ticket["code"], None)
        with self.res.sessions() as session:
            self.root = session.get_one(Seal, read_draw(self.res, self.draw).id).merkle_root.hex()

    def about(self, kind: str) -> Iterator[dict[str, Any]]:
        """All that the kind can be about."""
        now, about = self.res.clock.now(), KINDS[kind].about
        if about is not About.PERIOD:
            yield {"draw": self.draw}
        if about in (About.PERIOD, About.EITHER):
            yield {"since": now - timedelta(days=300), "before": now + timedelta(days=1)}
        if about is About.DRAW_OR_LIVE:
            yield {}

    def file(self, owner: int, kind: str, format: str, **about: Any) -> bytes:
        report = asking.ask(self.res, owner, kind, format, **about)["id"]
        assert make_report(self.res, report) or status(self.res, report) == "ready"
        body = asking.one(self.res, owner, report)
        assert body["status"] == "ready", (kind, format, about, body["problem"])
        with asking.download(self.res, owner, report).file as file:
            return file.read()


@pytest.fixture
def settled(lottery: Lottery) -> Settled:
    return Settled(lottery)


def pdf_text(raw: bytes) -> str:
    paper = pypdfium2.PdfDocument(raw)
    try:
        texts = []
        for page in paper:
            text = page.get_textpage()
            texts.append(text.get_text_bounded())
            text.close()
            page.close()
        return "\n".join(texts)
    finally:
        paper.close()


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_kind_comes_in_every_format_and_says_the_same(settled: Settled, kind: str) -> None:
    for about in settled.about(kind):
        raw = {format: settled.file(settled.superadmin, kind, format, **about) for format in REPORT_FORMATS}
        body = json.loads(raw["json"])
        lines = list(csv.reader(io.StringIO(raw["csv"].decode())))
        book = openpyxl.load_workbook(io.BytesIO(raw["xlsx"]), data_only=True)
        assert lines[0] == ["report", kind] == ["report", body["kind"]]
        assert len(book.sheetnames) == 1 + len(body["tables"])
        assert [line[1] for line in lines if line[:1] == ["table"]] == list(body["tables"])
        assert body["title"] in pdf_text(raw["pdf"])
        for name, table in body["tables"].items():
            (start,) = [number for number, line in enumerate(lines) if line == ["table", name]]
            section = lines[start + 2 : next((n for n in range(start, len(lines)) if not lines[n]), len(lines))]
            # Each request is a deed of its own, and stands in the next extract.
            more = 1 if kind == "audit" and "since" in about else 0
            assert len(section) == len(table["rows"]) + bool(table["totals"]) + more, (kind, name)


def test_the_draws_report_on_paper_bears_its_merkle_root(settled: Settled) -> None:
    text = pdf_text(settled.file(settled.superadmin, "draw_sales", "pdf", draw=settled.draw))
    assert " ".join(settled.root[at : at + 8] for at in range(0, 64, 8)) in text
    assert "Approved by" in text


def test_everybody_gets_what_is_made_by_itself(settled: Settled) -> None:
    for owner, kind in (
        (settled.superadmin, "draw_sales"),
        (settled.admin, "draw_sales"),
        (settled.agent, "statement"),
    ):
        (item,) = asking.page(settled.res, owner, 10, None)["items"]
        assert (item["kind"], item["by_itself"]) == (kind, True)
        assert make_report(settled.res, item["id"])
        with asking.download(settled.res, owner, item["id"]).file as file:
            assert file.read(5) == b"%PDF-"
    assert asking.page(settled.res, settled.coordinator, 10, None)["items"] == []


def test_an_agent_gets_his_own_statement_and_his_superiors_theirs_of_him(settled: Settled) -> None:
    own = json.loads(settled.file(settled.agent, "statement", "json", draw=settled.draw))
    for above in (settled.coordinator, settled.admin, settled.superadmin):
        of_him = settled.file(above, "statement", "json", draw=settled.draw, agent_id=settled.agent)
        assert json.loads(of_him)["facts"] == own["facts"]
        assert json.loads(of_him)["tables"] == own["tables"]
