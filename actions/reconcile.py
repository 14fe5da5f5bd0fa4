"""When a server may have come back with less than it promised: notice it, ask the witnesses, rebuild the gate.

Whoever finds it must hold no position row: rebuilding takes them all. One reconciler works at a time, under the lock
of the one row of `gate_state`.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain

import structlog
from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from actions.journal_copy import count_stored, stored_ids, stored_records
from actions.opening import gate_fields
from actions.resources import Resources
from actions.store_records import DrainStopped, lines_of_ticket
from actions.witnessing import gather
from intake.bets import field
from intake.client import ServerIdentity
from intake.gate_errors import Unreconciled
from intake.rebuild import DrawImage
from intake.records import GapRecord, OpenRecord, Position
from models.draws import Draw
from models.draws import Position as PositionRow
from models.gate_state import GateState, gate_state
from models.people import User, Wallet
from models.settlement import Restoration
from models.tickets import Closing, Ticket, exposure_of, waiting_dead_letters
from rules.tickets import Line

GAP_SERIALS = 1_000  # far more than a server can have promised and lost in its last second

_log = structlog.get_logger()


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
            state.generation += 1
            _rebuild(res, session, state.generation, witnessed, silent)
            state.run_id, state.replid, state.reconciled_at = server.run_id, server.replid, func.now()
            adopted, rebuilt = server._replace(generation=state.generation), True
            # Still under the lock, or a second reconciler would rebuild what sells already. Nobody sells on a
            # generation that is not committed: it is adopted from the database only.
            if res.rebuild.switch_on(state.generation) != adopted:
                raise Unreconciled("the server changed while it was being rebuilt")
    res.rebuild.load_scripts()
    res.adopt(adopted)
    return rebuilt


def _identity(state: GateState) -> ServerIdentity:
    return ServerIdentity(state.run_id or "", state.replid or "", state.generation)


def _rebuild(
    res: Resources, session: Session, generation: int, witnessed: Mapping[str, Position], silent: list[str]
) -> None:
    res.rebuild.fence()
    positions = session.scalars(
        select(PositionRow)
        .join(Draw, Draw.id == PositionRow.draw_id)
        .where(Draw.status.in_(("open", "closed", "voiding")))
        .order_by(PositionRow.draw_id)
        .with_for_update(of=PositionRow)
    ).all()
    spent: dict[int, int] = {}
    for position in positions:
        draw = session.get_one(Draw, position.draw_id)
        image = _rebuild_draw(res, session, draw, position, generation, witnessed.get(draw.name), silent)
        for agent_id, stake in image.spent.items() if image else ():
            spent[agent_id] = spent.get(agent_id, 0) + stake
    wallets = session.execute(select(Wallet, User.status).join(User, User.id == Wallet.user_id)).all()
    res.rebuild.write_wallets(
        (w.user_id, w.balance + w.credit_limit - spent.get(w.user_id, 0), w.outbox_seq, status == "suspended")
        for w, status in wallets
    )
    _log.warning("gate_rebuilt", generation=generation, draws=len(positions), wallets=len(wallets), silent_slots=silent)


def _rebuild_draw(
    res: Resources,
    session: Session,
    draw: Draw,
    row: PositionRow,
    generation: int,
    witnessed: Position | None,
    silent: list[str],
) -> DrawImage | None:
    """One draw's keys from the database, its journal's tail and a gap where something was lost."""
    position = Position(row.serial, row.sub)
    tail = res.rebuild.tail(draw.name, position)
    never_sold = not tail and position == (0, 0)
    if never_sold and not silent and witnessed is None:
        return None  # the gate has never held it, or nobody has been answered: opening comes as usual
    if never_sold:
        tail = [(Position(0, 1), OpenRecord(res.rebuild.now_ms(), draw.name).text().encode())]
    stored = count_stored(session, draw, position)
    if never_sold or res.rebuild.length(draw.name) != stored + len(tail):
        copy = stored_records(session, draw, position) if position > (0, 0) else iter(())
        res.rebuild.rewrite(draw.name, chain(copy, tail))
        session.execute(insert(Restoration).values(draw_id=draw.id, generation=generation, records=stored))
    _declare_gap(res, session, draw, position, tail, witnessed, silent)
    image = _image(session, draw, row, tail)
    fields = gate_fields(session, draw)
    if image.marker is not None:
        fields["latch"] = "closed"
    res.rebuild.write_draw(image, fields, stored_ids(session, draw))
    return image


def _declare_gap(
    res: Resources,
    session: Session,
    draw: Draw,
    position: Position,
    tail: list[tuple[Position, bytes]],
    witnessed: Position | None,
    silent: list[str],
) -> None:
    """Jumps ahead of every serial that may have been answered for and is not here."""
    top = tail[-1][0] if tail else position
    finished = session.get(Closing, draw.id) is not None or (tail and tail[-1][1].startswith(b"z|"))
    if finished or not (silent or (witnessed and witnessed > top)):
        return
    last = max(top.serial, witnessed.serial if witnessed else 0) + GAP_SERIALS
    gap = GapRecord(res.rebuild.now_ms(), top.serial + 1, last)
    res.rebuild.append(draw.name, Position(last, 0), gap.text().encode())
    tail.append((Position(last, 0), gap.text().encode()))
    _log.error(
        "gap_declared",
        draw=draw.name,
        first=gap.first,
        last=gap.last,
        witnessed=str(witnessed),
        silent=silent,
    )


def _image(session: Session, draw: Draw, row: PositionRow, tail: list[tuple[Position, bytes]]) -> DrawImage:
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
    letters = [(Position(d.serial, d.sub), d.record) for d in waiting_dead_letters(session, draw.id)]
    for place, raw in [*letters, *tail]:
        image.add(place, raw, lines_of_ticket=lambda serial: _lines(session, draw, serial))
    return image


def _lines(session: Session, draw: Draw, serial: int) -> tuple[Line, ...]:
    """A stored ticket's lines; none for a void that names no ticket, which the drain will stop at."""
    try:
        return lines_of_ticket(session, draw, serial)
    except DrainStopped:
        return ()
