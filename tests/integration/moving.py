"""Files of an older system, as tests write them."""

from __future__ import annotations

import csv
import io
from typing import Any

from sqlalchemy import func, select

from actions import moving_files
from models.audit import AuditRow
from models.claims import OldWinner
from models.ledger import Entry
from models.people import CommissionRate, User, Wallet, WalletOutbox, user_by_name
from tests.integration.conftest import Lottery

PASSWORD = "the old system's words"
# bcrypt of PASSWORD, at the lowest cost.
HASH = "$2b$04$zNKuxk60hXItxGBY8PhCHuvqdTiw14aChMVIwTOFSiVFP3c6Bzz8K"


def to_csv(columns: Any, rows: Any) -> str:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(columns), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def users_csv(*rows: dict[str, str]) -> str:
    """A users file; agents right below the superadmin unless a row says otherwise."""
    usual = {"role": "agent", "parent": "superadmin", "password_hash": HASH}
    return to_csv(moving_files.USERS, [usual | row for row in rows])


def balances_csv(**balances: str) -> str:
    return to_csv(moving_files.BALANCES, [{"username": name, "balance": balance} for name, balance in balances.items()])


def winners_csv(*rows: dict[str, str]) -> str:
    """A winners file; each prize is ₱4,500 and can be claimed for years unless a row says otherwise."""
    usual = {"code": "ABCD-1234", "prize": "4500.00", "claim_until": "2999-12-31"}
    return to_csv(moving_files.WINNERS, [usual | row for row in rows])


PEOPLE = users_csv(
    {"username": "Ana", "parent": "Area", "full_name": "Ana Peña", "credit_limit": "500.00", "commission_bp": "1000"},
    {"username": "bea", "parent": "area", "credit_limit": "1000.00"},
    {"username": "cora", "parent": "boss"},
    {"username": "area", "role": "coordinator", "parent": "boss", "commission_bp": "300"},
    {"username": "boss", "role": "admin"},
    {"username": "eyes", "role": "operator", "parent": "boss"},
)
BALANCES = balances_csv(ana="1000.50", bea="-400.00", cora="0.00", area="20000.00")
WINNERS = winners_csv(
    {"number": "tkt-0001", "agent": "ana", "code": "abcd-1234", "note": "from 14:00"},
    {"number": "TKT-0002", "agent": "CORA", "prize": "750.00", "claim_until": "2999-06-30"},
)


def person(house: Lottery, username: str) -> User:
    with house.res.sessions() as session:
        found = user_by_name(session, username)
    assert found is not None
    return found


def rows_written(house: Lottery) -> tuple[int, ...]:
    """How many users, wallets, rates, entries, outbox rows, old winners and audit rows there are."""
    tables = (User, Wallet, CommissionRate, Entry, WalletOutbox, OldWinner, AuditRow)
    with house.res.sessions() as session:
        return tuple(session.scalar(select(func.count()).select_from(table)) or 0 for table in tables)
