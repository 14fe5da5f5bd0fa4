"""Printing tickets through HTTP: whose, which copy, on which paper, by which template."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from actions import results, tickets, voiding
from actions.draws import close
from actions.resources import Resources
from api.printing import MEDIA_TYPES
from api.served import served
from models.audit import AuditRow
from models.claims import Reprint
from models.draws import draw_by_name
from reports.tickets.paper import PAPERS
from reports.tickets.printer import Form, TicketPrinter
from runtime.clock import FixedClock
from runtime.environment import SettingsError
from tasks.persist import persist
from tasks.seal import seal
from tasks.settle import settle
from tasks.void_draw import void_draw
from tests.api.conftest import PASSWORD, Caller, People, running, sale
from tests.conftest import Database, settings_in
from tests.slips import Printer, expected_code, find_code, image_of

TEN = [("straight", f"{number:03d}", 1_000) for number in range(10)]
TEMPLATE = "{{ agent.username }}s own\n{{ number }}\n{{ code }}\n{% for m in marks %}{{ m }}\n{% endfor %}<qr>\n"


@pytest.fixture
def receipt(seller: Caller, draw_id: str) -> dict[str, Any]:
    answer = seller("POST /v1/tickets", sale(draw_id, ("straight", "046", 1_000), ("rambolito", "123", 500)))
    assert answer.status_code == 201, answer.text
    return dict(answer.json)


def printed(caller: Caller, number: str, form: str = "txt", **query: Any) -> bytes:
    more = "".join(f"&{name}={value}" for name, value in query.items())
    answer = caller(f"GET /v1/tickets/{number}/print?format={form}{more}")
    assert answer.status_code == 200, answer.text
    assert answer.content_type == MEDIA_TYPES[Form(form)]
    assert answer.headers["Cache-Control"] == "no-store"
    assert number in answer.headers["Content-Disposition"]
    return bytes(answer.data)


def text_of(caller: Caller, number: str, **query: Any) -> str:
    return printed(caller, number, **query).decode()


def reprint(caller: Caller, number: str) -> int:
    answer = caller(f"POST /v1/tickets/{number}/reprint")
    assert answer.status_code == 200, answer.text
    return int(answer.json["copy"])


def seen(caller: Caller, number: str, form: str, paper: int) -> str:
    """What can be read on the ticket, the picture's QR code found on it."""
    raw = printed(caller, number, form, paper=paper)
    if form == "escpos":
        return Printer().take(raw).text
    return raw.decode() if form != "png" else ""


@pytest.mark.parametrize("paper", PAPERS)
@pytest.mark.parametrize("form", ["txt", "html", "escpos"])
def test_original_copies_and_a_voided_ticket_in_each_form(
    seller: Caller, receipt: dict[str, Any], form: str, paper: int
) -> None:
    number = receipt["number"]
    original = seen(seller, number, form, paper)
    for word in (number, receipt["code"], receipt["draw_id"], "3D", "046", "straight", "rambolito", "10.00", "15.00"):
        assert word in original
    assert f"Terminal {seller.id}" in original
    assert seller.user["username"] in original
    assert "COPY" not in original
    for copy in (1, 2):
        assert reprint(seller, number) == copy
        again = seen(seller, number, form, paper)
        assert (again.count("COPY"), again.count(f"COPY {copy}")) == (2, 2)
    assert seller(f"POST /v1/tickets/{number}/void", {"reason": "wrong"}).status_code == 200
    voided = seen(seller, number, form, paper)
    assert (voided.count("VOID - NOT VALID"), voided.count("COPY 2")) == (2, 2)


@pytest.mark.parametrize("paper", PAPERS)
def test_the_picture_of_each_is_another_and_has_the_receipts_qr(
    seller: Caller, receipt: dict[str, Any], paper: int
) -> None:
    number, code = receipt["number"], expected_code(receipt["qr"], PAPERS[paper].module_dots)
    pictures = [printed(seller, number, "png", paper=paper)]
    reprint(seller, number)
    pictures.append(printed(seller, number, "png", paper=paper))
    seller(f"POST /v1/tickets/{number}/void", {"reason": "wrong"})
    pictures.append(printed(seller, number, "png", paper=paper))
    assert len(set(pictures)) == 3
    for picture in map(image_of, pictures):
        assert picture.width == PAPERS[paper].dots
        assert find_code(picture, code) is not None


