"""Settling a result: named steps, each in a transaction of its own that also notes it as done.

Whoever dies between two steps, or inside one, leaves the steps before it done and this one undone; whoever
comes next goes on there. A step locks the draw's row, so two workers take turns, and ends if its version is not
the current one any more.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import structlog
from celery import Task, shared_task
from sqlalchemy import func, insert, update
from sqlalchemy.orm import Session

from actions.equal_reports import ask_for_settled
from actions.notifications import tell_of_contradiction
from actions.resources import Resources
from actions.results import STEPS
from models.draws import Draw, advance, draw_by_name, lock_draw
from models.ledger import draw_balance, draw_entry, post
from models.notifications import tell
from models.people import add_to_balances, agents_among, lock_wallets, loosen
from models.settlement import (
    DrawReport,
    Seal,
    SettlementStep,
    commissions_of,
    insert_winners,
    stakes_that_won,
    standing_of,
    winners_by_person,
)
from models.sums import Sums, kept_sums
from reports.draw_report import build
from rules.errors import Contradiction
from rules.games import match_key, prize_class, winning_bets
from rules.notifications import winners

_log = structlog.get_logger()


class OutOfBalance(Contradiction):
    """What is stored of a draw is not what was sealed."""


def settle(res: Resources, name: str) -> bool:
    """Does the steps that are left of settling the draw's current result; True if the draw is settled by now.

    Raises OutOfBalance when the draw's sums are not those that were sealed, or the stakes that won are not among them:
    the step stays open.
    """
    with res.sessions() as session:
        draw = draw_by_name(session, name)
        if draw is None or draw.status not in ("resulted", "settling"):
            return draw is not None and draw.status == "settled"
    for step in STEPS:
        _mark_started(res, draw.id, draw.result_version, step)
        try:
            done = _do(res, name, draw.result_version, step)
        except Contradiction as problem:
            about = {"draw": name, "version": draw.result_version, "step": step}
            _log.error("settlement_out_of_balance", **about, reason=str(problem))
            tell_of_contradiction(res, name, f"settlement, {step}", problem)
            raise
        if not done:
            return False
    return True


def _mark_started(res: Resources, draw_id: int, version: int, step: str) -> None:
    """Committed before the step's own transaction: a step that hangs or is killed shows since when."""
    with res.sessions.begin() as session:
        statement = update(SettlementStep).where(SettlementStep.started_at.is_(None))
        session.execute(_of(statement, draw_id, version, step).values(started_at=func.clock_timestamp()))


def _do(res: Resources, name: str, version: int, step: str) -> bool:
    """Does one step unless it is done; False: another version is the current one, or the draw is voided."""
    with res.sessions.begin() as session:
        draw = lock_draw(session, name)
        if draw.result_version != version:
            return False
        if draw.status == "settled":
            return True
        if draw.status not in ("resulted", "settling"):
            return False
        row = session.get_one(SettlementStep, (draw.id, version, step))
        if row.status == "done":
            return True
        if draw.status == "resulted":
            advance(session, draw.id, ["resulted"], "settling", settling_at=func.now())
        _FUNCTIONS[step](session, draw)
        done = {"status": "done", "finished_at": func.clock_timestamp()}
        session.execute(_of(update(SettlementStep), draw.id, version, step).values(done))
        if step == STEPS[-1]:
            advance(session, draw.id, ["settling"], "settled", settled_at=func.now())
            _tell_winners(session, draw)
    if step == "commissions":
        res.doorbell.ring("wallets.push")
    if step == STEPS[-1]:
        res.doorbell.ring("draws.check", name)
        res.doorbell.ring("events.send")
    _log.info("settlement_step_done", draw=name, version=version, step=step)
    return True


def _of(statement: Any, draw_id: int, version: int, step: str) -> Any:
    key = (SettlementStep.draw_id == draw_id, SettlementStep.version == version, SettlementStep.name == step)
    return statement.where(*key)


def _winners(session: Session, draw: Draw) -> None:
    """The winning lines, each with its prize by the price list that was frozen when the draw opened."""
    assert draw.result is not None
    assert draw.prize_table is not None
    bets = [
        (play, number, int(draw.prize_table[prize_class(draw.game, play, number)]))
        for play, numbers in winning_bets(draw.game, draw.result)
        for number in numbers
    ]
    insert_winners(session, draw.id, draw.date, draw.result_version, bets)
    _check_stakes(session, draw, [(play, number) for play, number, _ in bets])


