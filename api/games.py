"""Prices, limits and schedule of games."""

from __future__ import annotations

from api.operation import Blueprint

blueprint = Blueprint("games", __name__, url_prefix="/v1", description="Prices, limits and schedule of games")
