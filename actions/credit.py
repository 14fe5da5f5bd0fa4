"""Loading credit, and what loosens a wallet on its way to the gate."""

from __future__ import annotations

import hashlib
import json
from typing import Any, NamedTuple

import structlog
from sqlalchemy import delete, func, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from actions.resources import Resources
from actions.subtree import acting, reachable
from models import ledger
from models.people import (
    IdempotencyKey,
    User,
    Wallet,
    add_to_balances,
    lock_wallets,
    loosen,
    mark_applied,
    waiting_outbox,
)
from rules.errors import InsufficientCredit, IntakeUnavailable, KeyReused, NotFound
from rules.rights import Role

KEPT_HOURS = 48  # how long the first answer to an Idempotency-Key is replayed
CREATED, CONFLICT = 201, 409  # the two answers worth keeping

_log = structlog.get_logger()


class Answer(NamedTuple):
    status: int
    body: dict[str, Any]


def load(
    res: Resources, actor_id: int, user_id: int, amount: int, kind: str, note: str | None, key: str
) -> tuple[int, dict[str, Any]]:
    """Loads `amount` centavos onto a wallet below the actor's: (201, {entry_id, balance}), once per `key`.

    A coordinator's load comes out of his own wallet, an administrator's from the house. The first answer
    stays the answer to this key, a refusal for want of credit too: a delayed duplicate of a refused load
    never takes effect. Raises NotFound (not below the actor), InsufficientCredit, KeyReused.
    """
    digest = _digest("credit", user_id, amount, kind, note)
    with res.sessions.begin() as session:
        actor = acting(session, actor_id)
        if (earlier := _earlier_answer(session, actor_id, key, digest)) is None:
            target = reachable(session, actor, user_id)
            if target.id == actor.id:
                raise NotFound
            answer = _load(session, actor, target, amount, kind, note)
            _keep_answer(session, actor_id, key, answer)
    if earlier is None:
        push_after_commit(res, user_id)
    status, body = earlier or answer
    if status == CONFLICT:
        raise InsufficientCredit("Your own wallet does not cover this load.", **body)
    return status, {name: body[name] for name in ("entry_id", "balance")}  # stored JSON forgets the order


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


def _load(session: Session, actor: User, target: User, amount: int, kind: str, note: str | None) -> Answer:
    from_house = actor.role in (Role.SUPERADMIN, Role.ADMIN)
    wallets = [target.id] if from_house else [actor.id, target.id]
    lock_wallets(session, wallets)
    if not from_house:
        own = session.get_one(Wallet, actor.id, populate_existing=True)
        available = own.balance + own.credit_limit
        if available < amount:
            return Answer(CONFLICT, {"available": available})
    changes = {target.id: amount} if from_house else {actor.id: -amount, target.id: amount}
    add_to_balances(session, changes)
    house = {"cash": -amount} if from_house else {}
    entry_id = ledger.post(session, kind, changes, house, made_by=actor.id, note=note)
    if target.role == Role.AGENT:  # only an agent sells, so only agents' wallets are the gate's affair
        loosen(session, {target.id: amount}, kind)
    balance = session.get_one(Wallet, target.id, populate_existing=True).balance
    return Answer(CREATED, {"entry_id": entry_id, "balance": balance})


def _digest(*call: object) -> bytes:
    return hashlib.sha256(json.dumps(call).encode()).digest()


def _earlier_answer(session: Session, user_id: int, key: str, digest: bytes) -> Answer | None:
    """The answer given to this key, or None: then the key is ours until the transaction ends.

    Of two calls at once the second waits here until the first one's transaction has ended, and gets its
    answer if it committed. Raises KeyReused.
    """
    mine = (IdempotencyKey.user_id == user_id, IdempotencyKey.key == key)
    too_old = IdempotencyKey.created_at < func.now() - text(f"interval '{KEPT_HOURS} hours'")
    session.execute(delete(IdempotencyKey).where(*mine, too_old))
    row = {"user_id": user_id, "key": key, "digest": digest, "status": 0, "body": {}}
    statement = insert(IdempotencyKey).values(row).on_conflict_do_nothing(index_elements=["user_id", "key"])
    if session.execute(statement.returning(IdempotencyKey.key)).first() is not None:
        return None
    found = session.get_one(IdempotencyKey, (user_id, key))
    if found.digest != digest:
        raise KeyReused
    return Answer(found.status, found.body)


def _keep_answer(session: Session, user_id: int, key: str, answer: Answer) -> None:
    statement = update(IdempotencyKey).where(IdempotencyKey.user_id == user_id, IdempotencyKey.key == key)
    session.execute(statement.values(status=answer.status, body=answer.body))
