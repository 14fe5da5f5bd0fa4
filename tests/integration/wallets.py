"""Giving, taking, limits: what tests of wallets do over and over, and the check that all books say the same."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import func, select, update

from actions import credit, deductions, user_changes
from models.draws import Intent
from models.ledger import Account, Posting, balances
from models.people import Wallet
from rules import errors
from tests.integration.conftest import Lottery, new_id


def take(lottery: Lottery, actor: int, target: int, pesos: int, kind: str = "load", key: str = "") -> dict[str, Any]:
    return deductions.take(lottery.res, actor, target, pesos * 100, kind, None, key or new_id())[1]


def give(lottery: Lottery, actor: int, target: int, pesos: int, kind: str = "load") -> dict[str, Any]:
    return credit.give(lottery.res, actor, target, pesos * 100, kind, None, new_id())[1]


def set_limit(lottery: Lottery, actor: int, target: int, pesos: int) -> int:
    body = user_changes.change_user(lottery.res, actor, target, {"credit_limit": pesos * 100})
    return int(body["wallet"]["credit_limit"])


def in_gate(lottery: Lottery, agent: int) -> int:
    return int(lottery.res.gate._client.hget(f"wallet:{agent}", "available"))


def in_database(lottery: Lottery, user: int) -> int:
    with lottery.res.sessions() as session:
        wallet = session.get_one(Wallet, user)
        return wallet.balance + wallet.credit_limit


def must_agree(lottery: Lottery, agent: int) -> None:
    """Everything persisted: the gate, the wallet and the postings say the same, and nobody is below his limit."""
    with lottery.res.sessions() as session:
        posted = select(func.coalesce(func.sum(Posting.amount), 0)).join(Account, Account.id == Posting.account_id)
        balance = session.scalar(posted.where(Account.user_id == agent))
        assert session.get_one(Wallet, agent).balance == balance
        assert sum(amount for _, amount in balances(session)) == 0
        assert session.scalars(select(Intent.id).where(Intent.status == "asked")).all() == []
    assert in_gate(lottery, agent) == in_database(lottery, agent) >= 0


def asked(lottery: Lottery, ago: timedelta) -> None:
    """As if every intent had been asked that long ago."""
    with lottery.res.sessions.begin() as session:
        session.execute(update(Intent).values(asked_at=func.now() - ago))


def away(*_: Any, **__: Any) -> Any:
    """Stands for a call of the gate while that is away."""
    raise errors.IntakeUnavailable(retry_after=1)
