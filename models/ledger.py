"""The double-entry ledger: append-only, each entry's postings sum to zero. The database holds both.

Chart of accounts (docs/books.md): `wallet` (one per user: what the house owes him), `cash`, `sales`, `prizes` (cost of
what was won and is not paid), `prizes_owed`, `prizes_paid` (cost of what was paid), `paid_in_error`, `commissions`,
`unclaimed`, `tax_withheld`, `corrections`, `opening`. Credits are positive.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import ForeignKey, Integer, PrimaryKeyConstraint, Text, func, insert, select, text
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Base, Big, Instant, Str


class Account(Base):
    """A house account, or one user's wallet account."""

    __tablename__ = "accounts"

    id: Mapped[Big] = mapped_column(primary_key=True)
    kind: Mapped[Str]
    user_id: Mapped[Big | None] = mapped_column(ForeignKey("users.id"))


class Entry(Base):
    """One event in the books."""

    __tablename__ = "entries"

    id: Mapped[Big] = mapped_column(primary_key=True)
    kind: Mapped[Str]
    draw_id: Mapped[int | None] = mapped_column(Integer, ForeignKey("draws.id"))
    version: Mapped[int | None] = mapped_column(Integer)
    ticket: Mapped[str | None] = mapped_column(Text)
    made_by: Mapped[Big | None] = mapped_column(ForeignKey("users.id"))
    note: Mapped[str | None] = mapped_column(Text)
    made_at: Mapped[Instant] = mapped_column(server_default=func.now())


class Posting(Base):
    """An entry's share on one account, in signed centavos."""

    __tablename__ = "postings"
    __table_args__ = (PrimaryKeyConstraint("entry_id", "account_id"),)

    entry_id: Mapped[Big] = mapped_column(ForeignKey("entries.id"))
    account_id: Mapped[Big] = mapped_column(ForeignKey("accounts.id"))
    amount: Mapped[Big]


def post(
    session: Session,
    kind: str,
    wallets: Mapping[int, int],
    house: Mapping[str, int],
    *,
    draw_id: int | None = None,
    version: int | None = None,
    ticket: str | None = None,
    made_by: int | None = None,
    note: str | None = None,
) -> int:
    """Writes one entry: signed centavos per wallet (by user id) and per house account; zeros are left out.

    Returns the entry's id. The database refuses the commit unless the sum is zero, and a wallet without an account.
    """
    values = {"kind": kind, "draw_id": draw_id, "version": version, "ticket": ticket, "made_by": made_by, "note": note}
    entry_id = session.execute(insert(Entry).values(values).returning(Entry.id)).scalar_one()
    session.execute(
        text(
            """
            INSERT INTO postings (entry_id, account_id, amount)
            SELECT :entry,
                   -- Not IS NOT DISTINCT FROM: that uses no index, and reads all accounts for each posting.
                   coalesce((SELECT id FROM accounts a WHERE a.kind = p.kind AND a.user_id = p.user_id),
                            (SELECT id FROM accounts a
                             WHERE a.kind = p.kind AND a.user_id IS NULL AND p.user_id IS NULL)),
                   p.amount
            FROM unnest(CAST(:kinds AS text[]), CAST(:users AS bigint[]), CAST(:amounts AS bigint[]))
                 AS p(kind, user_id, amount)
            WHERE p.amount <> 0
            """
        ),
        {
            "entry": entry_id,
            "kinds": ["wallet"] * len(wallets) + list(house),
            "users": [*wallets, *[None] * len(house)],
            "amounts": [*wallets.values(), *house.values()],
        },
    )
    return entry_id


def draw_balance(session: Session, draw_id: int, kind: str) -> int:
    """The sum of the postings that a draw's entries have on a house account."""
    query = select(func.coalesce(func.sum(Posting.amount), 0)).join(Entry, Entry.id == Posting.entry_id)
    query = query.join(Account, Account.id == Posting.account_id)
    return int(session.execute(query.where(Entry.draw_id == draw_id, Account.kind == kind)).scalar_one())


def draw_entry(session: Session, draw_id: int, kind: str) -> Entry | None:
    """The draw's entry of a kind that it has once at most."""
    return session.scalar(select(Entry).where(Entry.draw_id == draw_id, Entry.kind == kind))


def draw_commissions(session: Session, draw_id: int) -> dict[int, int]:
    """The commissions that the draw's entry gave, in centavos by user."""
    query = select(Account.user_id, Posting.amount).join(Posting, Posting.account_id == Account.id)
    query = query.join(Entry, Entry.id == Posting.entry_id).where(Entry.draw_id == draw_id, Entry.kind == "commission")
    return {user: amount for user, amount in session.execute(query) if user is not None}


def balances(session: Session) -> Sequence[tuple[str, int]]:
    """(account kind, sum of its postings) for the whole ledger."""
    query = select(Account.kind, func.sum(Posting.amount)).join(Posting, Posting.account_id == Account.id)
    return [(kind, int(total)) for kind, total in session.execute(query.group_by(Account.kind).order_by(Account.kind))]
