"""Calls that carry an Idempotency-Key: the first answer is the answer for 48 hours.

A row without a status stands for a call whose intent the gate has not answered yet; its body names the intent.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from typing import Any, NamedTuple

from sqlalchemy import delete, func, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from models.people import IdempotencyKey
from rules.errors import KeyReused

KEPT_HOURS = 48
WAITING = 0  # the status of a call that has no answer yet
CREATED, CONFLICT = 201, 409  # the two answers worth keeping


class Answer(NamedTuple):
    """An HTTP status and a body, as kept."""

    status: int
    body: dict[str, Any]


def digest_of(*call: object) -> bytes:
    """Of a call and its body: the same key with another digest is refused."""
    return hashlib.sha256(json.dumps(call).encode()).digest()


def earlier_answer(session: Session, user_id: int, key: str, digest: bytes) -> Answer | None:
    """The answer given to this key, or None: then the key is ours until the transaction ends.

    Of two calls at once the second waits here until the first one's transaction has ended, and gets its
    answer if it committed. Raises KeyReused.
    """
    mine = (IdempotencyKey.user_id == user_id, IdempotencyKey.key == key)
    session.execute(delete(IdempotencyKey).where(*mine, *_OVER))
    row = {"user_id": user_id, "key": key, "digest": digest, "status": WAITING, "body": {}}
    statement = insert(IdempotencyKey).values(row).on_conflict_do_nothing(index_elements=["user_id", "key"])
    if session.execute(statement.returning(IdempotencyKey.key)).first() is not None:
        return None
    found = session.get_one(IdempotencyKey, (user_id, key), populate_existing=True)
    if found.digest != digest:
        raise KeyReused
    return Answer(found.status, found.body)


def keep_answer(session: Session, user_id: int, key: str, answer: Answer) -> None:
    """Makes this the answer to a key that `earlier_answer` gave to the caller."""
    statement = update(IdempotencyKey).where(IdempotencyKey.user_id == user_id, IdempotencyKey.key == key)
    session.execute(statement.values(status=answer.status, body=answer.body))


def keep_waiting(session: Session, user_id: int, key: str, intent_id: uuid.UUID) -> None:
    """Notes the intent whose outcome will be the answer to the key."""
    keep_answer(session, user_id, key, Answer(WAITING, {"intent": str(intent_id)}))


def kept_answer(session: Session, user_id: int, key: str) -> Answer:
    """The answer to a key as it stands now."""
    found = session.get_one(IdempotencyKey, (user_id, key), populate_existing=True)
    return Answer(found.status, found.body)


def forget_old_keys(session: Session) -> int:
    """Deletes answers that are replayed no longer; how many. A call that still waits for its answer stays."""
    return len(session.execute(delete(IdempotencyKey).where(*_OVER).returning(IdempotencyKey.key)).all())


_OVER = (
    IdempotencyKey.created_at < func.now() - text(f"interval '{KEPT_HOURS} hours'"),
    IdempotencyKey.status != WAITING,
)
