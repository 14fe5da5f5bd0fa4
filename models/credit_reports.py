"""Agents' wallets with everything that the gate has still to learn of them: what a reconciliation reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import BigInteger, any_, literal, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session

from models.draws import Draw, Intent, Position
from models.people import User, Wallet, WalletOutbox
from models.reporting import within
from rules.draws import LIVE


class Owed(NamedTuple):
    """A wallet in centavos; `outbox`: rows (number, amount) not known to be applied; `asked`: deductions under way."""

    agent_id: int
    username: str
    balance: int
    credit_limit: int
    outbox_seq: int
    outbox: list[tuple[int, int]]
    asked: int


def agents_seen(session: Session, top: User) -> list[int]:
    """The agents whom `top` sees, by their ids."""
    return list(session.scalars(select(User.id).where(User.role == "agent", within(top)).order_by(User.id)))


def live_positions(session: Session) -> list[tuple[int, str, str, tuple[int, int]]]:
    """(id, name, game, position) of the draws whose journal is in no seal yet."""
    query = select(Draw.id, Draw.name, Draw.game, Position.serial, Position.sub)
    query = query.outerjoin(Position, Position.draw_id == Draw.id).where(Draw.status.in_(LIVE)).order_by(Draw.id)
    return [(row[0], row[1], row[2], (row[3] or 0, row[4] or 0)) for row in session.execute(query)]


def owed_to(session: Session, agents: Sequence[int]) -> dict[int, Owed]:
    """These agents' wallets, by their ids."""
    ids = any_(literal(list(agents), ARRAY(BigInteger)))
    outbox: dict[int, list[tuple[int, int]]] = {}
    rows = select(WalletOutbox.user_id, WalletOutbox.seq, WalletOutbox.amount)
    for user, seq, amount in session.execute(
        rows.where(WalletOutbox.user_id == ids, WalletOutbox.applied_at.is_(None))
    ):
        outbox.setdefault(user, []).append((seq, amount))
    asked: dict[int, int] = {}
    intents = select(Intent.user_id, Intent.payload).where(
        Intent.status == "asked", Intent.user_id == ids, Intent.kind.in_(("debit", "credit_limit"))
    )
    for user, payload in session.execute(intents):
        asked[user or 0] = asked.get(user or 0, 0) + int(payload["amount"])
    query = select(User.id, User.username, Wallet.balance, Wallet.credit_limit, Wallet.outbox_seq)
    query = query.join(Wallet, Wallet.user_id == User.id).where(User.id == ids)
    return {row[0]: Owed(*row, outbox.get(row[0], []), asked.get(row[0], 0)) for row in session.execute(query)}
