"""Reading a wallet's side of the ledger: its entries, and what a branch's entries add up to."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date as Date
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, cast, func, or_, select
from sqlalchemy import Date as DateColumn
from sqlalchemy.orm import InstrumentedAttribute, Session

from models.draws import Draw
from models.ledger import Account, Entry, Posting
from models.people import User, Wallet
from rules.draws import MANILA


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


class Span(NamedTuple):
    """Which entries: made with `since` <= … < `before`, and about that draw; None does not ask."""

    since: datetime | None = None
    before: datetime | None = None
    draw_id: int | None = None


def branch_sums(session: Session, user_id: int, span: Span) -> dict[str, int]:
    """Signed centavos by kind of entry, over the wallets of the user and everyone below him.

    What one of them gives another adds up to nothing.
    """
    query = _branch(user_id, span, Entry.kind).group_by(Entry.kind)
    return {kind: int(total) for kind, total in session.execute(query)}


def branch_days(session: Session, user_id: int, span: Span) -> dict[tuple[Date, str | None], dict[str, int]]:
    """The same by (date in Manila, draw's name; None: about no draw), in that order."""
    day = cast(func.timezone(MANILA.key, Entry.made_at), DateColumn)
    query = _branch(user_id, span, day, Draw.name, Entry.kind).outerjoin(Draw, Draw.id == Entry.draw_id)
    found: dict[tuple[Date, str | None], dict[str, int]] = {}
    for date, draw, kind, total in session.execute(
        query.group_by(day, Draw.name, Entry.kind).order_by(day, Draw.name.nulls_first())
    ):
        found.setdefault((date, draw), {})[kind] = int(total)
    return found


def branch_users(session: Session, user_id: int, span: Span) -> dict[int, dict[str, int]]:
    """The same by user."""
    query = _branch(user_id, span, Account.user_id, Entry.kind).group_by(Account.user_id, Entry.kind)
    found: dict[int, dict[str, int]] = {}
    for user, kind, total in session.execute(query):
        found.setdefault(user, {})[kind] = int(total)
    return found


class Holder(NamedTuple):
    """Somebody with a wallet; its balance now, in centavos."""

    user_id: int
    username: str
    full_name: str | None
    role: str
    balance: int


def branch_holders(session: Session, user_id: int) -> list[Holder]:
    """The user and everyone below him who has a wallet, by username."""
    query = select(User.id, User.username, User.full_name, User.role, Wallet.balance)
    query = query.join(Wallet, Wallet.user_id == User.id).where(_in_branch(user_id)).order_by(User.username)
    return [Holder(*row) for row in session.execute(query)]


def _branch(user_id: int, span: Span, *by: ColumnElement[Any] | InstrumentedAttribute[Any]) -> Select[*tuple[Any, ...]]:
    query = select(*by, func.sum(Posting.amount)).join_from(Posting, Entry, Entry.id == Posting.entry_id)
    query = query.join(Account, Account.id == Posting.account_id).join(User, User.id == Account.user_id)
    query = query.where(_in_branch(user_id))
    if span.since is not None:
        query = query.where(Entry.made_at >= span.since)
    if span.before is not None:
        query = query.where(Entry.made_at < span.before)
    return query if span.draw_id is None else query.where(Entry.draw_id == span.draw_id)


def _in_branch(user_id: int) -> ColumnElement[bool]:
    return or_(User.id == user_id, User.ancestors.contains([user_id]))
