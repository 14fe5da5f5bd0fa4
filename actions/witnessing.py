"""What the API processes answered for, gathered when a server may have come back with less than it promised."""

from __future__ import annotations

import time
from datetime import datetime

from sqlalchemy import delete, select

from actions.resources import Resources
from intake.records import Position
from intake.witness import read_folder
from models.gate_state import (
    WitnessSlot,
    answer_round,
    ask_witnesses,
    gate_state,
    highest_witnessed,
    list_slot,
    silent_slots,
)

SILENCE_S = 2.0
_LOOK_S = 0.1


def list_self(res: Resources) -> None:
    """Makes this process's slot known to reconciles, before it answers for anything."""
    if res.witness is not None:
        with res.sessions.begin() as session:
            list_slot(session, res.witness.slot)


def answer(res: Resources) -> bool:
    """Answers the newest round with what this slot knows, and stops this process's gate until it has reconciled.

    False: there was nothing to answer. Cheap: two short reads.
    """
    if res.witness is None:
        return False
    with res.sessions.begin() as session:
        round_ = gate_state(session).round
        if res.witness.slot not in silent_slots(session, round_):
            return False
        # Whoever asks is about to rebuild. From here on nothing is answered on the old generation, and what was
        # answered by the gate already is noted before it is told.
        res.gate.adopt(None)
        if not res.witness.wait_for_calls(SILENCE_S):
            return False
        answer_round(session, res.witness.slot, round_, dict(res.witness.all()))
        return True


def gather(res: Resources) -> tuple[dict[str, Position], list[str]]:
    """(highest witnessed id by draw, slots that stayed silent), asked now.

    Slots whose process is gone are read from their files; living processes have SILENCE_S to answer.
    """
    list_self(res)
    here = read_folder(res.witness_folder)
    with res.sessions.begin() as session:
        round_ = ask_witnesses(session)
        for slot, seen in here.items():
            list_slot(session, slot)
            answer_round(session, slot, round_, dict(seen))
    answer(res)
    deadline = time.monotonic() + SILENCE_S
    while True:
        with res.sessions() as session:
            silent = silent_slots(session, round_)
            witnessed = highest_witnessed(session)
        if not silent or time.monotonic() >= deadline:
            return {draw: Position(*seen) for draw, seen in witnessed.items()}, silent
        time.sleep(_LOOK_S)


def listed(res: Resources) -> list[tuple[str, datetime]]:
    """(slot, since when) of every slot that a round asks, the oldest first."""
    with res.sessions() as session:
        query = select(WitnessSlot.slot, WitnessSlot.listed_at).order_by(WitnessSlot.listed_at)
        return [(slot, since) for slot, since in session.execute(query)]


def forget(res: Resources, slot: str) -> bool:
    """Asks that slot no more; False: there is none of that name. A living process lists itself again."""
    with res.sessions.begin() as session:
        gone = delete(WitnessSlot).where(WitnessSlot.slot == slot).returning(WitnessSlot.slot)
        return session.execute(gone).first() is not None
