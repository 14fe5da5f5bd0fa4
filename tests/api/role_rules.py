"""What the rights and the tree say about a call: the answer that each role must get, told without asking the code."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple

from rules.rights import Role, may, may_create, may_stand_under
from tests.api.role_tree import PLACES, Person, Tree


class Answer(NamedTuple):
    """A status, and the code of its problem."""

    status: int
    code: str | None = None


BAD_TOKEN = Answer(401, "bad_token")
REVOKED = Answer(401, "token_revoked")
FORBIDDEN = Answer(403, "forbidden")
SAME_PERSON = Answer(403, "same_person")
STEP_UP = Answer(403, "step_up_required")
SUSPENDED = Answer(403, "agent_suspended")
NOT_FOUND = Answer(404, "not_found")
INVALID = Answer(422, "invalid")

# None: nothing speaks against it.
Rule = Callable[[Person, Person], Answer | None]

SEES_EVERYONE = frozenset({Role.SUPERADMIN, Role.OPERATOR})
HOUSE = frozenset({Role.SUPERADMIN, Role.ADMIN})
COUNTER = frozenset({Role.COORDINATOR, Role.AGENT})


class Who(Enum):
    """Who may call, where that is no action of the rights."""

    ANYONE = "anyone"
    ANYONE_OR_USER = "anyone; a token that is sent must be good"
    USER = "anybody with a login"
    REFRESHER = "whoever holds a refresh token"


OPEN = frozenset({Who.ANYONE, Who.ANYONE_OR_USER})


class Step(NamedTuple):
    """One call to be made. `good`: nothing speaks against it, so it needs something that it may change."""

    actor: Person | None
    target: Person | None
    good: bool

    def about(self) -> Person:
        assert self.target is not None
        return self.target


@dataclass(frozen=True)
class Sent:
    """What fills the call."""

    path: Mapping[str, Any] = field(default_factory=dict)
    body: Any = None
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    token: str | None = None


Send = Callable[[Tree, Step], Sent]

WHY = {"reason": "the walk"}


def just(**body: Any) -> Send:
    """The same for everybody; without a body if it is empty."""
    return lambda tree, step: Sent(body=body or None)


@dataclass(frozen=True)
class Walk:
    """An endpoint with one kind of body, and who gets what from it."""

    call: str
    who: str | Who
    send: Send
    good: int = 200
    note: str = ""
    rule: Rule | None = None
    targets: Callable[[Tree], Iterable[Person]] | None = None
    fresh: bool = False  # needs a token from a login or step-up of the last minutes
    changes: bool = False  # the target: he must be nobody else's
    spends: bool = False  # the actor himself
    gate: bool = False  # works without the database: the gate says how an agent stands, nobody looks at others
    sale: bool = False

    def __str__(self) -> str:
        return f"{self.call} {self.note}".strip()

    def expected(self, actor: Person | None, target: Person | None) -> Answer:
        """The one right answer."""
        if self.who in OPEN:
            return Answer(self.good)
        if actor is None:
            return BAD_TOKEN
        if isinstance(self.who, str) and not may(actor.role, self.who):
            return FORBIDDEN
        refusal = self.rule(actor, target or actor) if self.rule else None
        return refusal or Answer(self.good)

    def expected_of_suspended(self, actor: Person) -> Answer:
        """The same for somebody suspended, whatever the call is about."""
        if self.who is Who.ANYONE:
            return Answer(self.good)
        if (self.sale or self.gate) and isinstance(self.who, str) and not may(actor.role, self.who):
            return FORBIDDEN
        return SUSPENDED if self.sale else REVOKED

    def steps(self, tree: Tree) -> Iterable[Step]:
        """Every role and nobody, about everybody whom the call can be about."""
        yield Step(None, self.example(tree, None), self.who in OPEN)
        for role in Role:
            actor = tree.people[role.value]
            for target in self.targets(tree) if self.targets else (None,):
                yield Step(actor, target, self.expected(actor, target).code is None)

    def example(self, tree: Tree, actor: Person | None) -> Person | None:
        """Somebody whom it can be about, the actor himself if that is possible."""
        found = list(self.targets(tree)) if self.targets else [None]
        own = [target for target in found if target is not None and actor is not None and target.id == actor.id]
        return (own or found)[0]


# ── whom it can be about ────────────────────────────────────────────────────────────────────────────────────────────


def everybody(tree: Tree) -> Iterable[Person]:
    return list(tree.people.values())


def sellers(tree: Tree) -> list[Person]:
    return [person for person in everybody(tree) if person.role is Role.AGENT]


def claimers(tree: Tree) -> list[Person]:
    return [person for person in everybody(tree) if may(person.role, "claim.make")]


# ── the rules of the tree ───────────────────────────────────────────────────────────────────────────────────────────


def reaches(actor: Person, target: Person) -> bool:
    return actor.role in SEES_EVERYONE or target.id == actor.id or actor.id in target.ancestors


def in_subtree(actor: Person, target: Person) -> Answer | None:
    return None if reaches(actor, target) else NOT_FOUND


def below(actor: Person, target: Person) -> Answer | None:
    """Whom one changes: within reach, not oneself, and of a role that one may make."""
    if not reaches(actor, target):
        return NOT_FOUND
    return None if target.id != actor.id and may_create(actor.role, target.role) else FORBIDDEN


def below_or_own(actor: Person, target: Person) -> Answer | None:
    return None if target.id == actor.id else below(actor, target)


def by_house(rule: Rule) -> Rule:
    """As the rule says, and only administrators do it."""
    return lambda actor, target: rule(actor, target) or (None if actor.role in HOUSE else FORBIDDEN)


def wallet(actor: Person, target: Person) -> Answer | None:
    """One's own wallet is as little there as a stranger's."""
    return NOT_FOUND if target.id == actor.id else below(actor, target)


def made_under(role: Role) -> Rule:
    """The target is the parent of somebody new."""

    def rule(actor: Person, parent: Person) -> Answer | None:
        if not may_create(actor.role, role):
            return FORBIDDEN
        if not reaches(actor, parent):
            return NOT_FOUND
        return None if may_stand_under(role, parent.role) else INVALID

    return rule


def ends_login(actor: Person, target: Person) -> Answer | None:
    """An operator reads everyone, and ends his own logins only."""
    if actor.role is Role.OPERATOR and target.id != actor.id:
        return FORBIDDEN
    return in_subtree(actor, target)


def own_only(actor: Person, owner: Person) -> Answer | None:
    return None if owner.id == actor.id else NOT_FOUND


def sold_it(actor: Person, seller: Person) -> Answer | None:
    return None if seller.id == actor.id else NOT_FOUND


def sold_it_or_forbidden(actor: Person, seller: Person) -> Answer | None:
    return None if seller.id == actor.id else FORBIDDEN


def told_to(actor: Person, hearer: Person) -> Answer | None:
    """What somebody else was told is there for nobody, whoever he is."""
    return None if hearer.id == actor.id else NOT_FOUND


def house(person: Person) -> str:
    """The place of the administrator above, or of the top of the tree where there is none."""
    place = PLACES[person.place][1]
    while place is not None and PLACES[place][0] is not Role.ADMIN:
        place = PLACES[place][1]
    return place or "root"


def at_counter(actor: Person, seller: Person) -> Answer | None:
    """Agents and coordinators pay on what was sold below the same administrator, those above on their subtree."""
    if actor.role in COUNTER:
        return None if house(actor) == house(seller) else NOT_FOUND
    return in_subtree(actor, seller)


def decides(actor: Person, claimer: Person) -> Answer | None:
    """Another person than the one who claims."""
    return SAME_PERSON if claimer.id == actor.id else in_subtree(actor, claimer)


def superadmin_first(actor: Person, _: Person) -> Answer | None:
    return None if actor.role is Role.SUPERADMIN else FORBIDDEN
