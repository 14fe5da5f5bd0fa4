"""What people are told, and who: each kind with its words and its rooms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, NamedTuple

from rules.rights import Role
from rules.rooms import EVERYBODY, of_role, of_user
from rules.texts import cleaned, pesos

ANNOUNCEMENT = "announcement"
WINNERS = "winners"
LOW_CREDIT = "low_credit"
SOLD_OUT = "number.sold_out"
DEAD_LETTER = "dead_letter"
OUT_OF_BALANCE = "out_of_balance"

DRAW_OPENED, DRAW_CLOSED, DRAW_SEALED = "draw.opened", "draw.closed", "draw.sealed"
DRAW_RESULT, DRAW_SETTLED, DRAW_VOIDED = "draw.result", "draw.settled", "draw.voided"
DRAW_KINDS = (DRAW_OPENED, DRAW_CLOSED, DRAW_SEALED, DRAW_RESULT, DRAW_SETTLED, DRAW_VOIDED)

KINDS = (ANNOUNCEMENT, *DRAW_KINDS, WINNERS, LOW_CREDIT, SOLD_OUT, DEAD_LETTER, OUT_OF_BALANCE)

TITLE_CHARACTERS_MAX = 120
TEXT_CHARACTERS_MAX = 2_000

WHY_CHARACTERS_MAX = 500
# Numbers that a text names; the others are in the data.
NUMBERS_SHOWN = 20

ALL = (EVERYBODY,)
# They run the house.
OFFICE = tuple(of_role(role) for role in (Role.SUPERADMIN, Role.ADMIN, Role.OPERATOR))


class Notice(NamedTuple):
    """Something to be told. `data`: the same for programs, as JSON; `once`: tells it apart from all that was told, so
    that it is told once; `outward`: whether it may leave the house by webhook or mail."""

    kind: str
    title: str
    text: str
    rooms: Sequence[str]
    data: Mapping[str, Any]
    once: str | None = None
    made_by: int | None = None
    outward: bool = True


def draw_state(draw: str, status: str, result: str | None, version: int) -> list[Notice]:
    """That a draw came to a state, if that is told; `version` of its result, 0 if it has none."""
    again = version > 1
    told = {
        "open": (DRAW_OPENED, f"{draw} is open", "Tickets are sold until its cutoff.", ALL),
        "closed": (DRAW_CLOSED, f"{draw} is closed", "No more tickets are sold for it.", ALL),
        "sealed": (DRAW_SEALED, f"{draw} is sealed", "Its result can be entered once it is drawn.", OFFICE),
        "resulted": (DRAW_RESULT, f"Result of {draw}: {result}", f"The number drawn is {result}.", ALL),
        "settled": (
            DRAW_SETTLED,
            f"{draw} is settled{' anew' if again else ''}",
            f"Prizes for {result} can be claimed.",
            ALL,
        ),
        "void": (DRAW_VOIDED, f"{draw} is void", "Every stake was given back.", ALL),
    }
    if again:  # a correction takes a draw straight to settling
        words = f"The number drawn is {result}. Its prizes can be claimed once the draw is settled anew."
        told["settling"] = (DRAW_RESULT, f"Corrected result of {draw}: {result}", words, ALL)
    if status not in told:
        return []
    kind, title, text, rooms = told[status]
    data: dict[str, Any] = {"draw_id": draw}
    if kind in (DRAW_RESULT, DRAW_SETTLED):
        data |= {"result": result, "version": version}
    return [Notice(kind, title, text, rooms, data, f"{kind}:{draw}:{version}")]


def winners(draw: str, version: int, user_id: int, role: Role, tickets: int, prizes: int) -> Notice:
    """How many tickets of an agent, or of those below a coordinator, win under that version, and their prizes.

    None win: under an earlier version some did.
    """
    whose = "yours" if role is Role.AGENT else "your agents"
    text = f"{tickets} {'ticket' if tickets == 1 else 'tickets'} of {whose} won {pesos(prizes)}."
    if version > 1:
        text = f"The result was corrected: {text if tickets else f'no ticket of {whose} wins any more.'}"
    data = {"draw_id": draw, "version": version, "tickets": tickets, "prizes": prizes}
    return Notice(
        WINNERS, f"Winners of {draw}", text, (of_user(user_id),), data, f"{WINNERS}:{draw}:{version}:{user_id}"
    )


def low_credit(user_id: int, username: str, above_id: int | None, available: int, low: int) -> Notice:
    """That an agent has less than `low` centavos left; told to him and to whoever stands right above him."""
    rooms = [of_user(one) for one in (user_id, above_id) if one is not None]
    text = f"{username} has {pesos(available)} left, less than {pesos(low)}."
    return Notice(LOW_CREDIT, f"Low credit: {username}", text, rooms, {"agent_id": user_id, "available": available})


def sold_out(draw: str, bets: Sequence[tuple[str, str]]) -> Notice:
    """That nothing is left of these bets, (play, match key)."""
    names = [f"{play} {key}" for play, key in bets]
    shown, more = names[:NUMBERS_SHOWN], len(names) - NUMBERS_SHOWN
    text = f"No more bets on {', '.join(shown)}{f' and {more} more' if more > 0 else ''}."
    numbers = [{"play": play, "number": key, "left": 0} for play, key in bets]
    return Notice(SOLD_OUT, f"Sold out in {draw}", text, ALL, {"draw_id": draw, "numbers": numbers})


def dead_letter(letter_id: int, kind: str, about: str | None, *, outward: bool = True) -> Notice:
    """That something could not be done; `about`: the draw of a record, the name of a task.

    Without the error: it may name people, and whoever deals with the letter reads it there.
    """
    words = {
        "record": f"The database refused a record of {about}.",
        "task": f"{about} failed for good.",
        "message": "A message came that no worker understood.",
    }
    text = f"{words[kind]} It waits in the dead letters, number {letter_id}."
    data = {"letter_id": letter_id, "kind": kind, "about": about if kind != "message" else None}
    once = f"{DEAD_LETTER}:{letter_id}"
    return Notice(DEAD_LETTER, f"Dead letter {letter_id}", text, OFFICE, data, once, outward=outward)


def out_of_balance(draw: str, where: str, why: str, *, once: str | None = None) -> Notice:
    """That what is stored of a draw contradicts itself; `where`: the step that found it.

    `once`: what the contradiction is, however long: the same one, found again by the same step, is told once.
    """
    key = None
    if once is not None:
        key = f"{OUT_OF_BALANCE}:{draw}:{where}:{sha256(once.encode(errors='backslashreplace')).hexdigest()}"
    why = cleaned(why, WHY_CHARACTERS_MAX)
    data = {"draw_id": draw, "where": where, "why": why}
    return Notice(OUT_OF_BALANCE, f"{draw} is out of balance", f"{where}: {why}", OFFICE, data, key)
