"""What every answer carries, what may be compressed, which pages may ask, and whose word on addresses counts."""

from __future__ import annotations

import gzip
import re
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import replace
from hashlib import sha256
from typing import Any

import brotli
import pytest
from flask import Flask
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from actions.resources import Resources
from api import refusal_writer, refusals
from api.forwarded import behind_proxies
from api.refusal_writer import Refusal, RefusalWriter
from api.served import served
from models.audit import AuditRow
from runtime.origin import SYSTEM
from runtime.settings import Settings
from tests.api.conftest import PASSWORD, Caller, People, running, set_up

Refused = Callable[[], list[tuple[Any, ...]]]

OFFICE = "https://office.example.org"


@pytest.fixture
def fenced(settings: Settings) -> Iterator[Flask]:
    """An application behind a proxy, with one page that may call it."""
    set_up(settings)
    with running(replace(settings, cors_origins=(OFFICE,), trusted_proxies=("10.0.0.0/8", "::1"))) as app:
        yield app


# ── headers ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "call", ["GET /health/live", "GET /v1/me", "GET /nowhere", "POST /v1/auth/login", "PUT /v1/me"]
)
def test_no_answer_can_run_be_framed_or_be_taken_for_another_type(nobody: Caller, call: str) -> None:
    headers = nobody(call).headers
    assert headers["Content-Security-Policy"].startswith("default-src 'none'; frame-ancestors 'none'")
    assert "script-src" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-store"
    assert "Strict-Transport-Security" not in headers


def test_the_documentation_runs_its_own_scripts_and_nothing_else(nobody: Caller) -> None:
    page = nobody("GET /v1/docs/")
    policy = page.headers["Content-Security-Policy"]
    scripts = re.findall(r"<script>(.*?)</script>", page.text, re.DOTALL)
    assert scripts
    for script in scripts:
        assert f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'" in policy
    assert "'unsafe-inline'" not in re.search(r"script-src[^;]*", policy).group()  # type: ignore[union-attr]
    assert not re.search(r'(src|href)="(https?:)?//', page.text)
    for source in re.findall(r'(?:src|href)="([^"]+)"', page.text):
        assert nobody(f"GET {source}").status_code == 200, source
    assert "style-src 'self'" in nobody("GET /v1/docs/errors").headers["Content-Security-Policy"]


def test_browsers_are_held_to_https_where_the_proxy_says_that_they_use_it(fenced: Flask) -> None:
    caller, sent = Caller(fenced), {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https"}
    behind = caller("GET /health/live", headers=sent, environ_base={"REMOTE_ADDR": "10.0.0.1"})
    assert behind.headers["Strict-Transport-Security"].startswith("max-age=63072000")
    direct = caller("GET /health/live", headers=sent, environ_base={"REMOTE_ADDR": "203.0.113.9"})
    assert "Strict-Transport-Security" not in direct.headers


# ── pages of other origins ──────────────────────────────────────────────────────────────────────────────────────


def preflight(app: Flask, origin: str) -> Any:
    asks = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    asks["Access-Control-Request-Headers"] = "authorization,content-type,idempotency-key"
    return Caller(app)("OPTIONS /v1/users/1/credit", headers=asks).headers


def test_a_listed_page_may_call_and_read_what_it_needs(fenced: Flask) -> None:
    headers = preflight(fenced, OFFICE)
    assert headers["Access-Control-Allow-Origin"] == OFFICE
    assert {"authorization", "idempotency-key"} <= set(headers["Access-Control-Allow-Headers"].lower().split(", "))
    answer = Caller(fenced)("GET /v1/me", headers={"Origin": OFFICE})
    assert answer.headers["Access-Control-Allow-Origin"] == OFFICE
    assert "Retry-After" in answer.headers["Access-Control-Expose-Headers"]
    assert "Origin" in answer.headers["Vary"]
    assert "Access-Control-Allow-Credentials" not in answer.headers


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "null",
        OFFICE + ".evil.example",
        "http://office.example.org",
        "https://officeXexample.org",
    ],
)
def test_no_other_page_may(fenced: Flask, origin: str) -> None:
    assert "Access-Control-Allow-Origin" not in preflight(fenced, origin)
    assert "Access-Control-Allow-Origin" not in Caller(fenced)("GET /v1/me", headers={"Origin": origin}).headers


