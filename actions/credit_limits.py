"""Credit limits: raised in PostgreSQL first; an agent's lowered in the gate first."""

from __future__ import annotations

import uuid

from sqlalchemy import select
from sqlalchemy.orm import Session

from actions import tightening
from actions.audit import record
from actions.credit import available
from actions.resources import Resources
from models.draws import Intent
from models.people import User, Wallet, lock_wallets, loosen
from rules.errors import InsufficientCredit
from rules.rights import Role

TOO_LOW = "The wallet is deeper in its credit than this limit."


class LimitWaits(Exception):
    """An earlier change of this limit still waits for the gate."""

    def __init__(self, intent_id: uuid.UUID) -> None:
        self.intent_id = intent_id


def lowers(session: Session, user: User, limit: int) -> int:
    """By how many centavos the gate has to tighten first: 0 unless this lowers an agent's limit.

    The user's row must be locked. Raises LimitWaits.
    """
    waiting = select(Intent.id).where(Intent.user_id == user.id, Intent.kind == tightening.CREDIT_LIMIT)
    if (intent_id := session.scalar(waiting.where(Intent.status == "asked"))) is not None:
        raise LimitWaits(intent_id)
    held = session.get_one(Wallet, user.id, populate_existing=True).credit_limit
    return held - limit if user.role == Role.AGENT and limit < held else 0


def ask_to_lower(session: Session, actor_id: int, user: User, by: int) -> uuid.UUID:
    """Records the wish to lower an agent's limit `by` centavos; the intent's id."""
    return tightening.ask(session, tightening.CREDIT_LIMIT, user.id, actor_id, by, {})


def settle_lowered(res: Resources, intent_id: uuid.UUID) -> None:
    """Has the gate answer and posts it. Raises InsufficientCredit: the limit stays; IntakeUnavailable: it waits."""
    intent = tightening.settle(res, intent_id, book_lowered)
    if intent.status == "refused":
        raise InsufficientCredit(TOO_LOW, available=intent.payload["available"])


def book_lowered(session: Session, intent: Intent, refused: int | None) -> None:
    """Posts a lower limit that the gate has applied."""
    assert intent.user_id is not None
    if refused is not None:
        return
    lock_wallets(session, [intent.user_id])
    wallet = session.get_one(Wallet, intent.user_id, populate_existing=True)
    before, wallet.credit_limit = wallet.credit_limit, wallet.credit_limit - intent.payload["amount"]
    changed = {"credit_limit": before}, {"credit_limit": wallet.credit_limit}
    record(session, "user.change", f"user:{intent.user_id}", *changed)


def set_now(session: Session, user: User, limit: int) -> int:
    """Sets a limit that nothing has to be tightened for; gives the one before. Raises InsufficientCredit."""
    lock_wallets(session, [user.id])
    wallet = session.get_one(Wallet, user.id, populate_existing=True)
    before = wallet.credit_limit
    left = available(session, user.id) + limit - before
    if limit < before and left < 0:
        raise InsufficientCredit(TOO_LOW, available=left - limit + before)
    wallet.credit_limit = limit
    session.flush()
    if user.role == Role.AGENT and limit > before:
        loosen(session, {user.id: limit - before}, "credit limit")
    return before
