"""Selling tickets: one call to the gate, and the receipt. The database is asked only for draws that the gate lacks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any
from uuid import uuid4

from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from actions.receipts import receipt, ticket_of
from actions.resources import Resources
from actions.tickets import Found, find_by_id
from intake.gate import Held, Sale
from intake.gate_errors import DrawUnknown
from models.draws import draw_by_name
from rules.errors import (
    CutoffPassed,
    DrawNotOpen,
    IdCancelled,
    IdConflict,
    IntakeUnavailable,
    NoSuchDraw,
    Problem,
    SlowDown,
    TokenRevoked,
)

Outcome = tuple[dict[str, Any], bool] | Problem


def sell(res: Resources, draw: str, sale: Sale) -> tuple[dict[str, Any], bool]:
    """(receipt, whether it is a repeated one). Raises every refusal of a sale, in the order of the contract."""
    outcome = _sell_all(res, [(draw, sale)], batch="")[0]
    if isinstance(outcome, Problem):
        raise outcome
    return outcome


def sell_batch(res: Resources, items: Sequence[tuple[str, Sale]]) -> list[Outcome]:
    """Sells in order, each ticket as if sent alone; neighbours of one draw share a round trip.

    Against the agent's rate it counts as one batch. Raises what refuses all of its tickets alike: SlowDown,
    TokenRevoked.
    """
    outcomes = _sell_all(res, items, batch=uuid4().hex)
    for problem in (SlowDown, TokenRevoked):
        if outcomes and all(isinstance(outcome, problem) for outcome in outcomes):
            raise outcomes[0]  # type: ignore[misc]
    return outcomes


def _sell_all(res: Resources, items: Sequence[tuple[str, Sale]], batch: str) -> list[Outcome]:
    outcomes: list[Outcome] = []
    for draw, run in groupby(items, key=lambda item: item[0]):
        sales = [sale for _, sale in run]
        try:
            answers = res.gate.sell(draw, sales, batch)
        except IntakeUnavailable as problem:
            outcomes += [problem] * len(sales)
            continue
        if any(isinstance(answer, Held) and answer.ring for answer in answers):
            res.doorbell.ring("tickets.persist", draw)
        outcomes += [_outcome(res, draw, sale, answer) for sale, answer in zip(sales, answers, strict=True)]
    return outcomes


def _outcome(res: Resources, draw: str, sale: Sale, answer: Held | Problem | DrawUnknown) -> Outcome:
    if isinstance(answer, Problem):
        return answer
    if isinstance(answer, DrawUnknown):
        try:
            return _of_archived_draw(res, draw, sale)
        except Problem as problem:
            return problem
        except (OperationalError, InterfaceError, PoolTimeout):
            # Only the database knows this draw. The other tickets of a batch keep their own answers.
            return IntakeUnavailable(retry_after=1)
    status = "voided" if answer.state else "accepted"
    return receipt(res.settings.code_key, ticket_of(draw, answer), status), answer.replayed


def _of_archived_draw(res: Resources, draw: str, sale: Sale) -> Outcome:
    """A sale to a draw that the gate does not hold: a known id still gets its receipt, else why it can't be sold."""
    with res.sessions() as session:
        row = draw_by_name(session, draw)
    if row is None:
        raise NoSuchDraw
    found = find_by_id(res, draw, sale.id)
    if found is not None:
        return _repeated(res, sale, found)
    if row.cutoff_at <= res.clock.now():
        raise CutoffPassed
    # A draw that is open came to the gate while we looked here: the gate decides, and the same id may be sold.
    raise IntakeUnavailable(retry_after=1) if row.status == "open" else DrawNotOpen


def _repeated(res: Resources, sale: Sale, found: Found) -> Outcome:
    if found.cancelled:
        raise IdCancelled
    if found.ticket.agent_id != sale.agent_id or found.ticket.lines != sale.lines:
        raise IdConflict
    return receipt(res.settings.code_key, found.ticket, found.status), True