def test_by_default_no_page_may(nobody: Caller, app: Flask) -> None:
    assert "Access-Control-Allow-Origin" not in preflight(app, OFFICE)


# ── compression ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_long_json_is_compressed_for_whoever_takes_it(nobody: Caller) -> None:
    plain = nobody("GET /v1/openapi.json")
    assert "Content-Encoding" not in plain.headers
    for name, unpack in (("gzip", gzip.decompress), ("br", brotli.decompress)):
        packed = nobody("GET /v1/openapi.json", headers={"Accept-Encoding": name})
        assert packed.headers["Content-Encoding"] == name
        assert "Accept-Encoding" in packed.headers["Vary"]
        assert unpack(packed.data) == plain.data
        assert len(packed.data) < len(plain.data) / 3


def test_short_answers_logins_and_problems_are_never_compressed(people: People, nobody: Caller) -> None:
    takes = {"Accept-Encoding": "gzip, br"}
    body = {"username": "superadmin", "password": PASSWORD}
    for answer in (
        nobody("POST /v1/auth/login", body, headers=takes),
        people.agent("GET /v1/me", headers=takes),
        people.agent("POST /v1/tickets", {"x": "y" * 3_000}, headers=takes),
    ):
        assert "Content-Encoding" not in answer.headers


def test_a_compressed_answer_keeps_its_tag(people: People, draw_id: str) -> None:
    takes = {"Accept-Encoding": "gzip"}
    first = people.agent("GET /v1/draws", headers=takes)
    again = people.agent("GET /v1/draws", headers=takes | {"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


# ── addresses ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("203.0.113.9", "", "203.0.113.9"),
        ("203.0.113.9", "1.2.3.4", "203.0.113.9"),  # nobody's proxy: a client that lies
        ("10.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", "1.2.3.4, 198.51.100.7", "198.51.100.7"),  # the client wrote the first one
        ("10.0.0.1", "1.2.3.4, 198.51.100.7, 10.9.9.9", "198.51.100.7"),
        ("10.0.0.1", "10.1.1.1, 10.9.9.9", "10.1.1.1"),  # a client inside
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "unknown", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.7, <script>", "10.0.0.1"),
        ("::ffff:10.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("::1", "2001:db8::5", "2001:db8::5"),
        ("", "198.51.100.7", ""),
    ],
)
def test_only_trusted_proxies_say_where_a_request_comes_from(peer: str, forwarded: str, client: str) -> None:
    seen: dict[str, str] = {}

    def app(environ: dict[str, Any], _: Any) -> list[bytes]:
        seen["address"] = environ["REMOTE_ADDR"]
        return []

    wrapped = behind_proxies(app, ("10.0.0.0/8", "::1"))  # type: ignore[arg-type]
    wrapped({"REMOTE_ADDR": peer, "HTTP_X_FORWARDED_FOR": forwarded}, lambda *_: None)  # type: ignore[arg-type]
    assert seen["address"] == client


# ── refused attempts ────────────────────────────────────────────────────────────────────────────────────────────


def rows(res: Resources) -> list[AuditRow]:
    with res.sessions() as session:
        return list(session.query(AuditRow).order_by(AuditRow.id))


@pytest.fixture
def refused(app: Flask, res: Resources) -> Callable[[], list[tuple[Any, ...]]]:
    """The rows of refused attempts, once all of them are written."""

    def found() -> list[tuple[Any, ...]]:
        served(app).refusals.flush()
        return [(row.actor_id, row.action, row.object, row.outcome) for row in rows(res) if row.outcome != "done"]

    return found


def test_refused_attempts_leave_their_rows(people: People, res: Resources, refused: Refused) -> None:
    admin, agent = people.admin.id, people.agent.id
    other = people.other_admin.id
    asked = {"X-Request-ID": "find-me"}
    assert people.agent("POST /v1/users", {"username": "x"}, headers=asked).status_code == 403
    assert people.admin(f"POST /v1/users/{other}/credit", {"amount": 1}).status_code in (404, 422)
    assert people.admin("POST /v1/draws", {"game": "9D"}).status_code == 422
    assert people.admin("POST /v1/draws/3D-20260105-1400/close").status_code == 404
    found = refused()
    assert (agent, "user.create", "/v1/users", "forbidden") in found
    assert (admin, "draw.create", "/v1/draws", "invalid") in found
    assert (admin, "draw.close", "draw:3D-20260105-1400", "no_such_draw") in found
    assert [about for who, action, about, _ in found if action == "credit.load"] == [f"user:{other}"]
    first = next(row for row in rows(res) if row.outcome == "forbidden")
    assert (first.actor, first.role, first.request_id, first.address) == ("agent", "agent", "find-me", "127.0.0.1")


def test_what_no_column_can_hold_is_written_as_what_it_looks_like(people: People, refused: Refused) -> None:
    long = "9" * 300
    for part in ("%00%0A%1b", long):
        assert people.admin(f"POST /v1/draws/{part}/close").status_code == 404
    assert [about for _, _, about, _ in refused()] == ["draw:???", f"draw:{long}"[: refusals.OBJECT_CHARACTERS_MAX]]


def test_reads_sales_and_strangers_leave_none(people: People, nobody: Caller, draw_id: str, refused: Refused) -> None:
    before = refused()
    assert people.agent("GET /v1/users").status_code == 403
    assert people.agent("POST /v1/tickets", {}).status_code == 422
    assert people.admin("POST /v1/tickets", {}).status_code == 403
    assert nobody("POST /v1/users", {}).status_code == 401
    assert refused() == before


def test_a_refusal_is_answered_as_ever_when_its_row_cannot_be_written(
    people: People, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise OperationalError("INSERT", {}, Exception("gone"))

    with capture_logs() as lines, monkeypatch.context() as patched:
        patched.setattr(refusal_writer, "record", away)
        answer = people.agent("POST /v1/users", {})
        assert refused() == []
    assert (answer.status_code, answer.json["code"]) == (403, "forbidden")
    assert [line["event"] for line in lines] == ["refused", "refusal_not_written"]
    assert people.agent("POST /v1/users", {}).status_code == 403
    assert [action for _, action, _, _ in refused()] == ["user.create"], "what comes later is written"


def test_no_refusal_waits_for_a_database_that_hangs(
    people: People, res: Resources, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered, record = threading.Event(), refusal_writer.record

    def after_the_answer(*given: Any, **named: Any) -> None:
        assert answered.wait(30)
        record(*given, **named)

    monkeypatch.setattr(refusal_writer, "record", after_the_answer)
    before = res.clock.now()
    asked = [people.agent("POST /v1/users", {}, headers={"X-Request-ID": f"r-{n}"}).status_code for n in range(3)]
    after = res.clock.now()
    assert rows(res)[-1].outcome == "done"
    answered.set()
    assert (asked, len(refused())) == ([403] * 3, 3)
    written = rows(res)[-3:]
    assert [(row.actor, row.request_id) for row in written] == [("agent", f"r-{n}") for n in range(3)]
    assert all(before <= row.at <= after for row in written), "they name the instant of the refusal"


def test_more_refusals_than_may_wait_keep_their_log_lines_and_a_stop_writes_the_rest(
    people: People, res: Resources, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refusal_writer, "WAITING_MAX", 3)
    writer = RefusalWriter(res.sessions)
    with capture_logs() as lines:
        for number in range(5):
            writer.put(Refusal(SYSTEM, res.clock.now(), "draw.close", f"draw:{number}", "forbidden"))
    assert [line["event"] for line in lines] == ["refusal_not_written"] * 2
    writer.start()
    writer.stop()
    assert [about for _, _, about, _ in refused()] == ["draw:0", "draw:1", "draw:2"]
