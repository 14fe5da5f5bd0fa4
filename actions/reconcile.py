"""When a server may have come back with less than it promised: notice it, ask the witnesses, rebuild the gate.

Whoever finds it must hold no position row: rebuilding takes them all. One reconciler works at a time, under the lock
of the one row of `gate_state`.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta

import structlog
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from actions.ended_logins import remembered_s
from actions.journal_copy import count_stored, stored_ids, stored_records
from actions.opening import gate_fields, number_limits
from actions.resources import Resources
from actions.store_records import DrainStopped, lines_of_ticket
from actions.witnessing import gather
from intake.bets import field
from intake.client import ServerIdentity
from intake.gate_errors import Unreconciled
from intake.rebuild import DrawImage
from intake.records import GapRecord, OpenRecord, Position
from models.dead_letters import annulled_records, waiting_records
from models.draws import Draw
from models.draws import Position as PositionRow
from models.gate_state import GateState, gate_state
from models.logins import Login
from models.people import Wallet, suspended_agents
from models.tickets import Closing, Ticket, exposure_of
from rules.draws import LIVE
from rules.tickets import Line

GAP_SERIALS = 1_000  # far more than a server can have promised and lost in its last second
TOUCH_RECORDS = 10_000

_log = structlog.get_logger()


@dataclass(frozen=True)
class Evidence:
    """What the witnesses know: the highest id by draw's name, and the slots that stayed silent."""

    witnessed: Mapping[str, Position]
    silent: list[str]


def reconcile(res: Resources) -> bool:
    """Makes sure that the gate knows what was promised, and lets this process talk to it. True: it was rebuilt.

    Raises IntakeUnavailable or the database's errors while one of the servers is away; try again then.
    """
    with res.sessions() as session:
        known = _identity(gate_state(session))
    if res.rebuild.identity() == known:
        res.rebuild.load_scripts()
        res.adopt(known)
        return False
    witnessed, silent = gather(res)
    with res.sessions.begin() as session:
        state = gate_state(session, lock=True)
        server = res.rebuild.identity()
        if server == _identity(state):
            adopted, rebuilt = server, False  # another process was faster
        else:
            # A database that was restored has forgotten generations, and what the gate remembers of one must not be
            # taken for another's.
            state.generation = max(state.generation, res.rebuild.highest_generation()) + 1
            mark = res.rebuild.fence()
            _rebuild(res, session, Evidence(witnessed, silent))
            state.run_id, state.replid, state.reconciled_at = server.run_id, server.replid, func.now()
            adopted, rebuilt = server._replace(generation=state.generation), True
            # Still under the lock, or a second reconciler would rebuild what sells already. Nobody sells on a
            # generation that is not committed: it is adopted from the database only.
            if res.rebuild.switch_on(mark, state.generation) != adopted:
                raise Unreconciled("the server changed while it was being rebuilt")
    res.rebuild.load_scripts()
    res.adopt(adopted)
    return rebuilt


def _identity(state: GateState) -> ServerIdentity:
    return ServerIdentity(state.run_id or "", state.replid or "", state.generation)


def _rebuild(res: Resources, session: Session, evidence: Evidence) -> None:
    rows = session.execute(
        select(PositionRow, Draw)
        .join(Draw, Draw.id == PositionRow.draw_id)
        .where(Draw.status.in_(LIVE))
        .order_by(PositionRow.draw_id)
        .with_for_update(of=PositionRow)
    ).all()
    res.rebuild.forget_others({draw.name for _, draw in rows})
    spent: dict[int, int] = {}
    for position, draw in rows:
        image = _rebuild_draw(res, session, draw, position, evidence)
        for agent_id, stake in image.spent.items() if image else ():
            spent[agent_id] = spent.get(agent_id, 0) + stake
    suspended = suspended_agents(session)
    wallets = session.scalars(select(Wallet)).all()
    res.rebuild.write_wallets(
        (w.user_id, w.balance + w.credit_limit - spent.get(w.user_id, 0), w.outbox_seq, w.user_id in suspended)
        for w in wallets
    )
    lifetime_s = remembered_s(res)
    ended = select(Login.id).where(Login.ended_at > func.now() - timedelta(seconds=lifetime_s))
    res.rebuild.write_ended(map(str, session.scalars(ended)), lifetime_s)
    _log.warning("gate_rebuilt", draws=len(rows), wallets=len(wallets), silent_slots=evidence.silent)


