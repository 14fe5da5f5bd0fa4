"""What every endpoint has in common: refusals in order, problem documents, sizes, request ids."""

from __future__ import annotations

import io
import json
import re
import time
from contextlib import ExitStack
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import exc as sql_errors
from sqlalchemy.exc import OperationalError
from werkzeug.test import TestResponse

from actions import users
from actions.resources import Resources
from api.bodies import BATCH_BYTES_MAX, BODY_BYTES_MAX
from api.errors import TABLE, markdown
from runtime.resp import ask
from tests.api.conftest import Caller, People, sale

REBUILD_WAIT_S = 30
DRAW = "3D-20260105-1400"
ID = "0190f7a2-7e1c-7abc-8def-0123456789ab"

LOGOUT, REFRESH = "POST /v1/auth/logout", "POST /v1/auth/refresh"

ADMINS = {"superadmin", "admin"}
COORDINATORS = ADMINS | {"coordinator"}
EVERYBODY = COORDINATORS | {"agent", "operator"}

# Every call that needs a login, and the roles that may make it.
CALLS: dict[str, set[str]] = {
    "GET /v1/me": EVERYBODY,
    REFRESH: EVERYBODY,
    LOGOUT: EVERYBODY,
    "POST /v1/auth/step-up": EVERYBODY,
    "POST /v1/me/password": EVERYBODY,
    "POST /v1/me/totp": EVERYBODY,
    "POST /v1/me/totp/confirm": EVERYBODY,
    "DELETE /v1/me/totp": EVERYBODY,
    "GET /v1/users/1/sessions": EVERYBODY,
    f"DELETE /v1/users/1/sessions/{ID}": EVERYBODY,
    "POST /v1/users": COORDINATORS,
    "GET /v1/users": COORDINATORS | {"operator"},
    "GET /v1/users/1": COORDINATORS | {"operator"},
    "PATCH /v1/users/1": COORDINATORS,
    "POST /v1/users/1/suspend": COORDINATORS,
    "POST /v1/users/1/reactivate": COORDINATORS,
    "POST /v1/users/1/password": COORDINATORS,
    "POST /v1/users/1/credit": COORDINATORS,
    "POST /v1/users/1/debit": COORDINATORS,
    "GET /v1/users/1/ledger": EVERYBODY,
    "GET /v1/users/1/summary": EVERYBODY,
    "GET /v1/draws": EVERYBODY,
    f"GET /v1/draws/{DRAW}": EVERYBODY,
    "POST /v1/draws": ADMINS,
    f"PATCH /v1/draws/{DRAW}": ADMINS,
    f"POST /v1/draws/{DRAW}/close": ADMINS,
    f"POST /v1/draws/{DRAW}/void": ADMINS,
    f"POST /v1/draws/{DRAW}/void/confirm": ADMINS,
    f"POST /v1/draws/{DRAW}/result": ADMINS,
    f"POST /v1/draws/{DRAW}/result/confirm": ADMINS,
    f"POST /v1/draws/{DRAW}/correction": ADMINS,
    f"POST /v1/draws/{DRAW}/correction/confirm": ADMINS,
    f"GET /v1/draws/{DRAW}/paid-in-error": {"superadmin"},
    f"PUT /v1/draws/{DRAW}/limits": ADMINS,
    f"GET /v1/draws/{DRAW}/sales": COORDINATORS | {"operator"},
    f"GET /v1/draws/{DRAW}/exposure": COORDINATORS | {"operator"},
    "GET /v1/sales": COORDINATORS | {"operator"},
    "GET /v1/games/3D": ADMINS | {"operator"},
    "PUT /v1/games/3D": ADMINS,
    f"GET /v1/draws/{DRAW}/settlement": ADMINS | {"operator"},
    f"POST /v1/draws/{DRAW}/settle": ADMINS,
    f"POST /v1/draws/{DRAW}/seal": {"superadmin"},
    f"POST /v1/draws/{DRAW}/seal/confirm": {"superadmin"},
    "GET /v1/audit": ADMINS | {"operator"},
    "POST /v1/tickets": {"agent"},
    "POST /v1/tickets/batch": {"agent"},
    f"GET /v1/tickets/by-id/{ID}?draw_id={DRAW}": {"agent"},
    f"POST /v1/tickets/by-id/{ID}/cancel": {"agent"},
    "GET /v1/tickets/303EMB8-0000H-B": EVERYBODY,
    "GET /v1/tickets": EVERYBODY,
    "POST /v1/tickets/303EMB8-0000H-B/void": {"agent"},
    "POST /v1/tickets/303EMB8-0000H-B/claim": COORDINATORS | {"agent"},
    "POST /v1/tickets/303EMB8-0000H-B/hold": ADMINS,
    "POST /v1/tickets/303EMB8-0000H-B/release": ADMINS,
    "POST /v1/tickets/303EMB8-0000H-B/reprint": {"agent"},
    "GET /v1/tickets/303EMB8-0000H-B/print?format=txt": {"agent"},
    "GET /v1/claims": COORDINATORS | {"operator"},
    "GET /v1/claims/1": EVERYBODY,
    "POST /v1/claims/1/approve": COORDINATORS,
    "POST /v1/claims/1/reject": COORDINATORS,
    "POST /v1/reports": EVERYBODY,
    "GET /v1/reports": EVERYBODY,
    f"GET /v1/reports/{ID}": EVERYBODY,
    f"GET /v1/reports/{ID}/download": EVERYBODY,
    "GET /v1/dead-letters": ADMINS | {"operator"},
    "GET /v1/dead-letters/1": ADMINS | {"operator"},
    "POST /v1/dead-letters/1/replay": ADMINS,
    "POST /v1/dead-letters/1/discard": ADMINS,
    "POST /v1/dead-letters/1/annul": ADMINS,
    "GET /v1/notifications": EVERYBODY,
    "POST /v1/notifications": ADMINS,
    "POST /v1/notifications/read": EVERYBODY,
    "POST /v1/notifications/1/read": EVERYBODY,
}
FOR_ANYONE = [
    "GET /health/live",
    "GET /metrics",
    "GET /v1/openapi.json",
    "GET /v1/docs/errors",
    f"GET /v1/draws/{DRAW}/seal",
    "GET /v1/verify/303EMB8-0000H-B?code=0",
    "POST /v1/auth/login",
]
# A logout would end what the next call needs; a refresh wants another token than these callers have.
TAKES_A_BODY = [call for call in CALLS if re.match("POST|PATCH|PUT", call) and call not in (LOGOUT, REFRESH)]


