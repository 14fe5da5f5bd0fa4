"""Every call as every role, about its own things, lower ones, siblings', higher ones and other branches'.

What must come back is told by tests/api/role_rules.py from the rights and the tree.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import product
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import text

from actions.standing import ask_to_tell, tell_standing
from api import roles
from api.served import served
from rules.rights import ACTIONS, Role, may, may_create, may_stand_under
from runtime.embedded_postgres import Postgres
from runtime.embedded_valkey import Valkey
from tests.api.conftest import ADOPTION_WAIT_S, PASSWORD, Caller, running, set_up
from tests.api.role_calls import WALKS, of_claim
from tests.api.role_rules import (
    FORBIDDEN,
    INVALID,
    NOT_FOUND,
    SEES_EVERYONE,
    STEP_UP,
    Answer,
    Step,
    Walk,
    Who,
    below,
    claimers,
    everybody,
    reaches,
    sellers,
)
from tests.api.role_tree import APPROVAL_ABOVE, Person, Tree
from tests.conftest import emptied, new_database, settings_in
from tests.reporting import in_place_of

# Made for endpoints that are still to come, or checked without an endpoint of their own.
NO_CALL = {"seal.details"}
# How many calls the walk makes at the least.
CASES_MIN = 3_500


@pytest.fixture(scope="module")
def walked_app(
    postgres_server: Postgres, migrated_template: str, valkey_server: Valkey, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Flask]:
    """One application for the whole walk: its people are told apart, not its databases."""
    var: Path = tmp_path_factory.mktemp("walk")
    with new_database(postgres_server, migrated_template) as database:
        more = {"CLAIM_APPROVAL_ABOVE": str(APPROVAL_ABOVE)}
        settings = settings_in(var, database, emptied(valkey_server), **more)
        set_up(settings)
        with running(settings) as made, in_place_of("statement"):
            deadline = time.monotonic() + ADOPTION_WAIT_S
            while served(made).res.gate.identity is None and time.monotonic() < deadline:
                time.sleep(0.01)
            yield made


@pytest.fixture(scope="module")
def tree(walked_app: Flask) -> Tree:
    grown = Tree(walked_app)
    grown.grow()
    grown.win()
    return grown


def made(tree: Tree, walk: Walk, step: Step, *, fresh: bool | None = None) -> Answer:
    """Makes the call; a token is as fresh as the call needs it, and no fresher."""
    sent = walk.send(tree, step)
    caller = tree.caller(step.actor, fresh=walk.fresh if fresh is None else fresh)
    if sent.token is not None:
        caller = Caller(tree.app, sent.token)
    call = walk.call.format(**sent.path) + (f"?{sent.query}" if sent.query else "")
    answer = caller(call, sent.body, dict(sent.headers))
    body = answer.json if answer.is_json or answer.status_code >= 400 else None
    if walk.call.endswith("/batch") and answer.status_code == 200:
        (item,) = answer.json["results"]
        return Answer(item["status"], item.get("error", {}).get("code"))
    return Answer(answer.status_code, body["code"] if body and answer.status_code >= 400 else None)


def prepared(tree: Tree, walk: Walk, step: Step) -> Step:
    """The same step with people whom no other step needs, where it changes somebody."""
    actor, target = step.actor, step.target
    if walk.spends and actor is not None:
        actor = tree.fresh(actor)
    if walk.changes and step.good and target is not None and (actor is None or target.id != actor.id):
        target = tree.fresh(target)
    return Step(actor, target, step.good)


def told(step: Step) -> str:
    actor = step.actor.role if step.actor else "nobody"
    if step.target is None:
        return actor
    relation = f"{step.target.relation(step.actor)}: " if step.actor else ""
    return f"{actor}, {relation}{step.target.place}"


# ── the walk ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
@pytest.mark.parametrize("walk", WALKS, ids=str)
def test_each_role_gets_exactly_what_the_rights_say(tree: Tree, walk: Walk) -> None:
    wrong = []
    for step in walk.steps(tree):
        expected = walk.expected(step.actor, step.target)
        got = made(tree, walk, prepared(tree, walk, step))
        if got != expected:
            wrong.append(f"{told(step)}: {got}, not {expected}")
    if walk.changes:
        tree.mend_root()
    assert wrong == []


def test_a_token_that_is_not_fresh_asks_for_a_step_up_only_where_the_role_may(tree: Tree) -> None:
    wrong = []
    for walk, role in product([walk for walk in WALKS if walk.fresh], Role):
        actor = tree.people[role.value]
        expected = STEP_UP if walk.who is Who.USER or may(role, str(walk.who)) else FORBIDDEN
        got = made(tree, walk, Step(actor, walk.example(tree, actor), good=False), fresh=False)
        if got != expected:
            wrong.append(f"{walk} as {role}: {got}, not {expected}")
    assert wrong == []


@pytest.mark.parametrize("role", list(Role))
def test_a_suspended_user_gets_nothing_but_what_is_anyones(tree: Tree, role: Role) -> None:
    actor = tree.fresh(tree.people[role.value])
    tree.caller(actor)  # his login is older than his suspension
    set_status(tree, actor, "suspended")
    assert refused_to_suspended(tree, actor) == []


def test_a_coordinators_suspension_reaches_everyone_below_and_an_admins_nobody(tree: Tree) -> None:
    agent = tree.people["coordinator's coordinator's agent"]
    sell = next(walk for walk in WALKS if walk.call == "POST /v1/tickets")
    step = Step(agent, None, good=True)
    for place, reaches_him in (("admin", False), ("area", True), ("coordinator", True), ("root", False)):
        set_status(tree, tree.people[place], "suspended")
        try:
            if reaches_him:
                assert refused_to_suspended(tree, agent) == []
            else:
                assert made(tree, sell, step) == Answer(201)
                assert tree.caller(agent)("GET /v1/me").json["status"] == "active"
        finally:
            set_status(tree, tree.people[place], "active")
        assert made(tree, sell, step) == Answer(201)
        assert tree.caller(agent)("GET /v1/me").status_code == 200


def refused_to_suspended(tree: Tree, actor: Person) -> list[str]:
    """Every call that he gets another answer to than a suspended user must."""
    wrong = []
    for walk in WALKS:
        expected = walk.expected_of_suspended(actor)
        if walk.call == "POST /v1/auth/login":
            expected = Answer(401, "bad_credentials")
        step = Step(actor, walk.example(tree, None), good=False)
        if (got := made(tree, walk, step, fresh=True)) != expected:
            wrong.append(f"{walk} as {actor.role}: {got}, not {expected}")
    return wrong


def set_status(tree: Tree, person: Person, status: str) -> None:
    """As the action does, whoever may do it."""
    tree.set_status(person, status)
    with tree.res.sessions.begin() as session:
        ask_to_tell(session, person.id, None, {"status": status})
    tell_standing(tree.res)


def moves(tree: Tree) -> Iterator[tuple[Person, Person, Person]]:
    """Everybody who may change users, every agent, everybody whom he could be put under, and some who cannot be."""
    makers = [tree.people[role.value] for role in Role if may(role, "user.change")]
    people = tree.people.values()
    agents = [person for person in people if person.role is Role.AGENT]
    parents = [person for person in people if may_stand_under(Role.AGENT, person.role)]
    yield from product(makers, agents, [*parents, tree.people["agent"], tree.people["operator"]])


@pytest.mark.slow
def test_an_agent_is_moved_only_within_the_movers_reach(tree: Tree) -> None:
    wrong = []
    for actor, agent, parent in moves(tree):
        refusal = below(actor, agent) or (None if reaches(actor, parent) else NOT_FOUND)
        if refusal is None and not may_stand_under(Role.AGENT, parent.role):
            refusal = INVALID
        moved = agent if refusal else tree.fresh(agent)
        answer = tree.caller(actor)(f"PATCH /v1/users/{moved.id}", {"parent_id": parent.id})
        got = Answer(answer.status_code, answer.json.get("code") if answer.status_code >= 400 else None)
        if got != (refusal or Answer(200)):
            wrong.append(f"{actor.role} moves {agent.place} under {parent.place}: {got}, not {refusal}")
    assert wrong == []


# ── lists ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def listed(caller: Caller, path: str) -> Iterator[dict[str, object]]:
    cursor = ""
    while True:
        page = caller(f"GET {path}?limit=500{cursor}").json
        yield from page["items"]
        if page["next"] is None:
            return
        cursor = f"&cursor={page['next']}"


@pytest.fixture(scope="module")
def busy_tree(tree: Tree) -> Tree:
    """Everybody has left something to be listed: a claim where he may make one, and a row in the audit log."""
    for person in tree.people.values():
        assert tree.caller(person)("POST /v1/auth/step-up", {"password": PASSWORD}).status_code == 200
    for claimer in claimers(tree):
        step = Step(None, claimer, good=False)
        assert of_claim(changes=False)(tree, step).path["claim_id"]
    return tree


@pytest.mark.parametrize(
    ("path", "action", "key", "owners"),
    [
        ("/v1/users", "user.read", "id", everybody),
        ("/v1/tickets", "ticket.read", "agent_id", sellers),
        ("/v1/claims", "claim.read", "claimed_by", claimers),
        ("/v1/audit", "audit.read", "actor_id", everybody),
    ],
)
def test_a_list_holds_all_that_is_within_reach_and_nothing_else(
    busy_tree: Tree, path: str, action: str, key: str, owners: Callable[[Tree], Iterable[Person]]
) -> None:
    for role in Role:
        actor = busy_tree.people[role.value]
        if not may(role, action):
            assert busy_tree.caller(actor)(f"GET {path}").status_code == 403
            continue
        seen = {item[key] for item in listed(busy_tree.caller(actor), path)}
        within = {person.id for person in owners(busy_tree) if reaches(actor, person)}
        assert within <= seen, (role, path)
        # Whatever others have been hired, and the system itself, whose deeds have no actor.
        with busy_tree.res.sessions() as session:
            query = text("SELECT id FROM users WHERE id = :id OR :id = ANY(ancestors)")
            own = set(session.scalars(query, {"id": actor.id}))
        assert role in SEES_EVERYONE or seen <= own, (role, path)


# ── what is shown ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_only_the_agent_who_sold_a_ticket_is_shown_its_code(tree: Tree) -> None:
    for role, seller in product(Role, sellers(tree)):
        actor = tree.people[role.value]
        if not reaches(actor, seller):
            continue
        body = tree.caller(actor)(f"GET /v1/tickets/{tree.sold(seller)['number']}").json
        assert {"code", "qr"} & body.keys() == ({"code", "qr"} if actor is seller else set()), (role, seller.place)
        for item in tree.caller(actor)(f"GET /v1/tickets?agent_id={seller.id}&limit=500").json["items"]:
            assert ("code" in item, "qr" in item) == (actor is seller, actor is seller), (role, seller.place)


def test_a_seals_details_are_shown_to_those_who_log_in(tree: Tree) -> None:
    call = f"GET /v1/draws/{tree.draw('sealed')}/seal"
    details = {"count", "voided", "stake", "reason"}
    assert not details & tree.caller(None)(call).json.keys()
    for role in Role:
        assert may(role, "seal.details") == (details <= tree.caller(tree.people[role.value])(call).json.keys())


# ── the walk misses nothing ─────────────────────────────────────────────────────────────────────────────────────────


def calls_of(app: Flask) -> Iterable[str]:
    for rule in app.url_map.iter_rules():
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            if rule.rule.startswith("/v1"):
                yield f"{method} " + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)


def test_every_call_of_the_api_is_walked(walked_app: Flask) -> None:
    assert {walk.call for walk in WALKS} == set(calls_of(walked_app))


def test_every_action_of_the_rights_is_walked_or_has_no_call() -> None:
    assert {walk.who for walk in WALKS if isinstance(walk.who, str)} == ACTIONS.keys() - NO_CALL


def test_what_the_page_of_roles_says_of_step_up_and_two_persons_is_what_is_walked() -> None:
    def marked(mark: str) -> set[str]:
        return {action for action, row in roles.TABLE.items() if mark in row.needs}

    assert marked(roles.STEP_UP) == {walk.who for walk in WALKS if walk.fresh} - {Who.USER}
    confirmed = {walk.who for walk in WALKS if walk.call.endswith("/confirm")} - {Who.USER}
    assert marked(roles.TWO_PERSONS) == confirmed | {"game.change", "claim.decide", "dead_letters.change"}


def test_every_role_meets_every_kind_of_neighbour(tree: Tree) -> None:
    met = {
        (role, target.relation(tree.people[role.value])) for role, target in product(Role, list(tree.people.values()))
    }
    relations = {"own", "lower", "sibling", "higher", "other subtree"}
    # Nobody stands below an agent or an operator.
    childless = {(Role.AGENT, "lower"), (Role.OPERATOR, "lower")}
    assert met == set(product(Role, relations)) - childless
    makers = {role for role in Role if any(may_create(role, other) for other in Role)}
    assert makers == {role for role, relation in met if relation == "lower"}


def test_the_walk_is_long(tree: Tree, record_property: pytest.RecordProperty) -> None:
    cases = Counter({"walk": sum(len(list(walk.steps(tree))) for walk in WALKS)})
    cases["moves"] = len(list(moves(tree)))
    cases["suspended"] = len(WALKS) * (len(Role) + 2)
    cases["step-up"] = sum(walk.fresh for walk in WALKS) * len(Role)
    for name, count in cases.items():
        record_property(f"cases_{name}", count)
    print(f"\n{cases.total()} calls of {len(WALKS)} kinds: {dict(cases)}")
    assert cases.total() >= CASES_MIN
