"""Every call of the API, with a body that is right, for whoever makes it."""

from __future__ import annotations

import uuid
from typing import Any

import pyotp

from actions import annulling, holds, totp
from rules.rights import Role
from tests.api import role_calls_draws as draws
from tests.api import role_calls_reports as reports
from tests.api import role_calls_told as told
from tests.api import role_rules as rules
from tests.api.conftest import PASSWORD, sale
from tests.api.role_rules import WHY, Send, Sent, Step, Walk, Who, just
from tests.api.role_tree import FIRST, LIMIT, WINNER, Tree

_SWAGGER = {"path": "swagger-ui.css"}


def of_user(**body: Any) -> Send:
    """About the target; each call with a key of its own, which only two of them read."""

    def send(tree: Tree, step: Step) -> Sent:
        return Sent({"user_id": step.about().id}, body or None, headers={"Idempotency-Key": uuid.uuid4().hex})

    return send


# ── people ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def new_user(role: Role) -> Send:
    def send(tree: Tree, step: Step) -> Sent:
        name = f"n{uuid.uuid4().hex[:16]}"
        return Sent(body={"username": name, "password": PASSWORD, "role": role, "parent_id": step.about().id})

    return send


def suspended_user(tree: Tree, step: Step) -> Sent:
    if step.good:
        tree.set_status(step.about(), "suspended")
    return Sent({"user_id": step.about().id})


def session_of_user(tree: Tree, step: Step) -> Sent:
    return Sent({"user_id": step.about().id, "sid": tree.log_in(step.about())})


def credentials(tree: Tree, step: Step) -> Sent:
    return Sent(body={"username": (step.actor or tree.people[FIRST]).username, "password": PASSWORD})


def refresh_token(tree: Tree, step: Step) -> Sent:
    return Sent(token=tree.tokens(step.actor, fresh=False)["refresh_token"] if step.actor else None)


def one_time_code(tree: Tree, step: Step) -> Sent:
    if step.actor is None:
        return Sent(body={"otp": "123456"})
    secret = totp.start(tree.res, step.actor.id)["secret"]
    return Sent(body={"otp": pyotp.TOTP(secret).now()})


# ── tickets and claims ──────────────────────────────────────────────────────────────────────────────────────────────


def one_sale(tree: Tree) -> dict[str, Any]:
    return sale(tree.draw("open"), ("straight", WINNER, 100))


def of_ticket(query: str = "", **body: Any) -> Send:
    return lambda tree, step: Sent({"number": tree.sold(step.about())["number"]}, body or None, query)


def ticket_by_id(*, body: bool) -> Send:
    def send(tree: Tree, step: Step) -> Sent:
        ticket = tree.sold(step.about())
        asked = {"draw_id": ticket["draw_id"]}
        return Sent({"ticket_id": ticket["id"]}, asked if body else None, "" if body else f"draw_id={asked['draw_id']}")

    return send


def verified(tree: Tree, step: Step) -> Sent:
    ticket = tree.sold(step.about())
    return Sent({"number": ticket["number"]}, query=f"code={ticket['code']}")


def held_ticket(tree: Tree, step: Step) -> Sent:
    ticket = tree.sold(step.about())
    if step.good:
        holds.hold(tree.res, tree.people[FIRST].id, ticket["number"], **WHY)
    return Sent({"number": ticket["number"]}, WHY)


def winning_ticket(tree: Tree, step: Step) -> Sent:
    ticket = tree.winning(step.about())
    return Sent({"number": ticket["number"]}, {"code": ticket["code"]})


def of_claim(*, changes: bool, **body: Any) -> Send:
    def send(tree: Tree, step: Step) -> Sent:
        claimer = step.about()
        at = [agent for agent in rules.sellers(tree) if rules.at_counter(claimer, agent) is None]
        return Sent({"claim_id": tree.claim(claimer, at, fresh=changes and step.good)}, body or None)

    return send


# ── dead letters ────────────────────────────────────────────────────────────────────────────────────────────────────