def is_problem(answer: TestResponse) -> bool:
    """Whether the answer is a complete problem document that fits its status."""
    body = json.loads(answer.data)
    assert answer.content_type == "application/problem+json"
    assert body.keys() >= {"type", "title", "status", "detail", "code", "errors"}
    assert body["type"] == f"/v1/docs/errors#{body['code']}"
    assert body["status"] == answer.status_code == TABLE[body["code"]].status
    return True


def test_every_route_stands_in_these_tables(nobody: Caller) -> None:
    paths = nobody("GET /v1/openapi.json").json["paths"]
    documented = {
        f"{method.upper()} {path}" for path, item in paths.items() for method in item if method != "parameters"
    }
    shaped = {
        re.sub(
            r"/by-id/{[^}]+}",
            "/by-id/{}",
            re.sub(
                r"{(?:draw_id|ticket_id|number|user_id|claim_id|letter_id|notification_id|report_id|sid|game)}",
                "{}",
                call,
            ),
        )
        for call in documented
    }
    asked = {
        re.sub(
            rf"{DRAW}|{ID}|303EMB8-0000H-B|(?<=users/)1|(?<=claims/)1|(?<=letters/)1|(?<=notifications/)1|(?<=games/)3D",
            "{}",
            call.partition("?")[0],
        )
        for call in [*CALLS, *FOR_ANYONE, "GET /health/ready"]
    }
    assert asked == shaped


def test_without_a_login_there_is_nothing_but_401(nobody: Caller) -> None:
    for call in CALLS:
        answer = nobody(call, data=b"x" * (BODY_BYTES_MAX * 2))
        assert (answer.status_code, answer.json["code"]) == (401, "bad_token"), call
        assert is_problem(answer)
    for call in FOR_ANYONE:
        assert nobody(call).json is None or nobody(call).json.get("code") != "bad_token", call


def test_a_role_that_may_not_is_told_so_before_anything_is_read(people: People) -> None:
    for call, allowed in CALLS.items():
        for role in EVERYBODY:
            answer = people.of_role(role)(call, data=b"x" * (BATCH_BYTES_MAX + 1))
            forbidden = answer.status_code == 403 and answer.json["code"] == "forbidden"
            assert forbidden == (role not in allowed), (role, call, answer.text)
            assert answer.status_code < 500


