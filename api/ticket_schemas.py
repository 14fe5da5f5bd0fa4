"""What the endpoints about tickets take and answer."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Protocol

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from api.draw_schemas import GAME, PLAY
from api.fields import Answer, Digits, Instant, Line, Page, Whole, list_of, patterned
from rules.errors import FieldError
from rules.games import GAMES, PLAYS, refusal
from rules.limits import LINES_MAX, STAKE_MAX, STAKE_UNIT, stake_refusal
from rules.texts import REASON_CHARACTERS_MAX

BATCH_TICKETS_MAX = 500
NUMBER_CHARACTERS_MAX = 16
# A code has 16 characters; people type dashes and spaces between them.
CODE_CHARACTERS_MAX = 100
# The canonical text of a uuid, in any case; kept in lower case. In OpenAPI ^ and $ stand for \A and \Z.
UUID = r"\A[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\Z"
DRAW_ID = r"\A[0-9A-Z]{1,4}-[0-9]{8}-[0-9]{4}\Z"
TICKET_STATUSES = [
    *("accepted", "voided", "annulled", "refunded", "lost"),
    *("won", "claim_pending", "paid", "expired"),
]


class AskedLine(Protocol):
    """A line as it was asked for."""

    @property
    def game(self) -> str: ...
    @property
    def play(self) -> str: ...
    @property
    def number(self) -> str: ...


def line_errors(draw_id: str, lines: Iterable[AskedLine]) -> list[FieldError]:
    """What the rules say against the lines of a sale to this draw, each under its path."""
    found: list[FieldError] = []
    game = draw_id.partition("-")[0]
    for place, line in enumerate(lines):
        if refused := _line_refusal(game, line.game, line.play, line.number):
            field, message = refused
            found.append({"path": f"lines.{place}.{field}", "message": message})
    return found


@lru_cache(maxsize=8192)  # a thousand numbers, and what people mistype
def _line_refusal(draw_game: str, game: str, play: str, number: str) -> tuple[str, str] | None:
    """(the field that is wrong, why), or None."""
    if game != draw_game or game not in GAMES:
        return "game", "not the game of this draw"
    reason = refusal(game, play, number)
    if reason is None:
        return None
    return ("number" if play in GAMES[game].plays else "play"), reason


class _Given:
    """A line that Marshmallow has read."""

    def __init__(self, line: dict[str, Any]) -> None:
        self.game, self.play, self.number = line["game"], line["play"], line["number"]


class Stake(Whole):
    """Whole pesos, in centavos."""

    def __init__(self) -> None:
        super().__init__(
            required=True, metadata={"minimum": STAKE_UNIT, "maximum": STAKE_MAX, "multipleOf": STAKE_UNIT}
        )

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        stake = super()._deserialize(value, attr, data, **kwargs)
        if reason := stake_refusal(stake):
            raise ValidationError(reason)
        return stake


_WORD = validate.Length(max=NUMBER_CHARACTERS_MAX)


class SaleLine(Schema):
    game = fields.String(required=True, validate=_WORD, metadata={"enum": list(GAMES)})
    play = fields.String(required=True, validate=_WORD, metadata={"enum": list(PLAYS)})
    number = fields.String(required=True, validate=_WORD, metadata={"description": "046 in 3D, 08-20 in 2D"})
    stake = Stake()


class SaleBody(Schema):
    """One ticket to sell. Read by api.sale, which takes and refuses exactly the same."""

    id = patterned(
        UUID,
        format="uuid",
        description="made by the terminal, which keeps it until it has an answer; in any case",
    )
    draw_id = patterned(DRAW_ID, example="3D-20261122-1400")
    lines = fields.List(fields.Nested(SaleLine), required=True, validate=validate.Length(1, LINES_MAX))

    @validates_schema(skip_on_field_errors=True)
    def lines_can_exist(self, data: dict[str, Any], **_: Any) -> None:
        errors: dict[str | int, Any] = {}
        for error in line_errors(data["draw_id"], map(_Given, data["lines"])):
            place, field = error["path"].split(".")[1:]
            errors[int(place)] = {field: [error["message"]]}
        if errors:
            raise ValidationError({"lines": errors})


class BatchBody(Schema):
    """A ticket that is none is refused alone, so that to the batch itself any item will do."""

    tickets = fields.List(
        fields.Raw(metadata={"anyOf": [{"$ref": "#/components/schemas/SaleBody"}, {}], "description": "as sent alone"}),
        required=True,
        validate=validate.Length(1, BATCH_TICKETS_MAX),
    )


class LineBody(Answer):
    game = fields.String(required=True, validate=GAME)
    play = fields.String(required=True, validate=PLAY)
    number = fields.String(required=True)
    stake = fields.Integer(required=True)


class TicketBody(Answer):
    """A ticket; `code` and `qr` only in answers to the agent who sold it."""

    number = fields.String(required=True)
    draw_id = fields.String(required=True)
    serial = fields.Integer(required=True)
    id = fields.UUID(required=True)
    code = fields.String(metadata={"description": "the proof that the holder has the ticket"})
    agent_id = fields.Integer(required=True)
    lines = fields.List(fields.Nested(LineBody), required=True)
    stake = fields.Integer(required=True)
    accepted_at = fields.DateTime(required=True)
    status = fields.String(required=True, validate=validate.OneOf(TICKET_STATUSES))
    qr = fields.String(metadata={"description": "the text to print as QR"})
    available = fields.Integer(required=True, metadata={"description": "the agent's credit after the sale"})


class Receipt(TicketBody):
    code = fields.String(required=True)
    qr = fields.String(required=True)


TicketList = list_of(TicketBody)


class ProblemBody(Answer):
    type = fields.String(required=True)
    title = fields.String(required=True)
    status = fields.Integer(required=True)
    detail = fields.String(required=True)
    code = fields.String(required=True)
    errors = fields.List(fields.Dict(keys=fields.String(), values=fields.String()), required=True)


class BatchItem(Answer):
    id = fields.String(required=True, allow_none=True, metadata={"description": "as it was sent"})
    status = fields.Integer(required=True, metadata={"description": "the HTTP status as if sent alone"})
    receipt = fields.Nested(Receipt)
    error = fields.Nested(ProblemBody)


class BatchAnswer(Answer):
    results = fields.List(fields.Nested(BatchItem), required=True)


class OfDraw(Schema):
    draw_id = patterned(DRAW_ID, example="3D-20261122-1400")


class Cancelled(Answer):
    status = fields.String(required=True, validate=validate.OneOf(["voided", "never_sold"]))


class VoidReason(Schema):
    reason = Line(most=REASON_CHARACTERS_MAX, required=True)


class TicketQuery(Page):
    """`from` and `to` are instants of the sale: from is included, to is not."""

    class Meta:
        include = {  # noqa: RUF012 - as Marshmallow reads it; `from` cannot be a Python name
            "from": Instant(load_default=None),
            "to": Instant(load_default=None),
        }

    draw_id = fields.String(load_default=None, validate=validate.Length(1, 40))
    status = fields.String(load_default=None, validate=validate.OneOf(TICKET_STATUSES))
    agent_id = Digits(load_default=None)
    played = Line(most=NUMBER_CHARACTERS_MAX, load_default=None, metadata={"description": "a number as it was bet"})
    stake = Digits(load_default=None, metadata={"description": "of the whole ticket"})


class CodeQuery(Schema):
    code = fields.String(load_default=None, validate=validate.Length(1, CODE_CHARACTERS_MAX))


class Verified(Answer):
    """A wrong code: `valid` false and nothing else."""

    valid = fields.Boolean(required=True)
    draw = fields.Raw()
    lines = fields.List(fields.Nested(LineBody))
    stake = fields.Integer(allow_none=True, metadata={"description": "null: a winner of an older system"})
    status = fields.String(validate=validate.OneOf(TICKET_STATUSES))
    prize = fields.Integer(allow_none=True)
    inclusion_proof = fields.Dict(allow_none=True)
