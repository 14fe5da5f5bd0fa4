"""Looking for what has waited too long. Other sweeps try these things again and again; this one says that they wait.

A draw is stuck that has been in one state for longer than its next step can take when nothing is wrong.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, NamedTuple

import structlog
from celery import Task, shared_task
from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from actions.resources import Resources
from models.dead_letters import MESSAGE, RECORD, TASK, DeadLetter, Retry
from models.draws import Draw, Intent
from models.people import WalletOutbox
from models.reports import UNFINISHED, Report
from models.settlement import SettlementStep
from runtime.metrics import set_waiting


class _Patience(NamedTuple):
    since: InstrumentedAttribute[Any]
    longest: timedelta


# Opening and closing are looked for every second; a close marker is persisted behind what was sold last.
OPENS_IN = timedelta(seconds=30)
CLOSES_IN = timedelta(seconds=60)
# A million tickets are compared in half a minute. Longer: dead letters, two different roots, or a late seal.
SEALS_IN = timedelta(seconds=120)
# Winners go by an index, and each step is one transaction.
SETTLES_IN = timedelta(seconds=120)
# The draw is drained, then refunded in one transaction.
VOIDS_IN = timedelta(seconds=120)

STATES = {
    "scheduled": _Patience(Draw.opens_at, OPENS_IN),
    "open": _Patience(Draw.cutoff_at, CLOSES_IN),
    "closed": _Patience(Draw.closed_at, SEALS_IN),
    "resulted": _Patience(Draw.resulted_at, SETTLES_IN),
    "settling": _Patience(Draw.settling_at, SETTLES_IN),
    "voiding": _Patience(Draw.voiding_at, VOIDS_IN),
}

# One step of a settlement; and what is pushed to the gate at once, or by a sweep two seconds later.
STEP_TAKES = timedelta(seconds=60)
PUSH_TAKES = timedelta(seconds=10)
# One report may take five minutes, and the statements of a draw with a thousand agents as long together.
REPORTS_TAKE = timedelta(minutes=15)

_log = structlog.get_logger()


def look_for_stuck(res: Resources) -> int:
    """Shows how much is stuck in gauges, and in the log if anything is; gives how much that is."""
    with res.sessions() as session:
        draws = _draws(session)
        waiting = _waiting(session)
    set_waiting({state: len(names) for state, names in draws.items()}, waiting)
    stuck = {state: names for state, names in draws.items() if names}
    if stuck:
        _log.warning("draws_stuck", count=sum(map(len, stuck.values())), **stuck)
    if any(waiting.values()):
        _log.warning("waiting", **{what: count for what, count in waiting.items() if count})
    return sum(map(len, stuck.values())) + sum(waiting.values())


def _draws(session: Session) -> dict[str, list[str]]:
    """Names of the draws that are stuck, by state."""
    late = [and_(Draw.status == state, since < func.now() - longest) for state, (since, longest) in STATES.items()]
    found: dict[str, list[str]] = {state: [] for state in STATES}
    for status, name in session.execute(select(Draw.status, Draw.name).where(or_(*late)).order_by(Draw.name)):
        found[status].append(name)
    return found


def _waiting(session: Session) -> dict[str, int]:
    """How many there are of what should not be there, by name."""
    letters = select(DeadLetter.kind, func.count()).where(DeadLetter.status == "waiting").group_by(DeadLetter.kind)
    by_kind = dict(session.execute(letters).all())
    # Of the current result: the steps of a version that was corrected meanwhile stay as they were.
    stopped = select(func.count()).select_from(Draw).join(SettlementStep, SettlementStep.draw_id == Draw.id)
    stopped = stopped.where(Draw.status.in_(("resulted", "settling")), SettlementStep.version == Draw.result_version)
    stopped = stopped.where(SettlementStep.status != "done", SettlementStep.started_at < func.now() - STEP_TAKES)
    long_ago = func.now() - PUSH_TAKES
    counts = {
        "settlement_steps": stopped,
        "retries": select(func.count()).select_from(Retry),
        "intents": select(func.count()).select_from(Intent).where(Intent.status == "asked", Intent.asked_at < long_ago),
        "outbox_rows": select(func.count())
        .select_from(WalletOutbox)
        .where(WalletOutbox.applied_at.is_(None), WalletOutbox.created_at < long_ago),
        "reports": select(func.count())
        .select_from(Report)
        .where(Report.status.in_(UNFINISHED), Report.asked_at < func.now() - REPORTS_TAKE),
    }
    letter_counts = {f"{kind}_letters": by_kind.get(kind, 0) for kind in (RECORD, TASK, MESSAGE)}
    return letter_counts | {what: session.scalar(query) or 0 for what, query in counts.items()}


@shared_task(name="sweep.stuck", bind=True)
def sweep_stuck(self: Task[Any, Any]) -> None:
    """Every half minute."""
    look_for_stuck(self.app.resources)  # whatever the gate's state is