BODIES: list[bytes] = [
    b"",
    b"null",
    b"{",
    b"[]",
    b"7",
    b'"text"',
    b"true",
    b"\xff\xfe",
    b"\xef\xbb\xbf{}",
    b'{"a":"\\ud800"}',
    b'{"reason":"\\u0000","username":"\\u0000","password":"\\u0000"}',
    b'{"amount":NaN}',
    b'{"a":1e999}',
    b'{"tickets":[{"id":"\\ud800"}]}',
    b"[" * 60_000,
    b'{"a":' * 10_000,
    b'{"lines":' + b"9" * 10_000 + b"}",
    b'{"draw_id":"3D-20260105-1400\\u0000"}',
    b'{"reason":{"a":[1]}}',
    b'{"":{"":[]}}',
    json.dumps({"a": "b"}).encode("utf-16"),
]


def test_no_body_however_bad_is_answered_with_500(people: People) -> None:
    for call in [*TAKES_A_BODY, "POST /v1/auth/login"]:
        role = next((role for role in ("agent", "superadmin") if role in CALLS.get(call, {role})), "agent")
        for raw in BODIES:
            answer = people.of_role(role)(call, data=raw, headers={"Content-Type": "application/json"})
            assert answer.status_code < 500, (call, raw[:40], answer.text)
            assert answer.status_code == 200 or is_problem(answer)
            if raw:
                batch = call.endswith("batch") and raw.startswith(b'{"tickets"')
                assert answer.status_code in (422, 200 if batch else 422), (call, raw[:40], answer.text)


def test_a_body_without_the_type_of_json_is_refused(people: People) -> None:
    for call in TAKES_A_BODY:
        role = "agent" if "agent" in CALLS[call] else "superadmin"
        for kind in ("text/plain", "application/x-www-form-urlencoded", "application/jsonx", ""):
            answer = people.of_role(role)(call, data=b"{}", headers={"Content-Type": kind})
            assert (answer.status_code, answer.json["code"]) == (415, "unsupported_media_type"), call


@pytest.mark.parametrize("call", ["POST /v1/tickets", "POST /v1/tickets/batch", "POST /v1/tickets/X/void"])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_beyond_its_size_is_too_large(people: People, call: str, chunked: bool) -> None:
    most = BATCH_BYTES_MAX if call.endswith("batch") else BODY_BYTES_MAX
    for size, status in ((most, 422), (most + 1, 413)):
        raw = b" " * size
        body: dict[str, Any] = {"data": raw}
        if chunked:
            body = {"input_stream": io.BytesIO(raw), "environ_overrides": {"wsgi.input_terminated": True}}
        answer = people.agent(call, headers={"Content-Type": "application/json"}, **body)
        assert answer.status_code == status, (size, answer.text)
        assert is_problem(answer)


def test_a_sane_request_id_comes_back_and_another_is_replaced(nobody: Caller) -> None:
    for call in ("GET /health/live", "GET /nowhere", "GET /v1/me", "POST /v1/auth/login"):
        assert nobody(call, headers={"X-Request-ID": "abc-1.2_Z"}).headers["X-Request-ID"] == "abc-1.2_Z"
        for insane in ("", "with space", "x" * 65, "é", "a/b"):
            found = nobody(call, headers={"X-Request-ID": insane}).headers["X-Request-ID"]
            assert re.fullmatch(r"[0-9a-f]{24}", found), call


def test_what_the_framework_refuses_is_a_problem_document_too(nobody: Caller) -> None:
    assert nobody("GET /nowhere").json["code"] == "not_found"
    assert nobody("GET /v1/users/x").json["code"] == "not_found"
    wrong_method = nobody("DELETE /v1/me")
    assert (wrong_method.status_code, wrong_method.json["code"]) == (405, "method_not_allowed")
    assert "GET" in wrong_method.headers["Allow"]
    for call in ("GET /nowhere", "DELETE /v1/me", "PUT /v1/tickets", "GET /v1/auth/login"):
        assert is_problem(nobody(call))


# One in a circle, Arabic and fullwidth digits are digits too, for Python.
NO_NUMBERS = ["1_0", "%2B1", "-1", "%201", "1%20", "1.0", "1e1", "%D9%A1", "%EF%BC%91", "%E2%91%A0", "0x1", "", "1%0A"]


def test_a_number_in_a_query_or_a_path_is_of_ascii_digits_only(people: People) -> None:
    for text in [*NO_NUMBERS, "9" * 5_000]:
        for name in ("limit", "agent_id", "stake"):
            answer = people.superadmin(f"GET /v1/tickets?{name}={text}")
            assert (answer.status_code, answer.json["errors"][0]["path"]) == (422, name), text
        for call in (f"GET /v1/users/{text}", f"POST /v1/users/{text}/credit"):
            if call != "GET /v1/users/":
                answer = people.superadmin(call)
                assert (answer.status_code, answer.json["code"]) == (404, "not_found"), call
    assert people.superadmin(f"GET /v1/users/0{people.agent.id}").json["id"] == people.agent.id
    assert len(people.superadmin("GET /v1/users?limit=02").json["items"]) == 2


