"""The calls of those who look on, for the walk of roles: live figures."""

from __future__ import annotations

from tests.api import role_rules as rules
from tests.api.role_rules import Sent, Step, Walk
from tests.api.role_tree import Tree


def open_draw(tree: Tree, _: Step) -> Sent:
    return Sent({"draw_id": tree.draw("open")})


def sales_of(tree: Tree, step: Step) -> Sent:
    return Sent({"draw_id": tree.draw("open")}, query=f"user_id={step.about().id}")


_SALES = "GET /v1/draws/{draw_id}/sales"

WATCHING = [
    Walk(_SALES, "sales.read", open_draw),
    Walk(_SALES, "sales.read", sales_of, note="of one", rule=rules.in_subtree, targets=rules.everybody),
    Walk("GET /v1/sales", "sales.read", lambda tree, step: Sent()),
    Walk("GET /v1/draws/{draw_id}/exposure", "sales.read", open_draw),
]
