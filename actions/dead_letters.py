"""What could not be done, as people deal with it: listed, looked at, replayed, discarded with a reason.

Annulling a ticket is two persons' affair: actions/annulling.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.orm import Session

from actions.annulled import understood
from actions.audit import record
from actions.failures import ARGUMENTS_BYTES_MAX
from actions.pages import cursor_after, place_of
from actions.receipts import hyphenated
from actions.resources import Resources
from actions.store_records import DrainStopped, store
from intake.doorbell import DEFAULT_QUEUE, QUEUES
from intake.records import Position, TicketRecord, VoidRecord
from models.base import BIGINT_MAX
from models.dead_letters import RECORD, TASK, DeadLetter, LetterFilter, Retry, letters_page
from models.draws import Draw, PendingApproval
from models.draws import Position as PositionRow
from rules.errors import NotFound, TicketNotDiscardable, WrongState
from rules.tickets import ticket_number

ANNUL = "annul"  # the kind of the two persons' request

CHANGE = "dead_letters.change"  # in the audit log

_WHAT = {"v": "void", "c": "cancel"}


class Replay(NamedTuple):
    """Whether it is done, or will be tried again by a worker; and if not, why."""

    replayed: bool
    reason: str | None


class _StillRefused(Exception):
    """The database's reason."""


# ── looking ─────────────────────────────────────────────────────────────────────────────────────────────────


def page(res: Resources, wanted: LetterFilter, limit: int, cursor: str | None = None) -> dict[str, Any]:
    """{"items", "next"} of dead letters, newest first, without bodies and tracebacks. Raises Invalid (cursor)."""
    before = place_of(cursor)
    with res.sessions() as session:
        rows = letters_page(session, wanted, limit + 1, before)
        items = _bodies(session, rows[:limit])
    return {"items": items, "next": cursor_after(rows, limit, lambda row: row[0].id)}


def one(res: Resources, letter_id: int) -> dict[str, Any]:
    """One dead letter with all that is known of it. Raises NotFound."""
    with res.sessions() as session:
        return shown(session, found(session, letter_id))


def shown(session: Session, letter: DeadLetter) -> dict[str, Any]:
    """The letter with its body and traceback."""
    name = session.get_one(Draw, letter.draw_id).name if letter.draw_id is not None else None
    (item,) = _bodies(session, [(letter, name)])
    body = letter.body.decode(errors="backslashreplace") if letter.body is not None else None
    return item | {"body": body, "traceback": letter.traceback}


def found(session: Session, letter_id: int, *, lock: bool = False) -> DeadLetter:
    """The letter of that number. Raises NotFound."""
    letter = session.get(DeadLetter, letter_id, with_for_update=lock) if letter_id <= BIGINT_MAX else None
    if letter is None:
        raise NotFound
    return letter


def about(letter_id: int) -> str:
    """What the letter is called in the audit log and where two persons decide."""
    return f"dead_letter:{letter_id}"


def _bodies(session: Session, rows: Iterable[tuple[DeadLetter, str | None]]) -> list[dict[str, Any]]:
    rows = list(rows)
    asked = select(PendingApproval).where(
        PendingApproval.kind == ANNUL, PendingApproval.object.in_([about(letter.id) for letter, _ in rows])
    )
    requests = {request.object: request for request in session.scalars(asked)}
    return [_body(letter, draw, requests.get(about(letter.id))) for letter, draw in rows]


def _body(letter: DeadLetter, draw: str | None, request: PendingApproval | None) -> dict[str, Any]:
    return {
        "id": letter.id,
        "kind": letter.kind,
        "status": letter.status,
        "queue": letter.queue,
        "task": letter.task,
        "arguments": letter.arguments,
        "draw_id": draw,
        "position": f"{letter.serial}-{letter.sub}" if draw is not None else None,
        "record": _record(letter, draw) if draw is not None else None,
        "error": letter.error,
        "sqlstate": letter.sqlstate,
        "attempts": letter.attempts,
        "first_at": letter.first_at.isoformat(),
        "last_at": letter.last_at.isoformat(),
        "annul": request and _request(request),
        "ended_by": letter.ended_by,
        "ended_at": letter.ended_at and letter.ended_at.isoformat(),
        "reason": letter.end_reason,
    }


def _record(letter: DeadLetter, draw: str) -> dict[str, Any] | None:
    """What a record is about: a ticket, or the void of one; None for what nobody can read, and for other records."""
    place, raw = letter.record()
    read = understood(Position(*place), raw)
    if not isinstance(read, TicketRecord | VoidRecord):
        return None
    serial = place[0] if isinstance(read, TicketRecord) else read.ticket_serial
    return {
        "what": "ticket" if isinstance(read, TicketRecord) else _WHAT[read.kind],
        "number": ticket_number(draw, serial) if serial else None,
        "id": hyphenated(read.id),
        "agent_id": read.agent_id,
        "stake": read.stake,
    }


def _request(request: PendingApproval) -> dict[str, Any]:
    return {
        "asked_by": request.asked_by,
        "asked_at": request.asked_at.isoformat(),
        "reason": request.content["reason"],
        "confirmed_by": request.content.get("confirmed_by"),
    }


# ── replaying, discarding ───────────────────────────────────────────────────────────────────────────────────


