"""Giving credit, and what loosens a wallet on its way to the gate."""

from __future__ import annotations

from typing import Any

import structlog
from sqlalchemy.orm import Session

from actions.audit import record
from actions.idempotency import CONFLICT, CREATED, Answer, digest_of, earlier_answer, keep_answer
from actions.resources import Resources
from actions.subtree import acting, changeable
from models import ledger
from models.people import User, Wallet, add_to_balances, lock_wallets, loosen, mark_applied, waiting_outbox
from rules.errors import Forbidden, InsufficientCredit, IntakeUnavailable, NotFound
from rules.rights import ADMINISTRATORS, Role

CORRECTION = "correction"
KINDS = ("load", "remittance", "shortage", CORRECTION)

_log = structlog.get_logger()


def give(
    res: Resources, actor_id: int, user_id: int, amount: int, kind: str, note: str | None, key: str
) -> tuple[int, dict[str, Any]]:
    """Adds `amount` centavos to a wallet below the actor's: (201, {entry_id, balance}), once per `key`.

    A coordinator gives out of his own wallet, an administrator from the house. The first answer stays the answer to
    this key, a refusal for want of credit too: a delayed duplicate of a refused call never takes effect.
    Raises NotFound (not below the actor), Forbidden, InsufficientCredit, KeyReused.
    """
    digest = digest_of("credit", user_id, amount, kind, note)
    with res.sessions.begin() as session:
        actor = acting(session, actor_id)
        if (earlier := earlier_answer(session, actor_id, key, digest)) is None:
            answer = _give(session, actor, beneath(session, actor, user_id), amount, kind, note)
            keep_answer(session, actor_id, key, answer)
    if earlier is None:
        push_after_commit(res, user_id)
    return said(earlier or answer, "Your own wallet does not cover this.")


def said(answer: Answer, why_not: str) -> tuple[int, dict[str, Any]]:
    """A kept answer as its caller gets it. Raises InsufficientCredit."""
    status, body = answer
    if status == CONFLICT:
        raise InsufficientCredit(why_not, **body)
    return status, {name: body[name] for name in ("entry_id", "balance")}  # stored JSON forgets the order


def beneath(session: Session, actor: User, user_id: int) -> User:
    """Whose wallet the actor may change; his own is as little there as a stranger's. Raises as `changeable`."""
    if user_id == actor.id:
        raise NotFound
    return changeable(session, actor, user_id)


def counterpart(actor: User, kind: str, amount: int) -> tuple[dict[int, int], dict[str, int]]:
    """Where `amount` comes from (if negative: goes to): signed centavos per wallet, and per house account.

    Raises Forbidden: a correction that is not an administrator's.
    """
    if Role(actor.role) in ADMINISTRATORS:
        return {}, {"corrections" if kind == CORRECTION else "cash": -amount}
    if kind == CORRECTION:
        raise Forbidden("Only administrators correct a wallet.")
    return {actor.id: -amount}, {}


def available(session: Session, user_id: int) -> int:
    """Balance and credit limit of a wallet that `lock_wallets` holds, read anew."""
    wallet = session.get_one(Wallet, user_id, populate_existing=True)
    return wallet.balance + wallet.credit_limit


def push_outbox(res: Resources, user_id: int | None = None) -> int:
    """Tells the gate what loosened (one wallet, or all), in order; how many rows it took. Safe to repeat.

    Raises IntakeUnavailable: what is left is pushed by the next call.
    """
    with res.sessions() as session:
        rows = waiting_outbox(session, user_id)
    held: dict[int, int] = {}
    try:
        for row in rows:
            if row.seq <= held.get(row.user_id, 0):
                continue
            held[row.user_id] = res.gate.loosen(row.user_id, row.seq, row.amount)
            if held[row.user_id] < row.seq:
                _log.error("outbox_hole", user_id=row.user_id, seq=row.seq, gate_holds=held[row.user_id])
    finally:
        if held:
            with res.sessions.begin() as session:
                for wallet, seq in held.items():
                    mark_applied(session, wallet, seq)
    return sum(row.seq <= held.get(row.user_id, 0) for row in rows)


def push_after_commit(res: Resources, user_id: int) -> None:
    """Pushes at once what a transaction left for the gate; if that is away, the sweep will."""
    try:
        push_outbox(res, user_id)
    except IntakeUnavailable:
        res.doorbell.ring("wallets.push")


def _give(session: Session, actor: User, target: User, amount: int, kind: str, note: str | None) -> Answer:
    wallets, house = counterpart(actor, kind, amount)
    lock_wallets(session, [*wallets, target.id])
    if actor.id in wallets and (left := available(session, actor.id)) < amount:
        return Answer(CONFLICT, {"available": left})
    answer = book(session, target.id, {**wallets, target.id: amount}, house, kind, made_by=actor.id, note=note)
    if target.role == Role.AGENT:  # only an agent sells, so only agents' wallets are the gate's affair
        loosen(session, {target.id: amount}, kind)
    about = {"amount": amount, "kind": kind, "note": note, "entry_id": answer.body["entry_id"]}
    record(session, "credit.load", f"user:{target.id}", None, about)
    return answer


def book(
    session: Session,
    target_id: int,
    wallets: dict[int, int],
    house: dict[str, int],
    kind: str,
    *,
    made_by: int | None,
    note: str | None,
) -> Answer:
    """One entry on wallets that are locked, and their balances: 201 with what the target's wallet came to."""
    add_to_balances(session, wallets)
    entry_id = ledger.post(session, kind, wallets, house, made_by=made_by, note=note)
    balance = session.get_one(Wallet, target_id, populate_existing=True).balance
    return Answer(CREATED, {"entry_id": entry_id, "balance": balance})