def task_letter(**body: Any) -> Send:
    return lambda tree, step: Sent({"letter_id": tree.letter("task", fresh=step.good)}, body or None)


def refused_ticket(*, second: bool) -> Send:
    def send(tree: Tree, step: Step) -> Sent:
        letter = tree.letter("record", fresh=step.good)
        if second and step.good:
            annulling.annul(tree.res, tree.people[FIRST].id, letter, **WHY)
        return Sent({"letter_id": letter}, WHY)

    return send


# ── the table ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _logins() -> list[Walk]:
    return [
        Walk("POST /v1/auth/login", Who.ANYONE, credentials),
        Walk("POST /v1/auth/refresh", Who.REFRESHER, refresh_token, spends=True),
        Walk("POST /v1/auth/logout", Who.USER, just(), 204, spends=True),
        Walk("POST /v1/auth/step-up", Who.USER, just(password=PASSWORD)),
        Walk("GET /v1/me", Who.USER, just()),
        Walk("POST /v1/me/password", Who.USER, just(current=PASSWORD, new="another battery"), 204, spends=True),
        Walk("POST /v1/me/totp", Who.USER, just(), spends=True, fresh=True),
        Walk("POST /v1/me/totp/confirm", Who.USER, one_time_code, 204, spends=True, fresh=True),
        Walk("DELETE /v1/me/totp", Who.USER, just(password=PASSWORD), 204, spends=True),
        _about_user("GET", "/sessions", "session.read", rules.in_subtree),
        Walk(
            "DELETE /v1/users/{user_id}/sessions/{sid}",
            "session.end",
            session_of_user,
            204,
            rule=rules.ends_login,
            targets=rules.everybody,
        ),
    ]


def _about_user(method: str, rest: str, who: str, rule: rules.Rule, send: Send | None = None, **more: Any) -> Walk:
    call = f"{method} /v1/users/{{user_id}}{rest}"
    return Walk(call, who, send or of_user(), rule=rule, targets=rules.everybody, changes=method != "GET", **more)


def _people() -> list[Walk]:
    limit = rules.by_house(rules.below)
    return [
        Walk("GET /v1/users", "user.read", just()),
        *(
            Walk(
                "POST /v1/users",
                "user.create",
                new_user(role),
                201,
                f"as {role}",
                rule=rules.made_under(role),
                targets=rules.everybody,
            )
            for role in Role
        ),
        _about_user("GET", "", "user.read", rules.in_subtree),
        _about_user("PATCH", "", "user.change", rules.below_or_own, of_user(full_name="New Name"), note="name"),
        _about_user("PATCH", "", "user.change", rules.below, of_user(commission_bp=250), note="commission"),
        _about_user("PATCH", "", "user.change", rules.below, of_user(ticket_paper=80), note="paper"),
        _about_user("PATCH", "", "user.change", limit, of_user(credit_limit=LIMIT + 100), note="higher limit"),
        _about_user("PATCH", "", "user.change", limit, of_user(credit_limit=LIMIT - 100), note="lower limit"),
        _about_user("POST", "/suspend", "user.change", rules.below, of_user(**WHY)),
        _about_user("POST", "/reactivate", "user.change", rules.below, suspended_user),
        _about_user("POST", "/password", "user.change", rules.below),
        *(
            _about_user(
                "POST", f"/{side}", f"credit.{action}", rule, of_user(amount=100, kind=kind), good=201, note=kind
            )
            for side, action in (("credit", "load"), ("debit", "debit"))
            for kind, rule in (("load", rules.wallet), ("correction", rules.by_house(rules.wallet)))
        ),
        _about_user("GET", "/ledger", "ledger.read", rules.in_subtree),
        _about_user("GET", "/summary", "ledger.read", rules.in_subtree),
    ]


def _about_ticket(method: str, rest: str, who: str | Who, rule: rules.Rule | None, send: Send, **more: Any) -> Walk:
    return Walk(f"{method} /v1/tickets/{rest}", who, send, rule=rule, targets=rules.sellers, **more)


