"""Users as a tree, their wallets, and what loosens credit on its way to the gate."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cache

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    ForeignKey,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Text,
    and_,
    any_,
    exists,
    func,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, Session, aliased, mapped_column

from models.base import Base, Big, Instant, Json, Str


class User(Base):
    """One person. `ancestors` runs from the root down to the parent."""

    __tablename__ = "users"

    id: Mapped[Big] = mapped_column(primary_key=True)
    username: Mapped[Str]
    password_hash: Mapped[Str]
    role: Mapped[Str]
    parent_id: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("users.id"))
    ancestors: Mapped[list[int]] = mapped_column(ARRAY(BigInteger))
    status: Mapped[Str] = mapped_column(server_default="active")
    suspended_by: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("users.id"))
    full_name: Mapped[str | None] = mapped_column(Text)
    phone: Mapped[str | None] = mapped_column(Text)
    address: Mapped[str | None] = mapped_column(Text)
    commission_bp: Mapped[int] = mapped_column(Integer, server_default="0")
    ticket_template: Mapped[Str] = mapped_column(server_default="default")
    ticket_paper: Mapped[int] = mapped_column(SmallInteger, server_default="58")
    created_at: Mapped[Instant] = mapped_column(server_default=func.now())
    password_changed_at: Mapped[Instant] = mapped_column(server_default=func.now())
    must_change_password: Mapped[bool] = mapped_column(server_default="false")
    totp_secret: Mapped[bytes | None] = mapped_column(LargeBinary)
    totp_confirmed_at: Mapped[Instant | None]
    totp_last_step: Mapped[int | None] = mapped_column(BigInteger)


class CommissionRate(Base):
    """What a user earns on sales below himself from an instant on, and who stood above him then."""

    __tablename__ = "commission_rates"

    id: Mapped[Big] = mapped_column(primary_key=True)
    user_id: Mapped[Big] = mapped_column(ForeignKey("users.id"))
    bp: Mapped[int] = mapped_column(Integer)
    ancestors: Mapped[list[int]] = mapped_column(ARRAY(BigInteger))
    from_at: Mapped[Instant] = mapped_column(server_default=func.clock_timestamp())


class Wallet(Base):
    """An agent's credit in centavos. `outbox_seq` is the number of the last row in `wallet_outbox`."""

    __tablename__ = "wallets"

    user_id: Mapped[Big] = mapped_column(ForeignKey("users.id"), primary_key=True, autoincrement=False)
    balance: Mapped[Big] = mapped_column(server_default="0")
    credit_limit: Mapped[Big] = mapped_column(server_default="0")
    outbox_seq: Mapped[Big] = mapped_column(server_default="0")


class WalletOutbox(Base):
    """What loosened a wallet, waiting for the gate or applied there."""

    __tablename__ = "wallet_outbox"
    __table_args__ = (PrimaryKeyConstraint("user_id", "seq"),)

    user_id: Mapped[Big] = mapped_column(ForeignKey("wallets.user_id"))
    seq: Mapped[Big]
    amount: Mapped[Big]
    reason: Mapped[Str]
    created_at: Mapped[Instant] = mapped_column(server_default=func.now())
    applied_at: Mapped[Instant | None]


