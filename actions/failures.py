"""What failed is kept in PostgreSQL before anything about it is acknowledged: as a retry, or as a dead letter.

A retry says when the step is tried next; until then it is held back, however often it is rung for. A dead letter
waits for a person, but the step is still tried now and then when something rings for it, and once it succeeds the
letter ends by itself. All times are the database's.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import orjson
import structlog
from sqlalchemy import ColumnElement, and_, delete, func, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, sessionmaker

from actions.failure_kinds import AWAY, LOST, PERMANENT, Failure, Message, NotKept, failure_of, said
from intake.doorbell import AGAIN_S
from models.dead_letters import MESSAGE, TASK, DeadLetter, Retry
from models.deliveries import DELIVER
from models.notifications import tell
from rules.notifications import dead_letter
from runtime import metrics

# How often a step is tried before it becomes a dead letter; without end while a part is away.
TRIES_MAX = 8
LOSSES_MAX = 3

# Seconds to the next try: 1, 2, 4 … up to this, each less up to a half of it, so that not all come back at once …
PAUSE_MAX_S = 60
# … and up to this where a part is away, and for a step without arguments: it serves all, and must not leave the
# others waiting for one draw's trouble. A step with a dead letter is tried again after its longest pause.
SHORT_PAUSE_MAX_S = 5

# The most that the tables' indexes take, with room to spare.
ARGUMENTS_BYTES_MAX = 1_000

RETRY, DEAD = "retry", "dead"
BY_ITSELF = "It succeeded by itself."

# Asked before every task: as text it costs half of what it costs as expressions.
_HELD_BACK = text("""
    SELECT due_at > now() FROM retries WHERE task = :task AND arguments = CAST(:arguments AS jsonb)
    UNION ALL
    SELECT last_at > now() - make_interval(secs => :pause) FROM dead_letters
    WHERE kind = 'task' AND status = 'waiting' AND task = :task AND arguments = CAST(:arguments AS jsonb)