def test_a_path_with_doubled_slashes_is_not_found_and_redirects_nowhere(nobody: Caller) -> None:
    for path in ("//v1/me", "/v1//me", "//evil.example/v1/me", "/v1/draws//seal", "/v1/me/", "/v1/docs//"):
        # As a server hands it on; the client's own parser takes the first of two slashes for a host.
        answer = nobody("GET /", base_url="http://evil.example", environ_overrides={"PATH_INFO": path})
        assert answer.status_code == 404, path
        assert "Location" not in answer.headers
        assert is_problem(answer)


def test_no_redirect_names_the_host_that_the_request_names(app: Flask, nobody: Caller) -> None:
    for rule in app.url_map.iter_rules():
        if "GET" in (rule.methods or ()):
            path = re.sub(r"<[^>]+>", "1", rule.rule).rstrip("/")
            answer = nobody(f"GET {path}", base_url="http://evil.example")
            assert answer.headers.get("Location", "/").startswith("/"), path
            assert answer.status_code != 308 or not answer.data, path


def test_nobody_waits_long_for_a_database_that_has_no_connection_left(people: People, res: Resources) -> None:
    pool = res.sessions.kw["bind"].pool
    assert pool.size() < res.settings.api_threads // 2
    with ExitStack() as held:
        for _ in range(pool.size()):
            try:
                held.enter_context(res.sessions()).connection()
            except sql_errors.TimeoutError:  # the background threads hold one now and then
                break
        answer = people.agent("GET /v1/me")
    assert (answer.status_code, answer.json["code"]) == (503, "database_unavailable")
    assert answer.headers["Retry-After"] == "1"
    assert people.agent("GET /v1/me").status_code == 200


def test_a_database_that_is_away_is_503_with_retry_after(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any) -> None:
        raise OperationalError("SELECT 1", {}, Exception("connection refused"))

    monkeypatch.setattr(users, "me", away)
    answer = people.agent("GET /v1/me")
    assert (answer.status_code, answer.json["code"]) == (503, "database_unavailable")
    assert int(answer.headers["Retry-After"]) >= 1
    assert "refused" not in answer.text


def test_a_mistake_of_ours_tells_nothing_but_the_request_id(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(users, "me", lambda *_: 1 / 0)
    answer = people.agent("GET /v1/me", headers={"X-Request-ID": "find-me"})
    assert (answer.status_code, answer.json["code"]) == (500, "internal_error")
    assert answer.headers["X-Request-ID"] == "find-me"
    assert "ZeroDivision" not in answer.text
    assert is_problem(answer)


def test_without_the_gate_a_sale_is_answered_at_once_and_the_gate_comes_back(
    seller: Caller, draw_id: str, without_gate: Any
) -> None:
    body = sale(draw_id, ("straight", "046", 100))
    with without_gate():
        answer = seller("POST /v1/tickets", body)
        assert (answer.status_code, answer.json["code"]) == (503, "intake_unavailable")
        assert answer.headers["Retry-After"] == "1"
        assert answer.json["retry_after"] == 1
    assert seller("POST /v1/tickets", body).status_code == 201


def test_a_redis_that_lost_everything_is_rebuilt_and_sells_again(seller: Caller, draw_id: str, redis_url: str) -> None:
    first = seller("POST /v1/tickets", sale(draw_id, ("straight", "046", 100)))
    assert ask(redis_url, "FLUSHALL", "SYNC") == "+OK"
    body = sale(draw_id, ("straight", "046", 100))
    codes = []
    deadline = time.monotonic() + REBUILD_WAIT_S
    while (answer := seller("POST /v1/tickets", body)).status_code == 503 and time.monotonic() < deadline:
        codes.append(answer.json["code"])
        time.sleep(0.05)
    assert set(codes) == {"intake_unavailable"}
    assert answer.status_code == 201, answer.text
    # The lost ticket was answered for: its serial is never issued again.
    assert answer.json["serial"] > first.json["serial"] + 1
    assert seller("POST /v1/tickets", body).json == answer.json


def test_the_table_of_codes_in_the_docs_is_the_one_in_the_code(nobody: Caller, pytestconfig: pytest.Config) -> None:
    assert (pytestconfig.rootpath / "docs" / "errors.md").read_text() == markdown()
    page = nobody("GET /v1/docs/errors")
    assert page.content_type.startswith("text/html")
    for code in TABLE:
        assert f'id="{code}"' in page.text