def _check_stakes(session: Session, draw: Draw, bets: list[tuple[str, str]]) -> None:
    """A ticket that was changed after the seal so that it wins, or does not, changes what stands on those bets."""
    sealed = _sealed_sums(session, draw)
    keys = {bet: (bet[0], match_key(draw.game, *bet)) for bet in bets}
    wanted = {key: sealed.bets[key] for key in keys.values() if key in sealed.bets}
    found: dict[tuple[str, str], int] = {}
    for agent, play, number, stake in stakes_that_won(session, draw.id, draw.result_version):
        key = keys.get((play, number), (play, number))  # one that does not win differs as it stands
        found[key] = found.get(key, 0) + stake
        if agent not in sealed.agents:
            raise OutOfBalance(f"agent {agent} has winners, and sold nothing of what was sealed")
    if found != wanted:
        wrong = sorted(bet for bet in found.keys() | wanted.keys() if found.get(bet) != wanted.get(bet))
        raise OutOfBalance(f"the stakes on {wrong[:10]} are not those that were sealed")


def _sealed_sums(session: Session, draw: Draw) -> Sums:
    """The draw's sums as they were when it was sealed, and equal to its tickets. Nothing here reads all tickets: the
    cost of a settlement follows the winners (docs/decisions/0010)."""
    sums = kept_sums(session, draw.id)
    if sums.digest() != session.get_one(Seal, draw.id).sums_hash:
        raise OutOfBalance("the draw's sums are not those that were sealed")
    return sums


def _prizes(session: Session, draw: Draw) -> None:
    """What was won and is not paid yet, into the books; of earlier versions only what was paid stays there.

    No claim is paid meanwhile: claims want a settled draw and hold its row FOR SHARE, we hold it FOR UPDATE.
    """
    posted = partial(post, session, wallets={}, draw_id=draw.id, version=draw.result_version)
    standing = standing_of(session, draw.id, draw.result_version)
    if still_owed := draw_balance(session, draw.id, "prizes_owed"):
        posted(kind="prizes_reversed", house={"prizes": still_owed, "prizes_owed": -still_owed})
    if standing.due:
        posted(kind="prizes", house={"prizes": -standing.due, "prizes_owed": standing.due})
    if more := standing.in_error + draw_balance(session, draw.id, "paid_in_error"):
        posted(kind="paid_in_error", house={"prizes_paid": more, "paid_in_error": -more})


def _commissions(session: Session, draw: Draw) -> None:
    """What agents and coordinators earn on the draw's sales: once, since no correction changes what was sold."""
    assert draw.opened_at is not None
    if draw_entry(session, draw.id, "commission") is not None:
        return
    earned = commissions_of(session, draw.opened_at, _sealed_sums(session, draw).live())
    if not earned:
        return
    lock_wallets(session, list(earned))
    add_to_balances(session, earned)
    # Only agents sell: coordinators' wallets are no affair of the gate.
    if agents := {user: earned[user] for user in agents_among(session, list(earned))}:
        loosen(session, agents, "commission")
    post(session, "commission", earned, {"commissions": -sum(earned.values())}, draw_id=draw.id)


def _report(session: Session, draw: Draw) -> None:
    """The draw's figures; and who is to have them as a document, which others make after the settlement."""
    sums = _sealed_sums(session, draw)
    body = build(session, draw, sums)
    session.execute(insert(DrawReport).values(draw_id=draw.id, version=draw.result_version, body=body))
    ask_for_settled(session, draw, list(sums.agents))


def _tell_winners(session: Session, draw: Draw) -> None:
    won = winners_by_person(session, draw.id, draw.result_version)
    tell(session, [winners(draw.name, draw.result_version, *one) for one in won])


_FUNCTIONS: dict[str, Callable[[Session, Draw], None]] = {
    "winners": _winners,
    "prizes": _prizes,
    "commissions": _commissions,
    "report": _report,
}
assert tuple(_FUNCTIONS) == STEPS


@shared_task(name="draws.settle", bind=True)
def draws_settle(self: Task[Any, Any], name: str) -> None:
    """Rung when a result was confirmed or a settlement resumed, and by the sweep."""
    self.app.run_with_resources(settle, name)