""")

Result = TypeVar("Result")

_log = structlog.get_logger()


class HeldBack(Exception):
    """The step failed lately, and it is not time to try it again."""


def attempt(
    sessions: sessionmaker[Session],
    task: str,
    arguments: Sequence[Any],
    queue: str,
    run: Callable[[], Result],
    *,
    again: bool = False,
    passes: tuple[type[Exception], ...] = (),
) -> Result:
    """Runs the step and notes how it went. Raises HeldBack without a run, unless it is time `again`.

    Raises what `run` raises once that is kept, and NotKept if it cannot be; `passes` are the caller's own affair.
    """
    known = _known(sessions, task, arguments)
    if known and not again:
        raise HeldBack(task)
    try:
        result = run()
    except passes:
        raise
    except Exception as error:
        failure = failure_of(error, task, arguments, queue)
        try:
            note_failure(sessions, failure)
        except Exception as problem:
            raise NotKept(failure, said(problem)) from error
        raise
    if known is not None:
        try:
            note_success(sessions, task, arguments)
        except Exception as problem:  # it is tried once more then, which does no harm
            _log.warning("success_not_noted", task=task, arguments=arguments, error=said(problem))
    return result


def _known(sessions: sessionmaker[Session], task: str, arguments: Sequence[Any]) -> bool | None:
    try:
        return held_back(sessions, task, arguments)
    except Exception as problem:
        # Not a reason to leave the step undone: the watch over the gate's memory goes on without PostgreSQL.
        _log.warning("retries_not_seen", task=task, error=said(problem))
        return None


def held_back(sessions: sessionmaker[Session], task: str, arguments: Sequence[Any]) -> bool | None:
    """Whether the step has to wait because of how it failed; None if it has not failed."""
    if not _storable(arguments):
        return None
    key = {"task": task, "arguments": json.dumps(arguments), "pause": _pause_max(arguments)}
    with sessions() as session:
        found = session.scalars(_HELD_BACK, key).all()
    return any(found) if found else None


def note_failure(sessions: sessionmaker[Session], failure: Failure) -> str:
    """Keeps the failure as a retry with the time of the next try, or as a dead letter; which of them.

    It counts towards a letter that waits for the same task and arguments. Arguments that PostgreSQL cannot hold as a
    key make a message of it. Raises the database's errors; then nothing is kept.
    """
    if not _storable(failure.arguments):
        body = _shown(failure.arguments).encode()
        note_message(sessions, Message(failure.queue, failure.task, body, failure.error, failure.traceback))
        metrics.note_failure(failure.task, failure.kind)
        return DEAD
    becomes = DEAD
    with sessions.begin() as session:
        # One at a time for each step: two that fail at once make one row.
        _lock(session, failure.task + json.dumps(failure.arguments))
        if not _add_to_letter(session, failure):
            if _try_again(session, failure):
                becomes = RETRY
            else:
                _make_letter(session, failure)
    metrics.note_failure(failure.task, failure.kind)
    if becomes == DEAD:
        metrics.note_dead_letter(TASK)
        _log.error("dead_letter", task=failure.task, arguments=failure.arguments, error=failure.error)
    return becomes


def _add_to_letter(session: Session, failure: Failure) -> bool:
    """Counts the failure in the letter that waits, if one does. Its reason stays if now only a part is away."""
    more: dict[str, Any] = {"attempts": DeadLetter.attempts + 1, "last_at": func.now()}
    if failure.kind != AWAY:
        more |= _texts(failure)
    letter = update(DeadLetter).where(_waiting_letter(failure.task, failure.arguments)).values(more)
    if session.execute(letter.returning(DeadLetter.id)).first() is None:
        return False
    session.execute(delete(Retry).where(_of(Retry, failure.task, failure.arguments)))
    return True


def _try_again(session: Session, failure: Failure) -> bool:
    """Counts the failure and sets the time of the next try; False: there is to be none."""
    counted, lost = int(failure.kind != AWAY), int(failure.kind == LOST)
    first = {"task": failure.task, "arguments": list(failure.arguments), "due_at": func.now(), "attempts": 1}
    more = {
        "attempts": Retry.attempts + 1,
        "failures": Retry.failures + counted,
        "losses": Retry.losses + lost,
        "last_at": func.now(),
        **_texts(failure),
    }
    row = session.execute(
        insert(Retry)
        .values(failures=counted, losses=lost, **first, **_texts(failure))
        .on_conflict_do_update(index_elements=[Retry.task, Retry.arguments], set_=more)
        .returning(Retry.attempts, Retry.failures, Retry.losses)
    ).one()
    if failure.kind == PERMANENT or row.losses >= LOSSES_MAX or row.failures >= TRIES_MAX:
        return False
    away = failure.kind == AWAY
    longest = SHORT_PAUSE_MAX_S if away else _pause_max(failure.arguments)
    due_at = func.now() + _seconds(pause_s(row.attempts if away else row.failures, longest))
    session.execute(update(Retry).where(_of(Retry, failure.task, failure.arguments)).values(due_at=due_at))
    return True


def _make_letter(session: Session, failure: Failure) -> None:
    over = delete(Retry).where(_of(Retry, failure.task, failure.arguments))
    row = session.execute(over.returning(Retry.attempts, Retry.first_at)).one()
    key = {"kind": TASK, "task": failure.task, "arguments": list(failure.arguments)}
    letter = insert(DeadLetter).values(**key, **row._mapping, **_texts(failure)).returning(DeadLetter.id)
    letter_id = session.execute(letter).scalar_one()
    # What nobody outside could be told is told inside the house alone, or it would go round for ever.
    tell(session, [dead_letter(letter_id, TASK, failure.task, outward=failure.task != DELIVER)])


def pause_s(failed: int, longest_s: float) -> float:
    """Seconds to wait after the `failed`-th failure."""
    return min(longest_s, 2.0 ** min(failed - 1, 10)) * random.uniform(0.5, 1)


def _pause_max(arguments: Sequence[Any]) -> int:
    return PAUSE_MAX_S if arguments else SHORT_PAUSE_MAX_S


def note_success(sessions: sessionmaker[Session], task: str, arguments: Sequence[Any]) -> None:
    """Ends the step's retry and its letter. Raises the database's errors."""
    with sessions.begin() as session:
        succeeded(session, task, arguments)


def succeeded(session: Session, task: str, arguments: Sequence[Any]) -> None:
    """The same in the caller's transaction: for a long step that got ahead, whatever becomes of the rest."""
    ended = {"status": "replayed", "ended_at": func.now(), "end_reason": BY_ITSELF}
    session.execute(update(DeadLetter).where(_waiting_letter(task, arguments)).values(ended))
    session.execute(delete(Retry).where(_of(Retry, task, arguments)))