def _tickets() -> list[Walk]:
    mine = rules.sold_it
    others = rules.sold_it_or_forbidden
    return [
        Walk("POST /v1/tickets", "ticket.sell", lambda tree, _: Sent(body=one_sale(tree)), 201, sale=True),
        Walk(
            "POST /v1/tickets/batch",
            "ticket.sell",
            lambda tree, _: Sent(body={"tickets": [one_sale(tree)]}),
            201,  # of the one ticket in it
            sale=True,
        ),
        _about_ticket("GET", "by-id/{ticket_id}", "ticket.sell", mine, ticket_by_id(body=False), gate=True),
        _about_ticket("POST", "by-id/{ticket_id}/cancel", "ticket.cancel", others, ticket_by_id(body=True), gate=True),
        _about_ticket("GET", "{number}", "ticket.read", rules.in_subtree, of_ticket()),
        _about_ticket("POST", "{number}/void", "ticket.void", mine, of_ticket(**WHY), gate=True),
        _about_ticket("POST", "{number}/claim", "claim.make", rules.at_counter, winning_ticket),
        _about_ticket("POST", "{number}/hold", "ticket.hold", rules.in_subtree, of_ticket(**WHY)),
        _about_ticket("POST", "{number}/release", "ticket.hold", rules.in_subtree, held_ticket),
        _about_ticket("POST", "{number}/reprint", "ticket.reprint", mine, of_ticket()),
        _about_ticket("GET", "{number}/print", "ticket.print", mine, of_ticket("format=txt")),
        Walk("GET /v1/tickets", "ticket.read", just(), note="all"),
        Walk(
            "GET /v1/tickets",
            "ticket.read",
            lambda tree, step: Sent(query=f"agent_id={step.about().id}"),
            note="of one",
            rule=rules.in_subtree,
            targets=rules.everybody,
        ),
        Walk("GET /v1/verify/{number}", Who.ANYONE, verified, targets=rules.sellers),
    ]


def _claims() -> list[Walk]:
    def about(method: str, rest: str, who: str | Who, rule: rules.Rule, send: Send, **more: Any) -> Walk:
        call = f"{method} /v1/claims/{{claim_id}}{rest}"
        return Walk(call, who, send, rule=rule, targets=rules.claimers, **more)

    return [
        Walk("GET /v1/claims", "claim.read", just()),
        about("GET", "", Who.USER, rules.in_subtree, of_claim(changes=False)),
        about("POST", "/approve", "claim.decide", rules.decides, of_claim(changes=True), fresh=True),
        about("POST", "/reject", "claim.decide", rules.decides, of_claim(changes=True, **WHY)),
    ]


def _dead_letters() -> list[Walk]:
    letter, read, change = "/v1/dead-letters/{letter_id}", "dead_letters.read", "dead_letters.change"
    return [
        Walk("GET /v1/dead-letters", read, just()),
        Walk(f"GET {letter}", read, lambda tree, step: Sent({"letter_id": tree.letter("task", fresh=False)})),
        Walk(f"POST {letter}/replay", change, task_letter()),
        Walk(f"POST {letter}/discard", change, task_letter(**WHY)),
        Walk(f"POST {letter}/annul", change, refused_ticket(second=False), 202, "first", fresh=True),
        Walk(f"POST {letter}/annul", change, refused_ticket(second=True), note="second", fresh=True),
    ]


def _rest() -> list[Walk]:
    return [
        Walk("GET /v1/audit", "audit.read", just()),
        Walk("GET /v1/openapi.json", Who.ANYONE, just()),
        Walk("GET /v1/docs/errors", Who.ANYONE, just()),
        Walk("GET /v1/docs/", Who.ANYONE, just()),
        Walk("GET /v1/docs/{path}", Who.ANYONE, lambda tree, step: Sent(_SWAGGER)),
    ]


# The whole API.
WALKS = [
    *(*_logins(), *_people(), *draws.WALKS, *_tickets(), *_claims(), *reports.walks(), *_dead_letters()),
    *(*told.WALKS, *_rest()),
]
