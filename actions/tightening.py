"""What takes from an agent's credit: asked in PostgreSQL, applied by the gate, then posted.

An intent outlives whoever asked: the same call again, or a sweep, goes on where the first one died. The gate gives
the same answer to the same intent however often it is asked, and only one of those who ask posts it.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from actions.audit import record
from actions.credit import push_outbox
from actions.resources import Resources
from intake.gate_errors import Unreconciled
from models.draws import Intent
from models.gate_state import share_generation
from rules.errors import InsufficientCredit
from runtime.origin import Origin, origin, set_origin

DEBIT, CREDIT_LIMIT = "debit", "credit_limit"
_ACTIONS = {DEBIT: "credit.debit", CREDIT_LIMIT: "user.change"}

# Books an intent in the transaction that posts it: None, or what was available where the gate refused.
Book = Callable[[Session, Intent, int | None], None]


def ask(session: Session, kind: str, user_id: int, asked_by: int, amount: int, more: Mapping[str, Any]) -> uuid.UUID:
    """Records the wish to take `amount` centavos from what an agent may still sell; the intent's id."""
    payload = {"amount": amount, "origin": origin()._asdict(), **more}
    intent = Intent(kind=kind, user_id=user_id, payload=payload, asked_by=asked_by)
    session.add(intent)
    session.flush()
    return intent.id


def settle(res: Resources, intent_id: uuid.UUID, book: Book) -> Intent:
    """Has the gate answer the intent and posts the answer; gives the intent as it ended. Safe to repeat.

    Refused: `payload["available"]` tells what there was. Raises IntakeUnavailable: then it still waits.
    """
    # The generation that is about to answer, taken before the look at the intent: on a gate rebuilt since then the
    # call would take the amount a second time, after somebody else has posted it.
    identity = res.gate.identity
    if identity is None:
        raise Unreconciled("no generation adopted yet")
    generation = identity.generation
    with res.sessions() as session:
        intent = session.get_one(Intent, intent_id)
    if intent.status != "asked":
        return intent
    assert intent.user_id is not None
    push_outbox(res, intent.user_id)  # what was loaded before counts
    applied, available = res.gate.tighten(
        intent.user_id, str(intent.id), intent.payload["amount"], generation=generation
    )
    with res.sessions.begin() as session:
        if share_generation(session) != generation:
            raise Unreconciled("the gate that answered this intent is no more")
        intent = session.get_one(Intent, intent_id, with_for_update=True, populate_existing=True)
        if intent.status != "asked":
            return intent
        by_another = origin().actor_id != intent.asked_by
        with _as_asked(intent):
            book(session, intent, None if applied else available)
            if by_another and not applied:  # the asker's own call is refused, and that is written down
                about = {"amount": intent.payload["amount"]}
                outcome = InsufficientCredit.code
                record(session, _ACTIONS[intent.kind], f"user:{intent.user_id}", None, about, outcome=outcome)
        now = session.scalar(select(func.now()))
        intent.done_at, intent.status = now, "posted" if applied else "refused"
        if not applied:
            intent.payload = {**intent.payload, "available": available}
    return intent


@contextmanager
def _as_asked(intent: Intent) -> Iterator[None]:
    """Audit rows name who asked and from where, whoever completes it."""
    mine = origin()
    set_origin(Origin(**intent.payload["origin"]))
    try:
        yield
    finally:
        set_origin(mine)
