from itertools import product

import pytest

from rules.rights import ACTIONS, RANK, Role, may, may_create

ADMINS = "superadmin admin"
COORDINATORS = "superadmin admin coordinator"

WHO_MAY = {
    "user.create": COORDINATORS,
    "user.read": f"{COORDINATORS} operator",
    "credit.load": COORDINATORS,
    "draw.create": ADMINS,
    "draw.move_cutoff": ADMINS,
    "draw.close": ADMINS,
    "draw.void": ADMINS,
    "draw.seal_late": "superadmin",
    "result.enter": ADMINS,
    "correction": ADMINS,
    "settlement.read": f"{ADMINS} operator",
    "settlement.resume": ADMINS,
    "sales.read": f"{COORDINATORS} operator",
    "ticket.sell": "agent",
    "ticket.void": "agent",
    "ticket.cancel": "agent",
    "ticket.read": f"{COORDINATORS} agent operator",
    "seal.details": f"{COORDINATORS} agent operator",
    "dead_letters.read": f"{ADMINS} operator",
}

WHO_MAKES = {
    "superadmin": "superadmin admin coordinator agent operator",
    "admin": "coordinator agent operator",
    "coordinator": "coordinator agent",
    "agent": "",
    "operator": "",
}


def test_every_action_is_allowed_to_exactly_the_roles_of_the_contract() -> None:
    assert set(ACTIONS) == set(WHO_MAY)
    for role, action in product(Role, ACTIONS):
        assert may(role, action) == (role in WHO_MAY[action].split()), (role, action)


def test_an_operator_reads_all_that_an_administrator_reads_and_changes_nothing() -> None:
    for action in ACTIONS:
        reads = action.endswith((".read", ".details"))
        assert may(Role.OPERATOR, action) == (reads and may(Role.ADMIN, action)), action


def test_users_are_made_only_downwards() -> None:
    for actor, new in product(Role, repeat=2):
        assert may_create(actor, new) == (new in WHO_MAKES[actor].split()), (actor, new)
        if may_create(actor, new):
            assert RANK[new] <= RANK[actor]


def test_an_action_that_nobody_defined_is_a_mistake_and_not_a_no() -> None:
    with pytest.raises(KeyError):
        may(Role.SUPERADMIN, "draw.reopen")
