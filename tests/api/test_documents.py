"""The OpenAPI document and the probes."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from actions.resources import Resources
from api.errors import TABLE
from api.served import served
from models.session import make_sessions
from runtime.process import free_port
from runtime.settings import Settings
from tests.api.conftest import PASSWORD, Caller, People, running, sale, set_up

# Answered outside of the document: the page that shows it, and its files.
UNDOCUMENTED = {"swagger_ui.show"}
CHECKS = (
    not_a_server_error,
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)


def test_every_route_is_in_the_document_and_says_what_it_does(app: Flask, nobody: Caller) -> None:
    document = nobody("GET /v1/openapi.json").json
    for rule in app.url_map.iter_rules():
        if rule.endpoint in UNDOCUMENTED:
            continue
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            described = document["paths"][path][method.lower()]
            assert described["summary"]
            assert any(status.startswith("2") for status in described["responses"]), path


def test_the_document_is_valid_openapi(nobody: Caller) -> None:
    document = nobody("GET /v1/openapi.json").json
    assert document["openapi"].startswith("3.0")
    schemathesis.openapi.from_dict(document).validate()
    _check_references(document, document)


def _check_references(node: Any, document: dict[str, Any]) -> None:
    if isinstance(node, dict):
        if "$ref" in node:
            found: Any = document
            for part in node["$ref"].removeprefix("#/").split("/"):
                found = found[part]
        for inner in node.values():
            _check_references(inner, document)
    elif isinstance(node, list):
        for inner in node:
            _check_references(inner, document)


def test_documented_codes_are_those_of_the_table(nobody: Caller) -> None:
    document = nobody("GET /v1/openapi.json").json
    for path, item in document["paths"].items():
        for operation in item.values():
            if not isinstance(operation, dict):
                continue
            for status, response in operation["responses"].items():
                for code in re.findall(r"^`(\w+)`:", response["description"], re.MULTILINE):
                    assert TABLE[code].status == int(status), path


def test_the_page_works_without_the_internet(nobody: Caller) -> None:
    assert nobody("GET /v1/docs").headers["Location"].endswith("/v1/docs/")
    page = nobody("GET /v1/docs/").text
    sources = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert sources
    for source in sources:
        assert source.startswith("/v1/docs/")
        assert nobody(f"GET {source}").status_code == 200
    assert "/v1/openapi.json" in page


@pytest.mark.slow
def test_answers_are_as_documented_whatever_is_asked(seller: Caller, people: People, draw_id: str) -> None:
    seller("POST /v1/tickets", sale(draw_id, ("straight", "046", 1_000)))
    for caller in (people.superadmin, seller):
        _ask_everything(caller)


def _ask_everything(caller: Caller) -> None:
    schema = schemathesis.openapi.from_wsgi("/v1/openapi.json", caller.app)
    for found in schema.get_all_operations():
        operation = found.ok()
        # Closing or voiding the draw would leave nothing to ask the others about.
        if not operation.path.endswith(("/close", "/confirm")):
            _ask(operation, caller)


def _ask(operation: Any, caller: Caller) -> None:
    @settings(max_examples=10, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy())
    def ask(case: schemathesis.Case) -> None:
        response = case.call(headers={"Authorization": f"Bearer {caller.token}"})
        case.validate_response(response, checks=CHECKS)

    ask()


def test_a_process_that_can_sell_is_ready(nobody: Caller, seller: Caller, draw_id: str) -> None:
    assert nobody("GET /health/live").json == {"status": "live"}
    for _ in range(3):
        seller("POST /v1/tickets", sale(draw_id, ("straight", "046", 100)))
    answer = nobody("GET /health/ready")
    assert answer.status_code == 200
    assert {found["name"]: found["ok"] for found in answer.json["dependencies"]} == {
        "gate": True,
        "database": True,
        "broker": True,
        "journal": True,
    }
    assert answer.json["status"] == "ready"
    assert answer.json["journal_lag"] == 3
    assert 0 < answer.json["gate_memory_share"] < 1
    assert answer.json["uptime_seconds"] > 0


def test_a_process_that_is_about_to_end_is_not_ready_and_sends_everybody_to_another_connection(
    app: Flask, nobody: Caller, seller: Caller, draw_id: str
) -> None:
    assert "Connection" not in nobody("GET /health/ready").headers
    served(app).leaving.set()
    answer = nobody("GET /health/ready")
    assert (answer.status_code, answer.json["status"]) == (503, "unavailable")
    assert answer.headers["Connection"] == "close"
    sold = seller("POST /v1/tickets", sale(draw_id, ("straight", "046", 100)))
    assert (sold.status_code, sold.headers["Connection"]) == (201, "close")


def test_a_process_without_its_gate_is_not_ready(nobody: Caller, without_gate: Any) -> None:
    with without_gate():
        answer = nobody("GET /health/ready")
    assert (answer.status_code, answer.json["status"]) == (503, "unavailable")


def test_a_process_without_its_database_still_sells(
    nobody: Caller, seller: Caller, draw_id: str, res: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        res.__dict__, "sessions", make_sessions("postgresql+psycopg://nobody@127.0.0.1:1/none", pool_size=1)
    )
    answer = nobody("GET /health/ready")
    assert (answer.status_code, answer.json["status"]) == (200, "degraded")
    assert seller("POST /v1/tickets", sale(draw_id, ("straight", "046", 100))).status_code == 201
    assert seller("GET /v1/me").json["code"] == "database_unavailable"


def test_a_process_whose_redis_refuses_says_so_and_goes_on_living(settings: Settings) -> None:
    set_up(settings)
    gone = f"redis://127.0.0.1:{free_port()}/0"
    with running(dataclasses.replace(settings, redis_url=gone, broker_url=gone)) as app:
        nobody = Caller(app)
        answer = nobody("GET /health/ready")
        assert (answer.status_code, answer.json["status"]) == (503, "unavailable")
        assert {found["name"]: found["ok"] for found in answer.json["dependencies"]} == {
            "gate": False,
            "database": True,
            "broker": False,
        }
        login = nobody("POST /v1/auth/login", {"username": "superadmin", "password": PASSWORD})
        caller = Caller(app, login.json["access_token"])
        agent = {"username": "agent", "password": PASSWORD, "role": "agent", "credit_limit": 1_000}
        assert caller("POST /v1/users", agent).status_code == 201
        login = nobody("POST /v1/auth/login", {"username": "agent", "password": PASSWORD})
        seller = Caller(app, login.json["access_token"])
        sold = seller("POST /v1/tickets", sale("3D-20260105-1400", ("straight", "046", 100)))
        assert (sold.status_code, sold.json["code"]) == (503, "intake_unavailable")
        assert sold.headers["Retry-After"] == "1"