def note_message(sessions: sessionmaker[Session], message: Message) -> None:
    """Keeps a message that nobody understands; one that comes again counts as one. Raises the database's errors."""
    task = None if message.task is None else _text(message.task)
    texts = {"error": _text(message.error), "traceback": _text(message.traceback)}
    key = {"kind": MESSAGE, "queue": _text(message.queue), "task": task, "body": message.body}
    with sessions.begin() as session:
        _lock(session, str((key["queue"], task, message.body)))
        same = and_(*(getattr(DeadLetter, name).is_not_distinct_from(value) for name, value in key.items()))
        more = {"attempts": DeadLetter.attempts + 1, "last_at": func.now(), **texts}
        letter = update(DeadLetter).where(same, DeadLetter.status == "waiting").values(more)
        if session.execute(letter.returning(DeadLetter.id)).first() is None:
            letter_id = session.execute(insert(DeadLetter).values(**key, **texts).returning(DeadLetter.id)).scalar_one()
            tell(session, [dead_letter(letter_id, MESSAGE, None)])
    metrics.note_dead_letter(MESSAGE)
    _log.error("dead_letter", queue=message.queue, task=message.task, error=message.error)


def due(sessions: sessionmaker[Session], limit: int) -> list[tuple[str, list[Any]]]:
    """(task, arguments) of retries whose time has come. Each is due again in AGAIN_S, should its ring be lost."""
    key = tuple_(Retry.task, Retry.arguments)
    ready = select(Retry.task, Retry.arguments).where(Retry.due_at <= func.now()).order_by(Retry.due_at).limit(limit)
    lease = update(Retry).where(key.in_(ready.with_for_update(skip_locked=True)))
    lease = lease.values(due_at=func.now() + _seconds(AGAIN_S)).execution_options(synchronize_session=False)
    with sessions.begin() as session:
        leased = session.execute(lease.returning(Retry.task, Retry.arguments))
        return [(row.task, row.arguments) for row in leased]


def _of(table: type[Retry] | type[DeadLetter], task: str, arguments: Sequence[Any]) -> ColumnElement[bool]:
    return and_(table.task == task, table.arguments == list(arguments))


def _waiting_letter(task: str, arguments: Sequence[Any]) -> ColumnElement[bool]:
    waiting = and_(DeadLetter.kind == TASK, DeadLetter.status == "waiting")
    return and_(waiting, _of(DeadLetter, task, arguments))


def _seconds(number: float) -> Any:
    return func.make_interval(0, 0, 0, 0, 0, 0, number)


def _lock(session: Session, key: str) -> None:
    session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(key, 0))))


def _texts(failure: Failure) -> dict[str, str | None]:
    return {"queue": failure.queue, "error": _text(failure.error), "traceback": _text(failure.traceback)}


def _text(text: Any) -> Any:
    """Text without what PostgreSQL refuses in a text: NUL, and halves of characters."""
    return None if text is None else text.replace("\0", "\\0").encode(errors="backslashreplace").decode()


def _shown(arguments: Sequence[Any]) -> str:
    """Arguments that are no key, as a message's body, for people to read: whatever they are, they can be kept."""
    try:
        return json.dumps([arguments, {}, {}], default=repr)
    except (TypeError, ValueError, RecursionError) as problem:
        return f"arguments that cannot be written down: {said(problem)}"


def _storable(arguments: Sequence[Any]) -> bool:
    """Whether the tables can hold the arguments, and find them again, and answers can show them."""
    try:
        text = json.dumps(arguments, ensure_ascii=False, allow_nan=False).encode()
        orjson.dumps(arguments)  # which knows no longer integers and no deeper lists than other programs do
    except (TypeError, ValueError, RecursionError):
        return False
    return len(text) <= ARGUMENTS_BYTES_MAX and rb"\u0000" not in text