class IdempotencyKey(Base):
    """The first answer to a call that carried this key, replayed for 48 hours."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (PrimaryKeyConstraint("user_id", "key"),)

    user_id: Mapped[Big] = mapped_column(ForeignKey("users.id"))
    key: Mapped[Str]
    digest: Mapped[bytes] = mapped_column(LargeBinary)
    status: Mapped[int] = mapped_column(Integer)
    body: Mapped[Json]
    created_at: Mapped[Instant] = mapped_column(server_default=func.now())


def user_by_name(session: Session, username: str) -> User | None:
    """The user of that name, in any letter case."""
    return session.scalar(select(User).where(User.username == username.lower()))


@cache  # building it takes longer than asking the database
def is_suspended() -> ColumnElement[bool]:
    """Of a row of users: suspended himself, or below a suspended coordinator.

    A suspended administrator stops nobody but himself: his whole branch would stop selling otherwise.
    """
    above = aliased(User)
    by_coordinator = and_(above.id == any_(User.ancestors), above.role == "coordinator", above.status == "suspended")
    return or_(User.status == "suspended", exists().where(by_coordinator).correlate(User))


def suspended_among(session: Session, user_ids: Collection[int]) -> set[int]:
    """Which of these users are suspended, themselves or from above."""
    return set(session.scalars(select(User.id).where(User.id.in_(user_ids), is_suspended())))


def suspended_agents(session: Session) -> set[int]:
    """Every agent who may not sell, suspended himself or from above."""
    return set(session.scalars(select(User.id).where(User.role == "agent", is_suspended())))


def agents_below(session: Session, user_ids: Collection[int]) -> list[int]:
    """The agents among these users and everywhere below them, in the order of their ids."""
    below = or_(User.id.in_(user_ids), User.ancestors.overlap(list(user_ids)))
    return list(session.scalars(select(User.id).where(User.role == "agent", below).order_by(User.id)))


def those_below(session: Session, user_id: int, among: Collection[int]) -> set[int]:
    """Which of these users are that one, or stand below him."""
    own = or_(User.id == user_id, User.ancestors.contains([user_id]))
    return set(session.scalars(select(User.id).where(User.id.in_(among), own)))


def lock_users(session: Session, user_ids: Collection[int]) -> dict[int, User]:
    """Users by id, read anew, with their rows locked in the order of their ids until the transaction ends.

    Rows that only name these users (an entry, an audit row) are not kept waiting.
    """
    query = select(User).where(User.id.in_(user_ids)).order_by(User.id).with_for_update(key_share=True)
    return {user.id: user for user in session.scalars(query.execution_options(populate_existing=True))}


def share_users(session: Session, user_ids: Collection[int]) -> None:
    """Keeps these users from being suspended or moved until the transaction ends."""
    session.execute(select(User.id).where(User.id.in_(user_ids)).order_by(User.id).with_for_update(read=True))


def sees_everyone(user: User) -> bool:
    """A superadmin stands above everyone, other superadmins too; an operator, outside the tree, reads everyone."""
    return user.role in ("superadmin", "operator")


def subtree_user(session: Session, top: User, user_id: int) -> User | None:
    """The user if he stands at or below `top`, or `top` sees everyone."""
    user = session.get(User, user_id)
    if user is None or sees_everyone(top) or user.id == top.id or top.id in user.ancestors:
        return user
    return None


def subtree_page(session: Session, top: User, limit: int, before: int | None) -> Sequence[User]:
    """Up to `limit` users that `top` sees, newest first, with ids under `before`."""
    query = select(User).order_by(User.id.desc()).limit(limit)
    if not sees_everyone(top):
        query = query.where(or_(User.id == top.id, User.ancestors.contains([top.id])))
    if before is not None:
        query = query.where(User.id < before)
    return session.scalars(query).all()


def agents_among(session: Session, user_ids: Sequence[int]) -> set[int]:
    """Those of the users who are agents: only their wallets are the gate's affair."""
    return set(session.scalars(select(User.id).where(User.id.in_(user_ids), User.role == "agent")))


def chains_of(session: Session, user_id: int) -> Sequence[list[int]]:
    """The ancestors that the user has had, now and before he was moved."""
    return session.scalars(select(CommissionRate.ancestors).where(CommissionRate.user_id == user_id)).all()