def test_printing_counts_nothing(seller: Caller, receipt: dict[str, Any], res: Resources) -> None:
    number = receipt["number"]
    for form in Form:
        first = printed(seller, number, form)
        assert [printed(seller, number, form) for _ in range(3)] == [first] * 3
    with res.sessions() as session:
        assert session.scalar(select(func.count()).select_from(Reprint)) == 0
        assert session.scalar(select(func.count()).where(AuditRow.action == "ticket.reprint")) == 0
    assert reprint(seller, number) == 1
    assert "COPY 1" in text_of(seller, number)
    assert "COPY 1" in text_of(seller, number.lower().replace("-", "").upper()[:7] + number[7:])
    assert reprint(seller, number) == 2
    assert seller(f"POST /v1/tickets/{number}/reprint").json["code"] == "no_copies_left"
    assert "COPY 2" in text_of(seller, number)


def test_a_ticket_of_ten_lines_has_them_all(seller: Caller, draw_id: str) -> None:
    receipt = seller("POST /v1/tickets", sale(draw_id, *TEN)).json
    text = text_of(seller, receipt["number"])
    assert [f"{number} straight" in text for _, number, _ in TEN] == [True] * 10
    assert "₱100.00" in text


def test_only_ones_own_ticket_is_printed(
    people: People, receipt: dict[str, Any], hire: Callable[..., Caller], nobody: Caller
) -> None:
    call = f"GET /v1/tickets/{receipt['number']}/print?format=txt"
    other = hire(people.coordinator, "other-agent", "agent")
    answer = other(call)
    assert (answer.status_code, answer.json["code"]) == (404, "not_found")
    for above in (people.coordinator, people.admin, people.superadmin, people.operator):
        assert (above(call).status_code, above(call).json["code"]) == (403, "forbidden")
    assert nobody(call).status_code == 401
    for number in ("303EMB8-0000H-B", "nothing", "%00", "%C3%A9"):
        assert people.agent(f"GET /v1/tickets/{number}/print?format=txt").status_code == 404


def test_a_wrong_form_or_paper_is_named(seller: Caller, receipt: dict[str, Any]) -> None:
    call = f"GET /v1/tickets/{receipt['number']}/print"
    for query, path in (
        ("", "format"),
        ("?format=", "format"),
        ("?format=pdf", "format"),
        ("?format=TXT", "format"),
        ("?format=txt&paper=57", "paper"),
        ("?format=txt&paper=", "paper"),
        ("?format=txt&paper=58mm", "paper"),
        ("?format=txt&template=default", "template"),
    ):
        answer = seller(call + query)
        assert (answer.status_code, answer.json["code"]) == (422, "invalid"), query
        assert [error["path"] for error in answer.json["errors"]] == [path], query


# ── what became of the draw ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_ticket_of_a_voided_draw_is_not_valid(
    people: People, seller: Caller, receipt: dict[str, Any], res: Resources, draw_id: str
) -> None:
    voiding.ask(res, people.admin.id, draw_id, "no draw")
    voiding.confirm(res, people.superadmin.id, draw_id)
    assert not void_draw(res, draw_id)  # the gate is closed, its journal not stored yet
    persist(res, draw_id)
    assert void_draw(res, draw_id)
    assert seller(f"GET /v1/tickets/{receipt['number']}").json["status"] == "refunded"
    assert text_of(seller, receipt["number"]).count("REFUNDED - NOT VALID") == 2


