"""Reading a wallet's side of the ledger: its entries, and the sums of a branch's day."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from models.draws import Draw
from models.ledger import Account, Entry, Posting
from models.people import User


class WalletEntry(NamedTuple):
    """One entry as it touched a wallet: signed centavos; `draw` is its name."""

    entry: Entry
    amount: int
    draw: str | None


def wallet_page(session: Session, user_id: int, limit: int, before: int | None) -> Sequence[WalletEntry]:
    """Up to `limit` entries of the user's wallet, newest first, with ids under `before`."""
    account = select(Account.id).where(Account.kind == "wallet", Account.user_id == user_id).scalar_subquery()
    query = (
        select(Entry, Posting.amount, Draw.name)
        .join(Posting, Posting.entry_id == Entry.id)
        .outerjoin(Draw, Draw.id == Entry.draw_id)
        .where(Posting.account_id == account)
        .order_by(Posting.entry_id.desc())
        .limit(limit)
    )
    if before is not None:
        query = query.where(Posting.entry_id < before)
    return [WalletEntry(*row) for row in session.execute(query)]


def branch_sums(session: Session, user_id: int, since: datetime, before: datetime) -> dict[str, int]:
    """Signed centavos by kind of entry, over the wallets of the user and everyone below him.

    Of entries with `since` <= made < `before`. What one of them gives another adds up to nothing.
    """
    query = (
        select(Entry.kind, func.sum(Posting.amount))
        .join(Posting, Posting.entry_id == Entry.id)
        .join(Account, Account.id == Posting.account_id)
        .join(User, User.id == Account.user_id)
        .where(Entry.made_at >= since, Entry.made_at < before)
        .where(or_(User.id == user_id, User.ancestors.contains([user_id])))
        .group_by(Entry.kind)
    )
    return {kind: int(total) for kind, total in session.execute(query)}
