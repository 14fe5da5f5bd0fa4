"""The calls about draws, games and what is sold, with a body that is right, for whoever makes them."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from sqlalchemy import text

from actions import corrections, games, results, seals, voiding
from tests.api import role_rules as rules
from tests.api.role_rules import WHY, Send, Sent, Step, Walk, Who, just
from tests.api.role_tree import FIRST, WINNER, Tree

CORRECTED = "047"


def of_draw(state: str, **body: Any) -> Send:
    return lambda tree, step: Sent({"draw_id": tree.draw(state, fresh=step.good)}, body or None)


def read_draw(state: str) -> Send:
    return lambda tree, step: Sent({"draw_id": tree.draw(state)})


def sales_of(tree: Tree, step: Step) -> Sent:
    return Sent({"draw_id": tree.draw("open")}, query=f"user_id={step.about().id}")


def new_draw(tree: Tree, step: Step) -> Sent:
    return Sent(body=tree.named())


def moved_cutoff(tree: Tree, step: Step) -> Sent:
    now = tree.res.clock.now()
    times = {"cutoff_at": now + timedelta(days=35), "draws_at": now + timedelta(days=36)}
    body = WHY | {name: at.isoformat() for name, at in times.items()}
    return Sent({"draw_id": tree.draw("scheduled", fresh=step.good)}, body)


def drawn(state: str, number: str, **more: Any) -> Send:
    def send(tree: Tree, step: Step) -> Sent:
        name = tree.draw(state, fresh=step.good)
        when = tree.when(name)
        body = {"number": number, "date": when["date"].isoformat(), "time": f"{when['time']:%H:%M}", **more}
        return Sent({"draw_id": name}, body)

    return send


def confirmed(send: Send, ask: Callable[[Tree, str], Any]) -> Send:
    """What somebody else has asked for before."""

    def second(tree: Tree, step: Step) -> Sent:
        sent = send(tree, step)
        if step.good:
            ask(tree, sent.path["draw_id"])
        return sent

    return second


def asked_result(tree: Tree, name: str) -> None:
    results.enter(tree.res, tree.people[FIRST].id, name, WINNER, **tree.when(name))


def asked_correction(tree: Tree, name: str) -> None:
    corrections.ask(tree.res, tree.people[FIRST].id, name, CORRECTED, **tree.when(name), **WHY)


def asked_void(tree: Tree, name: str) -> None:
    voiding.ask(tree.res, tree.people[FIRST].id, name, **WHY)


def asked_seal(tree: Tree, name: str) -> None:
    seals.ask_late(tree.res, tree.people[FIRST].id, name, **WHY)


def settings_of_game(*, second: bool) -> Send:
    def send(tree: Tree, step: Step) -> Sent:
        body = {"payout_limit": 50_000_000 + uuid.uuid4().int % 1_000_000}
        with tree.res.sessions.begin() as session:
            session.execute(text("DELETE FROM pending_approvals WHERE kind = 'game'"))
        if second:
            games.change(tree.res, tree.people[FIRST].id, "3D", body)
        return Sent({"game": "3D"}, body)

    return send


def _draws() -> list[Walk]:
    draw = "/v1/draws/{draw_id}"
    correction = drawn("resulted", CORRECTED, **WHY)
    limits = of_draw("scheduled", limits=[{"play": "straight", "max": 50_000}])
    return [
        Walk("GET /v1/draws", Who.USER, just()),
        Walk(f"GET {draw}", Who.USER, read_draw("open")),
        Walk("POST /v1/draws", "draw.create", new_draw, 201),
        Walk(f"PATCH {draw}", "draw.move_cutoff", moved_cutoff),
        Walk(f"PUT {draw}/limits", "draw.limits", limits, fresh=True),
        Walk(f"POST {draw}/close", "draw.close", of_draw("open"), 202),
        Walk(f"POST {draw}/void", "draw.void", of_draw("scheduled", **WHY), 202, fresh=True),
        Walk(f"POST {draw}/void/confirm", "draw.void", confirmed(of_draw("scheduled"), asked_void), 202, fresh=True),
        Walk(f"POST {draw}/result", "result.enter", drawn("sealed", WINNER), 202, fresh=True),
        Walk(
            f"POST {draw}/result/confirm",
            "result.enter",
            confirmed(drawn("sealed", WINNER), asked_result),
            202,
            fresh=True,
        ),
        Walk(f"POST {draw}/correction", "correction", correction, 202, fresh=True),
        Walk(f"POST {draw}/correction/confirm", "correction", confirmed(correction, asked_correction), 202, fresh=True),
        Walk(f"GET {draw}/paid-in-error", "paid_in_error.read", read_draw("settled"), fresh=True),
        Walk(f"GET {draw}/settlement", "settlement.read", read_draw("settled")),
        Walk(f"POST {draw}/settle", "settlement.resume", of_draw("resulted"), 202),
        Walk(f"GET {draw}/seal", Who.ANYONE_OR_USER, read_draw("sealed")),
        Walk(f"POST {draw}/seal", "draw.seal_late", of_draw("late", **WHY), 202, fresh=True),
        Walk(f"POST {draw}/seal/confirm", "draw.seal_late", confirmed(of_draw("late"), asked_seal), 202, fresh=True),
        Walk(f"GET {draw}/sales", "sales.read", read_draw("open")),
        Walk(
            f"GET {draw}/sales", "sales.read", sales_of, note="of one", rule=rules.in_subtree, targets=rules.everybody
        ),
        Walk("GET /v1/sales", "sales.read", just()),
        Walk(f"GET {draw}/exposure", "sales.read", read_draw("open")),
        Walk("GET /v1/games/{game}", "game.read", lambda tree, step: Sent({"game": "3D"})),
        Walk("PUT /v1/games/{game}", "game.change", settings_of_game(second=True), note="second", fresh=True),
        Walk(
            "PUT /v1/games/{game}",
            "game.change",
            settings_of_game(second=False),
            202,
            "first",
            rule=rules.superadmin_first,
            fresh=True,
        ),
    ]


WALKS = _draws()
