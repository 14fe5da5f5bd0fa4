"""What logs hold: a whole day with every secret in play leaves none of them, refusals leave their lines."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pyotp
import pytest
import structlog
from sqlalchemy import select, text

from actions import users
from actions.resources import Resources
from api.served import served
from models.audit import AuditRow
from runtime.logging import configure_logging
from runtime.secret_files import read_secret
from tasks.audit import chain
from tests.api.conftest import PASSWORD, Caller, People, sale

WRONG_PASSWORD = "a wrong guess at it"
TYPED_INTO_THE_WRONG_FIELD = "hunter2-in-the-name-field"
NEW_PASSWORD = "another good long one"
OF_THE_NEW_ONE = "given by the admin 17"


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Everything that this process logs from debug upwards, as a real one writes it."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    configure_logging("debug", stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


class Secrets:
    """Every secret that was seen, by what it is."""

    def __init__(self) -> None:
        self.found: dict[str, str] = {}

    def add(self, what: str, secret: str) -> str:
        assert len(secret) >= 6
        self.found[f"{what} {len(self.found)}"] = secret
        return secret

    def add_pair(self, pair: dict[str, Any]) -> dict[str, Any]:
        for name in ("access_token", "refresh_token"):
            if name in pair:
                # Its signature: the rest is readable by anyone and proves nothing.
                self.add(name, pair[name].rpartition(".")[2])
        return pair

    def in_text(self, text: str) -> list[str]:
        return [what for what, secret in self.found.items() if re.search(rf"(?<!\w){re.escape(secret)}(?!\w)", text)]


@pytest.fixture
def secrets(res: Resources) -> Secrets:
    found = Secrets()
    for name in (PASSWORD, WRONG_PASSWORD, TYPED_INTO_THE_WRONG_FIELD, NEW_PASSWORD, OF_THE_NEW_ONE):
        found.add("password", name)
    for line in read_secret(res.settings.keys_dir / "jwt.key").splitlines():
        found.add("key", line.rpartition(":")[2])
    found.add("key", read_secret(res.settings.keys_dir / "code.key"))
    return found


def logins(nobody: Caller, people: People, secrets: Secrets) -> None:
    call = "POST /v1/auth/login"
    for body in (
        {"username": "agent", "password": WRONG_PASSWORD},
        {"username": "nobody-here", "password": WRONG_PASSWORD},
        {"username": TYPED_INTO_THE_WRONG_FIELD, "password": PASSWORD},
        {"username": "agent", "password": PASSWORD, "otp": secrets.add("otp", "918273")},
    ):
        answer = nobody(call, body)
        assert answer.status_code in (200, 401)
    first = secrets.add_pair(nobody(call, {"username": "agent", "password": PASSWORD}).json)
    spend = Caller(nobody.app, first["refresh_token"])
    second = secrets.add_pair(spend("POST /v1/auth/refresh").json)
    agent = Caller(nobody.app, second["access_token"], second["user"])
    assert agent("POST /v1/auth/step-up", {"password": WRONG_PASSWORD}).status_code == 403
    secrets.add_pair(agent("POST /v1/auth/step-up", {"password": PASSWORD}).json)
    assert agent("POST /v1/me/password", {"current": WRONG_PASSWORD, "new": NEW_PASSWORD}).status_code == 403
    assert agent("POST /v1/me/password", {"current": PASSWORD, "new": "short"}).status_code == 422
    assert agent("POST /v1/me/password", {"current": PASSWORD, "new": NEW_PASSWORD}).status_code == 204
    secrets.add_pair(nobody(call, {"username": "agent", "password": NEW_PASSWORD}).json)
    assert agent("POST /v1/auth/logout").status_code == 204


def one_time_codes(people: People, secrets: Secrets) -> None:
    started = people.admin("POST /v1/me/totp").json
    secrets.add("totp secret", started["secret"])
    code = secrets.add("otp", pyotp.TOTP(started["secret"]).now())
    assert people.admin("POST /v1/me/totp/confirm", {"otp": code}).status_code == 204
    assert people.admin("POST /v1/auth/step-up", {"otp": code}).status_code == 403
    assert people.admin("DELETE /v1/me/totp", json={"password": PASSWORD}).status_code == 204


def new_people(people: People, secrets: Secrets) -> None:
    body = {"username": "newcomer", "password": OF_THE_NEW_ONE, "role": "agent"}
    made = people.admin("POST /v1/users", body)
    assert made.status_code == 201
    assert people.admin("POST /v1/users", body).status_code == 409
    given = people.admin(f"POST /v1/users/{made.json['id']}/password")
    assert given.status_code == 200
    secrets.add("one-time password", given.json["password"])


def tickets(seller: Caller, people: People, nobody: Caller, draw_id: str, secrets: Secrets) -> None:
    receipts = []
    for number in ("046", "123"):
        answer = seller("POST /v1/tickets", sale(draw_id, ("straight", number, 100)))
        assert answer.status_code == 201, answer.text
        receipts.append(answer.json)
        secrets.add("code", answer.json["code"])
    number, code = receipts[0]["number"], receipts[0]["code"]
    wrong = secrets.add("code", "ZZZZ" + code[4:])
    assert nobody(f"GET /v1/verify/{number}?code={code}").json["valid"]
    assert not nobody(f"GET /v1/verify/{number}", headers={"X-Ticket-Code": wrong}).json["valid"]
    for given in (code, wrong):
        assert seller(f"POST /v1/tickets/{number}/claim", {"code": given}).status_code in (403, 409)
    assert seller(f"POST /v1/tickets/{receipts[1]['number']}/void", {"reason": "typo"}).status_code == 200
    assert people.agent("POST /v1/tickets", {"id": "x", "code": code}).status_code == 422


def test_no_secret_is_in_the_logs_or_in_the_audit_log(
    log: io.StringIO,
    people: People,
    seller: Caller,
    draw_id: str,
    nobody: Caller,
    res: Resources,
    secrets: Secrets,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for caller in (people.superadmin, people.admin, people.agent):
        secrets.add("access_token", str(caller.token).rpartition(".")[2])
    tickets(seller, people, nobody, draw_id, secrets)
    one_time_codes(people, secrets)
    new_people(people, secrets)
    logins(nobody, people, secrets)
    _make_a_mistake(people.admin, res, monkeypatch)
    served(people.admin.app).refusals.flush()
    chain(res)
    with res.sessions() as session:
        written = [dict(row) for row in session.execute(select(AuditRow.__table__)).mappings()]
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    # What was looked through is what is meant to be there …
    events = {line.get("event") for line in lines}
    assert {"refused", "uncaught", "audit_head"} <= events
    assert {"login", "user.create"} <= {row["action"] for row in written}
    assert {"bad_credentials", "username_taken", "wrong_password", "wrong_code", "done"} <= {
        row["outcome"] for row in written
    }
    # … and nothing else: instants apart, whose digits may be anything.
    for line in [*lines, *written]:
        shown = json.dumps({name: value for name, value in line.items() if name != "at"}, default=str)
        assert secrets.in_text(shown) == [], shown


def _make_a_mistake(caller: Caller, res: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors of ours, in places that hold a password: one in Python, one in what a statement was given."""

    def in_python(*_: Any) -> None:
        password = PASSWORD
        raise RuntimeError(f"a mistake with {len(password)} characters")

    def in_sql(*_: Any) -> None:
        with res.sessions() as session:
            session.execute(text("SELECT nothing FROM nowhere WHERE it = :password"), {"password": PASSWORD})

    for mistake in (in_python, in_sql):
        with monkeypatch.context() as patch:
            patch.setattr(users, "me", mistake)
            assert caller("GET /v1/me").status_code == 500