def test_a_paid_ticket_says_so(
    people: People, seller: Caller, receipt: dict[str, Any], res: Resources, draw_id: str
) -> None:
    close(res, people.admin.id, draw_id)
    persist(res, draw_id)
    assert seal(res, draw_id)
    late = replace(res, clock=FixedClock(res.clock.now() + timedelta(hours=3)))
    with res.sessions() as session:
        row = draw_by_name(session, draw_id)
    assert row is not None
    results.enter(late, people.admin.id, draw_id, "046", row.date, row.time)
    results.confirm(late, people.superadmin.id, draw_id, "046", row.date, row.time)
    assert settle(late, draw_id)
    assert "PAID" not in text_of(seller, receipt["number"])
    assert seller(f"POST /v1/tickets/{receipt['number']}/claim", {"code": receipt["code"]}).status_code == 200
    assert text_of(seller, receipt["number"]).count("PRIZE PAID") == 2


def test_nothing_is_printed_while_nobody_knows_what_became_of_it(
    seller: Caller, receipt: dict[str, Any], res: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> None:
        raise OperationalError("SELECT 1", {}, Exception("connection refused"))

    monkeypatch.setattr(tickets, "draw_by_name", away)
    answer = seller(f"GET /v1/tickets/{receipt['number']}/print?format=txt")
    assert (answer.status_code, answer.json["code"]) == (503, "database_unavailable")
    assert seller(f"GET /v1/tickets/{receipt['number']}").json["status"] == "accepted"


def test_without_the_gate_nothing_is_printed(
    seller: Caller, receipt: dict[str, Any], without_gate: Callable[[], AbstractContextManager[None]]
) -> None:
    with without_gate():
        answer = seller(f"GET /v1/tickets/{receipt['number']}/print?format=png")
    assert (answer.status_code, answer.json["code"]) == (503, "intake_unavailable")


# ── an agent's paper and template ───────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def folder(app: Flask, res: Resources, tmp_path: Path) -> Iterator[Path]:
    """An operator's templates, in the running application."""
    own = tmp_path / "templates"
    own.mkdir()
    printer, res.__dict__["printer"] = res.printer, TicketPrinter(own)
    yield own
    res.__dict__["printer"] = printer


def test_the_setting_names_the_operators_folder(
    tmp_path: Path, database: Database, redis_url: str, folder: Path
) -> None:
    (folder / "shop.txt.j2").write_text(TEMPLATE)
    settings = settings_in(tmp_path, database, redis_url, TICKET_TEMPLATES=str(folder))
    with running(settings) as made:
        assert served(made).res.printer.knows("shop")
    with pytest.raises(SettingsError, match="TICKET_TEMPLATES must be a folder that is there"):
        settings_in(tmp_path, database, redis_url, TICKET_TEMPLATES=str(folder / "shop.txt.j2"))


def test_the_paper_is_the_agents_unless_another_is_asked_for(
    people: People, seller: Caller, receipt: dict[str, Any]
) -> None:
    number = receipt["number"]
    assert seller("GET /v1/me").json["ticket_paper"] == 58
    narrow, wide = printed(seller, number, paper=58), printed(seller, number, paper=80)
    assert printed(seller, number) == narrow != wide
    assert image_of(printed(seller, number, "png")).width == 384
    answer = people.coordinator(f"PATCH /v1/users/{seller.id}", {"ticket_paper": 80})
    assert (answer.status_code, answer.json["ticket_paper"]) == (200, 80)
    assert printed(seller, number) == wide
    assert printed(seller, number, paper=58) == narrow
    assert image_of(printed(seller, number, "png")).width == 576


def test_a_template_is_given_from_above(
    people: People, seller: Caller, receipt: dict[str, Any], folder: Path, res: Resources
) -> None:
    number = receipt["number"]
    (folder / "shop.txt.j2").write_text(TEMPLATE)
    assert people.coordinator(f"GET /v1/users/{seller.id}").json["ticket_template"] == "default"
    assert "own" not in text_of(seller, number)
    answer = people.coordinator(f"PATCH /v1/users/{seller.id}", {"ticket_template": "shop"})
    assert (answer.status_code, answer.json["ticket_template"]) == (200, "shop")
    assert text_of(seller, number).startswith("agents own\n")
    with res.sessions() as session:
        row = session.scalars(select(AuditRow).where(AuditRow.action == "user.change")).one()
    assert (row.before, row.after) == ({"ticket_template": "default"}, {"ticket_template": "shop"})
    (folder / "shop.txt.j2").write_text("Changed for " + TEMPLATE)
    assert text_of(seller, number).startswith("Changed for agents own\n")
    (folder / "shop.txt.j2").unlink()
    with capture_logs() as lines:
        assert "TOTAL" in text_of(seller, number)
    assert [(line["event"], line["template"]) for line in lines] == [("ticket_template_failed", "shop")]


def test_a_new_agent_may_come_with_paper_and_template(people: People, folder: Path) -> None:
    (folder / "shop.txt.j2").write_text(TEMPLATE)
    body = {"username": "new.one", "password": PASSWORD, "role": "agent"}
    answer = people.coordinator("POST /v1/users", body | {"ticket_template": "shop", "ticket_paper": 80})
    assert answer.status_code == 201
    assert (answer.json["ticket_template"], answer.json["ticket_paper"]) == ("shop", 80)
    plain = people.coordinator("POST /v1/users", body | {"username": "new.two"}).json
    assert (plain["ticket_template"], plain["ticket_paper"]) == ("default", 58)


BAD: list[tuple[str, Any]] = [
    ("ticket_template", "unknown"),
    ("ticket_template", "../default"),
    ("ticket_template", "shipped/default"),
    ("ticket_template", "Default"),
    ("ticket_template", "default.txt"),
    ("ticket_template", "x" * 33),
    ("ticket_template", ""),
    ("ticket_template", None),
    ("ticket_template", 7),
    ("ticket_paper", 57),
    ("ticket_paper", "58"),
    ("ticket_paper", 58.0),
    ("ticket_paper", None),
]


def test_an_unknown_template_or_paper_is_refused_with_its_path(people: People) -> None:
    body = {"username": "new.one", "password": PASSWORD, "role": "agent"}
    for path, value in BAD:
        for call, sent in ((f"PATCH /v1/users/{people.agent.id}", {}), ("POST /v1/users", body)):
            answer = people.coordinator(call, sent | {path: value})
            assert (answer.status_code, answer.json["code"]) == (422, "invalid"), (call, value)
            assert [error["path"] for error in answer.json["errors"]] == [path], (call, value)
    assert people.agent("GET /v1/me").json["ticket_template"] == "default"


def test_nobody_gives_himself_a_template_or_paper(people: People) -> None:
    for change in ({"ticket_template": "outlet"}, {"ticket_paper": 80}):
        for caller in (people.coordinator, people.superadmin):
            assert caller(f"PATCH /v1/users/{caller.id}", change).json["code"] == "forbidden"
        assert people.agent(f"PATCH /v1/users/{people.agent.id}", change).json["code"] == "forbidden"
        assert people.other_admin(f"PATCH /v1/users/{people.agent.id}", change).json["code"] == "not_found"


def test_an_outlets_name_is_text_in_every_form(people: People, seller: Caller, receipt: dict[str, Any]) -> None:
    name = '<b>Ñ & "Sons"</b> <qr> {{ code }} =1+1\n\tII'
    change = {"full_name": name, "ticket_template": "outlet"}
    assert people.coordinator(f"PATCH /v1/users/{seller.id}", change).status_code == 200
    shown = '<b>Ñ & "Sons"</b> <qr> {{ code }} =1+1 II'
    for paper in PAPERS:
        page = seen(seller, receipt["number"], "html", paper)
        assert "&lt;b&gt;Ñ &amp; &#34;Sons&#34;&lt;/b&gt; &lt;qr&gt;" in page
        for form in ("txt", "escpos"):
            assert shown.replace(" ", "") in "".join(seen(seller, receipt["number"], form, paper).split())


def test_the_page_may_run_and_load_nothing_from_elsewhere(seller: Caller, receipt: dict[str, Any]) -> None:
    answer = seller(f"GET /v1/tickets/{receipt['number']}/print?format=html")
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "<script" not in answer.text
