"""Who may do what. Whose things (the subtree) is another question, answered where they are looked up."""

from enum import StrEnum


class Role(StrEnum):
    """superadmin > admin > coordinator > agent, a tree; an operator stands outside it and only reads."""

    SUPERADMIN = "superadmin"
    ADMIN = "admin"
    COORDINATOR = "coordinator"
    AGENT = "agent"
    OPERATOR = "operator"


# Higher is above. An operator is above nobody.
RANK: dict[Role, int] = {
    Role.SUPERADMIN: 4,
    Role.ADMIN: 3,
    Role.COORDINATOR: 2,
    Role.AGENT: 1,
    Role.OPERATOR: 0,
}

_SUPERADMIN = frozenset({Role.SUPERADMIN})
# They act for the house: money goes in and out of its cash, not of a wallet of theirs. A credit limit and a correction
# are the house's money, too: from anybody else it would be made out of nothing.
ADMINISTRATORS = _SUPERADMIN | {Role.ADMIN}
_COORDINATORS = ADMINISTRATORS | {Role.COORDINATOR}
_AGENT = frozenset({Role.AGENT})
_COUNTERS = _COORDINATORS | _AGENT
_ALL = frozenset(Role)
# An operator reads everything that an administrator reads, and changes nothing.
_ADMINS_READ = ADMINISTRATORS | {Role.OPERATOR}
_COORDINATORS_READ = _COORDINATORS | {Role.OPERATOR}

ACTIONS: dict[str, frozenset[Role]] = {
    "user.create": _COORDINATORS,
    "user.read": _COORDINATORS_READ,
    "user.change": _COORDINATORS,
    "session.read": _ALL,
    "session.end": _ALL,
    "credit.load": _COORDINATORS,
    "credit.debit": _COORDINATORS,
    "ledger.read": _ALL,
    "game.read": _ADMINS_READ,
    "game.change": ADMINISTRATORS,
    "draw.limits": ADMINISTRATORS,
    "draw.create": ADMINISTRATORS,
    "draw.move_cutoff": ADMINISTRATORS,
    "draw.close": ADMINISTRATORS,
    "draw.void": ADMINISTRATORS,
    "draw.seal_late": _SUPERADMIN,
    "result.enter": ADMINISTRATORS,
    "correction": ADMINISTRATORS,
    "paid_in_error.read": _SUPERADMIN,
    "settlement.read": _ADMINS_READ,
    "settlement.resume": ADMINISTRATORS,
    "sales.read": _COORDINATORS_READ,
    "ticket.sell": _AGENT,
    "ticket.void": _AGENT,
    "ticket.cancel": _AGENT,
    "ticket.read": _ALL,
    "ticket.reprint": _AGENT,
    "ticket.hold": ADMINISTRATORS,
    "claim.make": _COUNTERS,
    "claim.read": _COORDINATORS_READ,
    "claim.decide": _COORDINATORS,
    "seal.details": _ALL,
    "audit.read": _ADMINS_READ,
    "ticket.print": _AGENT,
    "report.read": _ALL,
    "notification.read": _ALL,
    "notification.make": ADMINISTRATORS,
    "dead_letters.read": _ADMINS_READ,
    "dead_letters.change": ADMINISTRATORS,
}

# Nobody gives a rank above their own, and their own only a superadmin, or a coordinator to someone below.
# An operator sees as much as an administrator does, so only administrators make one.
_MAKES: dict[Role, frozenset[Role]] = {
    Role.SUPERADMIN: _ALL,
    Role.ADMIN: frozenset({Role.COORDINATOR, Role.AGENT, Role.OPERATOR}),
    Role.COORDINATOR: frozenset({Role.COORDINATOR, Role.AGENT}),
    Role.AGENT: frozenset(),
    Role.OPERATOR: frozenset(),
}


def may(role: Role, action: str) -> bool:
    """Whether the role may do the action at all. KeyError: no such action (a mistake of ours, never a no)."""
    return role in ACTIONS[action]


def may_create(actor_role: Role, new_role: Role) -> bool:
    """Whether someone of the first role may make a user of the second."""
    return new_role in _MAKES[actor_role]


# Only administrators stand high enough to be above an operator, who reads as much as they do.
_ABOVE_OPERATORS = ADMINISTRATORS
_BELOW_THEIR_LIKE = frozenset({Role.SUPERADMIN, Role.COORDINATOR})


def may_stand_under(role: Role, parent: Role) -> bool:
    """Whether a user of the first role may stand right below one of the second."""
    if role is Role.OPERATOR:
        return parent in _ABOVE_OPERATORS
    return RANK[parent] > RANK[role] or (role is parent and role in _BELOW_THEIR_LIKE)