def test_settings_do_not_show_their_secrets(res: Resources, secrets: Secrets) -> None:
    assert secrets.in_text(repr(res.settings)) == []
    assert res.settings.database_url not in repr(res.settings)


def lines_of(log: io.StringIO, event: str) -> list[dict[str, Any]]:
    return [line for line in map(json.loads, log.getvalue().splitlines()) if line["event"] == event]


def test_a_read_that_a_role_may_not_do_leaves_a_log_line(people: People, log: io.StringIO) -> None:
    assert people.agent("GET /v1/users").status_code == 403
    assert people.admin("GET /v1/users/999999").status_code == 404
    (line,) = lines_of(log, "refused")
    assert (line["actor_id"], line["action"], line["outcome"]) == (people.agent.id, "user.read", "forbidden")


def test_what_somebody_sends_makes_no_log_line_of_its_own(people: People, log: io.StringIO, res: Resources) -> None:
    forged = 'x\n{"event": "audit_head", "seq": 1}\r\x1b[2J\u2028'
    assert people.admin(f"POST /v1/draws/{quote(forged)}/close").status_code == 404
    people.admin("POST /v1/users", {"username": forged, "password": forged, "role": "agent"})
    people.admin(f"POST /v1/tickets/{quote(forged)}/hold", {"reason": forged})
    assert len(lines_of(log, "refused")) == 3
    assert lines_of(log, "audit_head") == []
    assert all(text.isprintable() for text in log.getvalue().split("\n"))
    chain(res)
    assert people.superadmin(f"GET /v1/audit?object={quote('draw:' + forged)}").status_code == 422