def commissions_over(
    session: Session, user_ids: Collection[int], most: int, *, below: bool = True
) -> list[tuple[str, int]]:
    """(username, basis points) where a sale would earn more than `most` all together: of these users and, unless
    `below` is False, of everyone below them; ten at the most.

    Whoever changes rates or places asks this after it, and one at a time: else two changes could pass that together
    are too much.
    """
    session.execute(text("SELECT pg_advisory_xact_lock(hashtext('commissions'))"))
    query = text(
        """
        SELECT username, total FROM (
            SELECT u.username, u.commission_bp + (
                SELECT coalesce(sum(c.commission_bp), 0) FROM users c
                WHERE c.id = ANY (u.ancestors) AND c.role = 'coordinator') AS total
            FROM users u WHERE u.id = ANY (:ids) OR (:below AND u.ancestors && CAST(:ids AS bigint[]))) paths
        WHERE total > :most ORDER BY total DESC, username LIMIT 10
        """
    )
    values = {"ids": list(user_ids), "most": most, "below": below}
    return [(name, int(total)) for name, total in session.execute(query, values)]


def lock_wallets(session: Session, user_ids: Sequence[int]) -> None:
    """Locks wallets in the order of their ids, in a statement of its own: any other order deadlocks."""
    session.execute(
        text("SELECT 1 FROM wallets WHERE user_id = ANY(:ids) ORDER BY user_id FOR UPDATE"),
        {"ids": list(user_ids)},
    )


def loosen(session: Session, amounts: dict[int, int], reason: str) -> None:
    """Numbers one outbox row per wallet for `amounts` (user id → centavos > 0). The wallets must be locked."""
    session.execute(
        text(
            """
            WITH asked AS (
                SELECT * FROM unnest(CAST(:ids AS bigint[]), CAST(:amounts AS bigint[])) AS a(user_id, amount)),
            numbered AS (
                UPDATE wallets SET outbox_seq = outbox_seq + 1 FROM asked
                WHERE wallets.user_id = asked.user_id RETURNING wallets.user_id, outbox_seq, asked.amount)
            INSERT INTO wallet_outbox (user_id, seq, amount, reason)
            SELECT user_id, outbox_seq, amount, :reason FROM numbered
            """
        ),
        {"ids": list(amounts), "amounts": list(amounts.values()), "reason": reason},
    )


def add_to_balances(session: Session, amounts: dict[int, int], low: int | None = None) -> dict[int, int]:
    """Adds centavos (signed) to wallets that `lock_wallets` holds.

    Gives what those have available (balance and credit limit, by user) whom this takes from `low` or more to less.
    """
    rows = session.execute(
        text(
            """
            WITH moved AS (
                UPDATE wallets SET balance = balance + a.amount
                FROM unnest(CAST(:ids AS bigint[]), CAST(:amounts AS bigint[])) AS a(user_id, amount)
                WHERE wallets.user_id = a.user_id
                RETURNING wallets.user_id, wallets.balance + wallets.credit_limit AS available, a.amount)
            SELECT user_id, available FROM moved WHERE available < :low AND available - amount >= :low
            """
        ),
        {"ids": list(amounts), "amounts": list(amounts.values()), "low": low},
    )
    return {row.user_id: row.available for row in rows}


def waiting_outbox(session: Session, user_id: int | None = None, limit: int = 1000) -> Sequence[WalletOutbox]:
    """Outbox rows that the gate has not confirmed, in the order in which they must be applied."""
    query = select(WalletOutbox).where(WalletOutbox.applied_at.is_(None))
    if user_id is not None:
        query = query.where(WalletOutbox.user_id == user_id)
    return session.scalars(query.order_by(WalletOutbox.user_id, WalletOutbox.seq).limit(limit)).all()


def mark_applied(session: Session, user_id: int, up_to_seq: int) -> None:
    """Records that the gate holds every outbox row of the wallet up to that number."""
    session.execute(
        update(WalletOutbox)
        .where(WalletOutbox.user_id == user_id, WalletOutbox.seq <= up_to_seq, WalletOutbox.applied_at.is_(None))
        .values(applied_at=func.now())
    )