def _rebuild_draw(
    res: Resources, session: Session, draw: Draw, row: PositionRow, evidence: Evidence
) -> DrawImage | None:
    """One draw's keys from the database, its journal's tail and a gap where something was lost."""
    position = Position(row.serial, row.sub)
    witnessed = evidence.witnessed.get(draw.name)
    res.rebuild.drop_what_is_no_journal(draw.name)
    never_sold = position == (0, 0) and next(res.rebuild.tail(draw.name, position), None) is None
    if never_sold:
        if witnessed is None and not evidence.silent:
            return None  # the gate has never held it, or nobody has been answered: opening comes as usual
        opened = OpenRecord(res.rebuild.now_ms(), draw.name).text().encode()
        res.rebuild.rewrite(draw.name, [(Position(0, 1), opened, False)])
    image = _image(session, draw, row)
    tail_records = 0
    for place, raw in res.rebuild.tail(draw.name, position):
        image.add(place, raw, lines_of_ticket=lambda serial: _lines(session, draw, serial))
        tail_records += 1
        if tail_records % TOUCH_RECORDS == 0:
            session.execute(text("SELECT 1"))  # a long tail must not look like a transaction left open
    if res.rebuild.length(draw.name) != count_stored(session, draw, position) + tail_records:
        res.rebuild.rewrite(draw.name, _completed(res, session, draw, position))
    _declare_gap(res, draw, image, witnessed, evidence.silent)
    latch, last_ms = res.rebuild.surviving(draw.name)
    image.last_ms = max(image.last_ms, last_ms)
    fields = gate_fields(session, draw)
    # What was closed stays closed, whoever closed it: the gate's own latch outlives every rebuild.
    fields["latch"] = fields["latch"] or latch or ("closed" if image.marker is not None else "")
    res.rebuild.write_draw(image, fields, number_limits(draw), stored_ids(session, draw))
    return image


def _completed(
    res: Resources, session: Session, draw: Draw, position: Position
) -> Iterator[tuple[Position, bytes, bool]]:
    """The journal with what it lacks from the database. What it still holds is kept, or a seal would compare the
    database with itself."""
    held = res.rebuild.held(draw.name, position)
    stored = ((place, raw, True) for place, raw in stored_records(session, draw, position))
    last = None
    for entry in heapq.merge(held, stored, key=lambda entry: entry[0]):  # stable: the journal's own comes first
        if entry[0] != last:
            yield entry
        last = entry[0]
    for place, raw in res.rebuild.tail(draw.name, position):
        yield place, raw, False


def _declare_gap(res: Resources, draw: Draw, image: DrawImage, witnessed: Position | None, silent: list[str]) -> None:
    """Jumps ahead of every serial that may have been answered for and is not here."""
    if image.marker is not None or not (silent or (witnessed and witnessed > image.top)):
        return
    last = max(image.top.serial, witnessed.serial if witnessed else 0) + GAP_SERIALS
    gap = GapRecord(res.rebuild.now_ms(), image.top.serial + 1, last)
    raw = gap.text().encode()
    res.rebuild.append(draw.name, Position(last, 0), raw)
    image.add(Position(last, 0), raw, lines_of_ticket=lambda _: ())
    _log.error("gap_declared", draw=draw.name, first=gap.first, last=gap.last, witnessed=str(witnessed), silent=silent)


def _image(session: Session, draw: Draw, row: PositionRow) -> DrawImage:
    """The draw as far as its position, with the dead letters that keep their places."""
    sums = {"tickets": row.tickets, "stake": row.stake, "voids": row.voids, "voided_stake": row.voided_stake}
    exposure = {field(draw.game, play, key): stake for (play, key), stake in exposure_of(session, draw.id).items()}
    image = DrawImage(draw.name, Position(row.serial, row.sub), sums, exposure)
    last = session.scalar(
        select(Ticket.accepted_at)
        .where(Ticket.draw_date == draw.date, Ticket.draw_id == draw.id)
        .order_by(Ticket.serial.desc())
        .limit(1)
    )
    image.last_ms = round(last.timestamp() * 1000) if last else 0
    closing = session.get(Closing, draw.id)
    if closing is not None:
        image.marker = Position(closing.serial, closing.sub)
    for letter in waiting_records(session, draw.id):
        place, raw = letter.record()
        image.add(Position(*place), raw, lines_of_ticket=lambda serial: _lines(session, draw, serial))
    for letter in annulled_records(session, draw.id):
        place, raw = letter.record()
        image.add(Position(*place), raw, lines_of_ticket=lambda _: (), annulled=True)
    return image


def _lines(session: Session, draw: Draw, serial: int) -> tuple[Line, ...]:
    """A stored ticket's lines; none for a void that names no ticket, which the drain will stop at."""
    try:
        return lines_of_ticket(session, draw, serial)
    except DrainStopped:
        return ()
