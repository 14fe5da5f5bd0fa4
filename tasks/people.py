"""Completing what people asked for and nobody finished: deductions, lower limits, standing, ended sessions."""

from __future__ import annotations

from typing import Any

from celery import Task, shared_task
from sqlalchemy import func, select

from actions.credit_limits import book_lowered
from actions.deductions import book_debit
from actions.ended_logins import forget_old, tell_gate
from actions.idempotency import forget_old_keys
from actions.resources import Resources
from actions.standing import anything_to_tell, tell_standing
from actions.tightening import CREDIT_LIMIT, DEBIT, Book, settle
from models.draws import Intent
from tasks.each import each
from tasks.found import AT_WORK, found

_BOOKS: dict[str, Book] = {DEBIT: book_debit, CREDIT_LIMIT: book_lowered}


def sweep_people(res: Resources) -> int:
    """Completes intents about users that died half-way, and tells the gate what it was not told; how many.

    Safe to repeat. One kind that fails does not hold up the others.
    """
    kinds = {"standing": _tell_standing, "ended_sessions": tell_gate, "intents": complete_tightening}
    done: dict[str, int] = {}
    try:
        return each(kinds, lambda kind: kinds[kind](res), done)
    finally:
        found("sweep.people", **done)


def complete_tightening(res: Resources) -> int:
    """Has the gate answer deductions and lower limits that wait; how many are done."""
    with res.sessions() as session:
        waiting = session.execute(_waiting(Intent.id, Intent.kind).where(Intent.kind.in_(_BOOKS))).all()
    return each(waiting, lambda row: settle(res, row.id, _BOOKS[row.kind]).status != "asked")


def _tell_standing(res: Resources) -> int:
    return tell_standing(res) if anything_to_tell(res, AT_WORK) else 0


def _waiting(*columns: Any) -> Any:
    waiting = select(*columns).where(Intent.status == "asked", Intent.user_id.is_not(None))
    return waiting.where(Intent.asked_at < func.now() - AT_WORK).order_by(Intent.asked_at)


def forget_people(res: Resources) -> int:
    """Deletes what is kept for a time only: answers to Idempotency-Keys, sessions long over; how many."""
    with res.sessions.begin() as session:
        keys = forget_old_keys(session)
    return keys + forget_old(res)


@shared_task(name="sweep.people", bind=True)
def sweep_people_task(self: Task[Any, Any]) -> None:
    """Every second."""
    self.app.run_with_resources(sweep_people)


@shared_task(name="people.forget", bind=True)
def people_forget(self: Task[Any, Any]) -> None:
    """Every hour."""
    self.app.run_with_resources(forget_people)