def replay(res: Resources, letter_id: int, actor_id: int | None = None) -> Replay:
    """Stores the record now, or has the task tried again; a letter that was replayed already is left alone.

    A ticket's void waits until the ticket itself has been replayed. A task that fails again gets a letter of its own.
    `actor_id`: None at the command line. Raises NotFound, WrongState (annulled or discarded), and the errors of a
    database that is away.
    """
    with res.sessions() as session:
        kind = found(session, letter_id).kind
    return (_replay_record if kind == RECORD else _replay_task)(res, letter_id, actor_id)


def discard(res: Resources, letter_id: int, reason: str, actor_id: int | None = None) -> None:
    """Gives up a task or a message; one that was discarded already is left alone.

    Raises NotFound, TicketNotDiscardable, WrongState (replayed).
    """
    with res.sessions.begin() as session:
        letter = found(session, letter_id, lock=True)
        if letter.kind == RECORD:
            raise TicketNotDiscardable
        if letter.status != "discarded":
            must_wait(letter)
            end(session, letter, "discarded", actor_id, reason)


def must_wait(letter: DeadLetter) -> None:
    """Raises WrongState unless nobody has dealt with the letter yet."""
    if letter.status != "waiting":
        raise WrongState(f"The letter is {letter.status}.")


def end(
    session: Session, letter: DeadLetter, status: str, actor_id: int | None, reason: str | None, **more: Any
) -> None:
    """Ends a waiting letter, with its row in the audit log; `more` stands there, too."""
    letter.status, letter.ended_by, letter.ended_at, letter.end_reason = status, actor_id, func.now(), reason
    session.flush()
    after = {"status": status, "reason": reason, **more}
    record(session, CHANGE, about(letter.id), {"status": "waiting"}, {k: v for k, v in after.items() if v is not None})


def lock_position(session: Session, letter: DeadLetter) -> PositionRow:
    """Keeps drains, seals and rebuilds away, and whoever else deals with a record of its draw; the letter anew."""
    position = session.get_one(PositionRow, letter.draw_id, with_for_update=True)
    session.refresh(letter)
    return position


def ring_for_draw(res: Resources, name: str) -> None:
    """What waits for a draw's last letter goes on."""
    res.doorbell.ring("draws.seal", name)
    res.doorbell.ring("draws.void", name)


def _replay_record(res: Resources, letter_id: int, actor_id: int | None) -> Replay:
    try:
        with res.sessions.begin() as session:
            letter = found(session, letter_id)
            lock_position(session, letter)
            if letter.status == "replayed":
                return Replay(True, None)
            must_wait(letter)
            letter.last_at, letter.attempts = func.now(), letter.attempts + 1
            end(session, letter, "replayed", actor_id, None)
            session.execute(delete(PendingApproval).where(PendingApproval.object == about(letter_id)))
            draw = session.get_one(Draw, letter.draw_id)
            name, (place, raw) = draw.name, letter.record()
            records = [(Position(*place), raw)]
            refused = store(session, draw, records, low_credit=res.settings.low_credit, keep=False)
            if refused:
                raise _StillRefused(refused[0].reason)
    except (OperationalError, InterfaceError):
        raise  # that says nothing about the record
    except (_StillRefused, DrainStopped, DBAPIError) as problem:
        reason = str(problem.orig) if isinstance(problem, DBAPIError) else str(problem)
        with res.sessions.begin() as session:
            values = {"attempts": DeadLetter.attempts + 1, "last_at": func.now(), "error": reason}
            mine = (DeadLetter.id == letter_id, DeadLetter.status == "waiting")
            session.execute(update(DeadLetter).where(*mine).values(values))
        return Replay(False, reason)
    ring_for_draw(res, name)
    return Replay(True, None)


def _replay_task(res: Resources, letter_id: int, actor_id: int | None) -> Replay:
    with res.sessions.begin() as session:
        letter = found(session, letter_id, lock=True)
        if letter.status == "replayed":
            return Replay(True, None)
        must_wait(letter)
        task, arguments = letter.task or "", letter.arguments if letter.kind == TASK else _arguments(letter.body)
        if letter.kind != TASK and task not in QUEUES:
            return Replay(False, f"no worker is rung for {task[:80]!r}; discard it")
        if arguments is None:
            return Replay(False, "its body holds no list of arguments; discard it")
        _try_again(session, letter, task, arguments)
        end(session, letter, "replayed", actor_id, None)
    res.doorbell.ring(task, *arguments, again=True)
    return Replay(True, None)


def _try_again(session: Session, letter: DeadLetter, task: str, arguments: Sequence[Any]) -> None:
    """Due at once: if the ring is lost, a sweep rings for it again."""
    again = {"attempts": 0, "failures": 0, "losses": 0, "due_at": func.now()}
    again |= {"error": letter.error, "traceback": letter.traceback}
    asked = {"task": task, "arguments": list(arguments), "queue": QUEUES.get(task, DEFAULT_QUEUE)}
    statement = insert(Retry).values(**asked, **again)
    session.execute(statement.on_conflict_do_update(index_elements=["task", "arguments"], set_=again))


def _arguments(body: bytes | None) -> list[Any] | None:
    """A message's arguments, plain numbers and lines of text; None: its body is not one that a worker would take."""
    try:
        arguments, keywords, _ = json.loads(body or b"")
    except (ValueError, TypeError, RecursionError):
        return None
    if not isinstance(arguments, list) or keywords != {}:
        return None
    plain = all(type(one) is int or (isinstance(one, str) and one.isprintable()) for one in arguments)
    return arguments if plain and len(body or b"") <= ARGUMENTS_BYTES_MAX else None
