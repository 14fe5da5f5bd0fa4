"""Prices, limits and schedule of games."""

from __future__ import annotations

from typing import Any

from actions import games
from actions.resources import Resources
from api.game_schemas import GameAsked, GameBody, GameChange
from api.operation import Blueprint, operation
from api.tokens import Actor
from rules.errors import ContentsDiffer, NotFound

blueprint = Blueprint("games", __name__, url_prefix="/v1", description="Prices, limits and schedule of games")


@operation(blueprint, "GET /games/<game>", allowed="game.read", answers={200: GameBody}, problems=[NotFound])
def get_game(res: Resources, _: Actor, game: str) -> dict[str, Any]:
    """What draws that are not open yet will have."""
    return games.one(res, game)


@operation(
    blueprint,
    "PUT /games/<game>",
    allowed="game.change",
    fresh=True,
    body=GameChange,
    answers={200: GameBody, 202: GameAsked},
    problems=[NotFound, ContentsDiffer],
)
def change_game(res: Resources, actor: Actor, body: dict[str, Any], game: str) -> tuple[dict[str, Any], int]:
    """Change what draws that are not open yet will have: a superadmin asks (202), another administrator sends the
    same (200). What is left out stays as it is.
    """
    status, answer = games.change(res, actor.id, game, body)
    return answer, status
