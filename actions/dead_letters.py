"""Records that the database refused: shown, and replayed once the reason is gone."""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import func, select, update
from sqlalchemy.exc import DBAPIError

from actions.resources import Resources
from actions.store_records import DrainStopped, Refused, store
from intake.records import Position
from models.dead_letters import DeadLetter
from models.draws import Draw
from models.draws import Position as PositionRow
from rules.errors import NotFound


class Replay(NamedTuple):
    """Whether the letter's record is stored now, and if not, why."""

    replayed: bool
    reason: str | None


class _StillRefused(Exception):
    def __init__(self, letter: Refused) -> None:
        super().__init__(letter.reason)
        self.reason = letter.reason


def listed(res: Resources, status: str | None = "waiting") -> list[dict[str, Any]]:
    """Dead letters, newest first; None lists all."""
    query = select(DeadLetter, Draw.name).join(Draw, Draw.id == DeadLetter.draw_id).order_by(DeadLetter.id.desc())
    if status is not None:
        query = query.where(DeadLetter.status == status)
    with res.sessions() as session:
        return [_body(letter, name) for letter, name in session.execute(query)]


def one(res: Resources, letter_id: int) -> dict[str, Any]:
    """One dead letter. Raises NotFound."""
    with res.sessions() as session:
        letter = session.get(DeadLetter, letter_id)
        if letter is None:
            raise NotFound
        return _body(letter, session.get_one(Draw, letter.draw_id).name)


def replay(res: Resources, letter_id: int) -> Replay:
    """Stores the record and books it, once; a letter that was replayed already is left alone. Raises NotFound.

    A ticket's void waits until the ticket itself has been replayed.
    """
    try:
        with res.sessions.begin() as session:
            letter = session.get(DeadLetter, letter_id)
            if letter is None:
                raise NotFound
            # The position's lock keeps drains, seals and rebuilds away, and another replay of the same letter.
            session.get_one(PositionRow, letter.draw_id, with_for_update=True)
            session.refresh(letter)
            if letter.status == "replayed":
                return Replay(True, None)
            letter.status, letter.last_at, letter.attempts = "replayed", func.now(), letter.attempts + 1
            letter.ended_at = func.now()
            session.flush()
            draw = session.get_one(Draw, letter.draw_id)
            place, raw = letter.record()
            refused = store(session, draw, [(Position(*place), raw)], keep=False)
            if refused:
                raise _StillRefused(refused[0])
    except (_StillRefused, DrainStopped, DBAPIError) as problem:
        reason = problem.reason if isinstance(problem, _StillRefused) else str(problem)
        with res.sessions.begin() as session:
            values = {"attempts": DeadLetter.attempts + 1, "last_at": func.now(), "error": reason}
            session.execute(update(DeadLetter).where(DeadLetter.id == letter_id).values(values))
        return Replay(False, reason)
    return Replay(True, None)


def _body(letter: DeadLetter, draw: str) -> dict[str, Any]:
    return {
        "id": letter.id,
        "draw_id": draw,
        "position": f"{letter.serial}-{letter.sub}",
        "status": letter.status,
        "reason": letter.error,
        "sqlstate": letter.sqlstate,
        "attempts": letter.attempts,
        "first_at": letter.first_at.isoformat(),
        "last_at": letter.last_at.isoformat(),
        "record": (letter.body or b"").decode(errors="backslashreplace"),
    }
