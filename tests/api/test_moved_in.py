"""Who moved in from an older system works here as everybody does: logs in, sells, and pays the old winners."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from actions.books import check
from actions.credit import push_outbox
from actions.move_in import move_in
from actions.moving_files import read_files
from actions.resources import Resources
from models.ledger import balances
from models.people import user_by_name
from tests.api.conftest import Caller, sale
from tests.integration.moving import HASH, PASSWORD, balances_csv, users_csv, winners_csv

PAYEE = {"name": "Maria Santos", "phone": "+63 917 000 0000", "id_no": "N01-23-456789"}


@pytest.fixture
def moved_in(res: Resources, tmp_path: Path) -> None:
    """Two administrators' houses, and three unpaid winners of the first."""
    contents = {
        "users": users_csv(
            {"username": "boss", "role": "admin"},
            {"username": "rival", "role": "admin"},
            {"username": "area", "role": "coordinator", "parent": "boss"},
            {"username": "ana", "parent": "area", "password_hash": HASH.replace("$2b$", "$2y$")},
            {"username": "bea", "parent": "boss", "credit_limit": "100.00"},
            {"username": "far", "parent": "rival"},
        ),
        "balances": balances_csv(ana="1000.00", bea="-40.00", area="250.00"),
        "winners": winners_csv(
            {"number": "tkt-0001", "agent": "ana", "code": "oil-1234"},
            {"number": "TKT-0002", "agent": "ana", "code": "HIGH-5678", "prize": "20000.00"},
            {"number": "TKT-0003", "agent": "bea", "prize": "750.00"},
        ),
    }
    for name, content in contents.items():
        (tmp_path / f"{name}.csv").write_text(content)
    outcome = move_in(res, read_files(*(tmp_path / f"{name}.csv" for name in contents)), commit=True)
    assert (outcome.findings, outcome.committed) == ([], True)
    assert push_outbox(res) >= 0  # the application's own thread or we: twice does no harm
    with res.sessions() as session:
        assert check(session) == []


@pytest.mark.usefixtures("moved_in")
def test_people_log_in_with_their_old_passwords_and_get_a_new_hash(
    res: Resources, nobody: Caller, login: Callable[..., Caller]
) -> None:
    for name in ("ana", "BOSS"):
        wrong = nobody("POST /v1/auth/login", {"username": name, "password": PASSWORD + "!"})
        assert (wrong.status_code, wrong.json["code"]) == (401, "bad_credentials")
        assert login(name, PASSWORD)("GET /v1/me").json["username"] == name.lower()
        with res.sessions() as session:
            user = user_by_name(session, name)
        assert user is not None
        assert user.password_hash.startswith("$argon2id$")
        assert login(name, PASSWORD).id == user.id


@pytest.mark.usefixtures("moved_in")
def test_agents_have_what_they_brought_and_sell_on_it(login: Callable[..., Caller], draw_id: str) -> None:
    ana, bea = login("ana", PASSWORD), login("bea", PASSWORD)
    assert ana("GET /v1/me").json["wallet"] == {"balance": 100_000, "credit_limit": 0, "available": 100_000}
    assert bea("GET /v1/me").json["wallet"] == {"balance": -4_000, "credit_limit": 10_000, "available": 6_000}
    sold = bea("POST /v1/tickets", sale(draw_id, ("straight", "046", 6_000)))
    assert (sold.status_code, sold.json["available"]) == (201, 0)
    refused = bea("POST /v1/tickets", sale(draw_id, ("straight", "047", 100)))
    assert (refused.status_code, refused.json["code"]) == (409, "insufficient_credit")


@pytest.mark.usefixtures("moved_in")
def test_an_old_winner_is_paid_once_at_any_counter_of_its_house(res: Resources, login: Callable[..., Caller]) -> None:
    bea, far = login("bea", PASSWORD), login("far", PASSWORD)
    claim, right = "POST /v1/tickets/TKT-0001/claim", {"code": "0IL1234"}
    assert far(claim, right).status_code == 404
    wrong = bea(claim, {"code": "0IL-1235"})
    assert (wrong.status_code, wrong.json["code"]) == (403, "wrong_code")
    paid = bea("POST /v1/tickets/tkt-0001/claim", right)
    assert (paid.status_code, paid.json["prize"], paid.json["tax"], paid.json["paid"]) == (200, 450_000, 0, 450_000)
    again = login("ana", PASSWORD)(claim, right)
    assert (again.status_code, again.json["code"]) == (409, "already_claimed")
    assert bea("GET /v1/me").json["wallet"]["balance"] == 446_000
    with res.sessions() as session:
        assert check(session) == []
        assert dict(balances(session))["prizes_owed"] == 2_075_000


@pytest.mark.usefixtures("moved_in")
def test_a_high_old_prize_waits_for_approval_and_bears_its_tax(res: Resources, login: Callable[..., Caller]) -> None:
    ana, area = login("ana", PASSWORD), login("area", PASSWORD)
    asked = ana("POST /v1/tickets/TKT-0002/claim", {"code": "high 5678", "payee": PAYEE})
    assert (asked.status_code, asked.json["status"]) == (202, "approval_needed")
    approved = area(f"POST /v1/claims/{asked.json['claim_id']}/approve")
    assert approved.status_code == 200, approved.text
    assert ana("GET /v1/me").json["wallet"]["balance"] == 1_700_000
    with res.sessions() as session:
        assert check(session) == []
        totals = dict(balances(session))
    assert (totals["prizes_owed"], totals["tax_withheld"]) == (525_000, 400_000)
