"""Taking credit back: what was loaded, a shortage, a correction. An agent's in the gate first: he may be selling."""

from __future__ import annotations

import uuid
from typing import Any

from sqlalchemy.orm import Session

from actions import tightening
from actions.audit import record
from actions.credit import available, beneath, book, counterpart, said
from actions.idempotency import (
    CONFLICT,
    WAITING,
    Answer,
    digest_of,
    earlier_answer,
    keep_answer,
    keep_waiting,
    kept_answer,
)
from actions.resources import Resources
from actions.subtree import acting
from models.draws import Intent
from models.people import User, lock_wallets
from rules.rights import Role


def take(
    res: Resources, actor_id: int, user_id: int, amount: int, kind: str, note: str | None, key: str
) -> tuple[int, dict[str, Any]]:
    """Takes `amount` centavos from a wallet below the actor's: (201, {entry_id, balance}), once per `key`.

    It goes into the coordinator's own wallet, or to the house. The first answer stays the answer to this key. Raises
    NotFound (not below the actor), Forbidden, InsufficientCredit, KeyReused; IntakeUnavailable: the wish stands, and
    the same key tells what became of it.
    """
    digest = digest_of("debit", user_id, amount, kind, note)
    with res.sessions.begin() as session:
        actor = acting(session, actor_id)
        answer = earlier_answer(session, actor_id, key, digest)
        if answer is None:
            answer = _ask(session, actor, beneath(session, actor, user_id), amount, kind, note, key)
    if answer.status == WAITING:
        tightening.settle(res, uuid.UUID(answer.body["intent"]), book_debit)
        with res.sessions() as session:
            answer = kept_answer(session, actor_id, key)
    return said(answer, "The wallet does not hold that much.")


def _ask(session: Session, actor: User, target: User, amount: int, kind: str, note: str | None, key: str) -> Answer:
    wallets, house = counterpart(actor, kind, -amount)
    if target.role != Role.AGENT:
        answer = _take_now(session, actor, target, amount, kind, note)
        keep_answer(session, actor.id, key, answer)
        return answer
    more = {"kind": kind, "note": note, "key": key, "to": actor.id if wallets else None, "house": house}
    intent_id = tightening.ask(session, tightening.DEBIT, target.id, actor.id, amount, more)
    keep_waiting(session, actor.id, key, intent_id)
    return Answer(WAITING, {"intent": str(intent_id)})


def _take_now(session: Session, actor: User, target: User, amount: int, kind: str, note: str | None) -> Answer:
    """Nobody but an agent sells on his wallet, so the gate does not hold the others'."""
    wallets, house = counterpart(actor, kind, -amount)
    lock_wallets(session, [*wallets, target.id])
    if (left := available(session, target.id)) < amount:
        return Answer(CONFLICT, {"available": left})
    answer = book(session, target.id, {**wallets, target.id: -amount}, house, kind, made_by=actor.id, note=note)
    _record(session, target.id, amount, kind, note, answer)
    return answer


def book_debit(session: Session, intent: Intent, refused: int | None) -> None:
    """Posts an agent's deduction that the gate has applied, or keeps its refusal as the answer to the key."""
    assert intent.user_id is not None
    assert intent.asked_by is not None
    asked = intent.payload
    if refused is not None:
        keep_answer(session, intent.asked_by, asked["key"], Answer(CONFLICT, {"available": refused}))
        return
    amount, kind, note = asked["amount"], asked["kind"], asked["note"]
    wallets = {intent.user_id: -amount} | ({asked["to"]: amount} if asked["to"] is not None else {})
    lock_wallets(session, list(wallets))
    answer = book(session, intent.user_id, wallets, asked["house"], kind, made_by=intent.asked_by, note=note)
    _record(session, intent.user_id, amount, kind, note, answer)
    keep_answer(session, intent.asked_by, asked["key"], answer)


def _record(session: Session, user_id: int, amount: int, kind: str, note: str | None, answer: Answer) -> None:
    about = {"amount": amount, "kind": kind, "note": note, "entry_id": answer.body["entry_id"]}
    record(session, "credit.debit", f"user:{user_id}", None, about)
