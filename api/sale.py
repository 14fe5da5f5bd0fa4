"""Decoding sales: msgspec reads a three-line ticket in microseconds, Marshmallow takes twenty times as long.

What is taken is what `api.ticket_schemas.SaleBody` documents; a property test holds the two equal. Of a
repeated key in one JSON object the last counts, but here an earlier one of the wrong type is refused
already.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, NoReturn

import msgspec

from api.bodies import field_errors, parse_json
from api.ticket_schemas import BATCH_TICKETS_MAX, DRAW_ID, NUMBER_CHARACTERS_MAX, UUID, SaleBody, line_errors
from intake.gate import Sale
from rules.errors import FieldError, Invalid, Problem
from rules.limits import LINES_MAX, STAKE_MAX, STAKE_UNIT
from rules.tickets import Line

_Word = Annotated[str, msgspec.Meta(max_length=NUMBER_CHARACTERS_MAX)]


class _Line(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    game: _Word
    play: _Word
    number: _Word
    stake: Annotated[int, msgspec.Meta(ge=STAKE_UNIT, le=STAKE_MAX, multiple_of=STAKE_UNIT)]


class _Sale(msgspec.Struct, forbid_unknown_fields=True):
    id: Annotated[str, msgspec.Meta(pattern=UUID)]
    draw_id: Annotated[str, msgspec.Meta(pattern=DRAW_ID)]
    lines: Annotated[list[_Line], msgspec.Meta(min_length=1, max_length=LINES_MAX)]


class _Batch(msgspec.Struct, forbid_unknown_fields=True):
    tickets: Annotated[list[msgspec.Raw], msgspec.Meta(min_length=1, max_length=BATCH_TICKETS_MAX)]


# What msgspec raises for bytes that are no such thing: its own errors, bad UTF-8, and nesting without end.
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

_read_sale = msgspec.json.Decoder(_Sale).decode
_read_batch = msgspec.json.Decoder(_Batch).decode


def read_sale(raw: bytes | msgspec.Raw, agent_id: int, session: str = "") -> tuple[str, Sale]:
    """(draw's name, sale) of a request's body, sent by the login `session`. Raises Invalid with every bad field."""
    return _sale(_read(raw), agent_id, session)


def _read(raw: bytes | msgspec.Raw) -> _Sale:
    try:
        asked = _read_sale(raw)
    except _UNREADABLE as error:
        _explain(bytes(raw), error)
    if errors := line_errors(asked.draw_id, asked.lines):
        raise Invalid(errors=errors)
    return asked


def _sale(asked: _Sale, agent_id: int, session: str) -> tuple[str, Sale]:
    lines = tuple([Line(line.play, line.number, line.stake) for line in asked.lines])
    return asked.draw_id, Sale(agent_id, hex_of(asked.id), lines, session)


def read_batch(raw: bytes, agent_id: int, session: str = "") -> list[tuple[str | None, tuple[str, Sale] | Problem]]:
    """For each ticket of a batch its id as it was sent (None: it had none), and the sale or what is wrong.

    Raises Invalid when the batch itself cannot be read.
    """
    found: list[tuple[str | None, tuple[str, Sale] | Problem]] = []
    for item in _items(raw):
        try:
            asked = _read(item)
            found.append((asked.id, _sale(asked, agent_id, session)))
        except Invalid as problem:
            found.append((_id_of(item), problem))
    return found


def hex_of(uuid: str) -> str:
    """The 32 lower-case hex digits of a uuid in its 36-character text."""
    return uuid.replace("-", "").lower()


def _items(raw: bytes) -> list[msgspec.Raw] | list[bytes]:
    try:
        return _read_batch(raw).tickets
    except _UNREADABLE as error:
        refusal: Exception = error
    # An escape such as \ud800 in one ticket is JSON, though no text: it must not take the others with it.
    try:
        body = json.loads(raw, parse_constant=_no_constant)
        tickets = msgspec.convert(body, _Shape).tickets
    except (ValueError, msgspec.MsgspecError, RecursionError):
        raise Invalid(errors=[_of_msgspec(refusal)]) from refusal
    return [json.dumps(ticket).encode() for ticket in tickets]


class _Shape(msgspec.Struct, forbid_unknown_fields=True):
    tickets: Annotated[list[Any], msgspec.Meta(min_length=1, max_length=BATCH_TICKETS_MAX)]


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


class _OnlyId(msgspec.Struct):
    id: str | None = None


_read_id = msgspec.json.Decoder(_OnlyId).decode


def _id_of(raw: bytes | msgspec.Raw) -> str | None:
    try:
        return _read_id(raw).id
    except _UNREADABLE:
        return None


def _explain(raw: bytes, error: Exception) -> NoReturn:
    """Says everything that is wrong: msgspec stops at the first mistake, the documented schema goes on."""
    messages = SaleBody().validate(parse_json(raw)) if raw else {"_schema": ["a JSON object is needed"]}
    raise Invalid(errors=list(field_errors(messages)) or [_of_msgspec(error)]) from error


def _of_msgspec(error: Exception) -> FieldError:
    """msgspec's own message: "Expected `int`, got `str` - at `$.lines[0].stake`"."""
    message, _, place = str(error).partition(" - at `$")
    path = place.rstrip("`").replace("[", ".").replace("]", "").strip(".")
    return {"path": path, "message": message}
