"""Live sales and exposure."""

from __future__ import annotations

from typing import Any

from actions import live_figures
from actions.resources import Resources
from api.draws import real_name
from api.figure_schemas import DayQuery, DaySales, DrawSales, Exposure, SalesQuery
from api.operation import Blueprint, operation
from api.tokens import Actor
from rules.errors import IntakeUnavailable, NoSuchDraw, NotFound, TokenRevoked

blueprint = Blueprint("figures", __name__, url_prefix="/v1", description="Live figures")


@operation(
    blueprint,
    "GET /draws/<draw_id>/sales",
    allowed="sales.read",
    query=SalesQuery,
    answers={200: DrawSales},
    problems=[NoSuchDraw, NotFound, TokenRevoked],
)
def draw_sales(res: Resources, actor: Actor, query: dict[str, Any], draw_id: str) -> dict[str, Any]:
    """What has been sold of a draw by you and everyone below you, or by one of them."""
    return live_figures.draw_sales(res, actor.id, real_name(draw_id), **query)


@operation(
    blueprint,
    "GET /sales",
    allowed="sales.read",
    query=DayQuery,
    answers={200: DaySales},
    problems=[NotFound, TokenRevoked],
)
def day_sales(res: Resources, actor: Actor, query: dict[str, Any]) -> dict[str, Any]:
    """A day's sales by draw, by game and by branch."""
    return live_figures.sales_of_day(res, actor.id, **query)


@operation(
    blueprint,
    "GET /draws/<draw_id>/exposure",
    allowed="sales.read",
    answers={200: Exposure},
    problems=[NoSuchDraw, TokenRevoked, IntakeUnavailable],
)
def draw_exposure(res: Resources, actor: Actor, draw_id: str) -> dict[str, Any]:
    """What stands on each number of a draw, the highest first, and what is left of it."""
    return live_figures.exposure(res, actor.id, real_name(draw_id))
