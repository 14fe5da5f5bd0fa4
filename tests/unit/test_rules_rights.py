from itertools import product

import pytest

from api import roles
from rules.rights import ACTIONS, RANK, Role, may, may_create, may_stand_under

ADMINS = "superadmin admin"
COORDINATORS = "superadmin admin coordinator"
ALL = f"{COORDINATORS} agent operator"

WHO_MAY = {
    "user.create": COORDINATORS,
    "user.read": f"{COORDINATORS} operator",
    "user.change": COORDINATORS,
    "session.read": ALL,
    "session.end": ALL,
    "credit.load": COORDINATORS,
    "credit.debit": COORDINATORS,
    "ledger.read": ALL,
    "game.read": f"{ADMINS} operator",
    "game.change": ADMINS,
    "draw.limits": ADMINS,
    "draw.create": ADMINS,
    "draw.move_cutoff": ADMINS,
    "draw.close": ADMINS,
    "draw.void": ADMINS,
    "draw.seal_late": "superadmin",
    "result.enter": ADMINS,
    "correction": ADMINS,
    "paid_in_error.read": "superadmin",
    "settlement.read": f"{ADMINS} operator",
    "settlement.resume": ADMINS,
    "sales.read": f"{COORDINATORS} operator",
    "ticket.sell": "agent",
    "ticket.void": "agent",
    "ticket.cancel": "agent",
    "ticket.read": ALL,
    "ticket.reprint": "agent",
    "ticket.print": "agent",
    "ticket.hold": ADMINS,
    "claim.make": f"{COORDINATORS} agent",
    "claim.read": f"{COORDINATORS} operator",
    "report.read": ALL,
    "claim.decide": COORDINATORS,
    "seal.details": ALL,
    "audit.read": f"{ADMINS} operator",
    "notification.read": ALL,
    "notification.make": ADMINS,
    "dead_letters.read": f"{ADMINS} operator",
    "dead_letters.change": ADMINS,
}

# What an operator changes: his own logins. His password and one-time codes are everybody's own affair, and no action.
OF_AN_OPERATOR = {"session.end"}
# What even an administrator leaves to superadmins, though it only reads.
OF_SUPERADMINS = {"paid_in_error.read"}

WHO_MAKES = {
    "superadmin": "superadmin admin coordinator agent operator",
    "admin": "coordinator agent operator",
    "coordinator": "coordinator agent",
    "agent": "",
    "operator": "",
}

WHO_STANDS_UNDER = {
    "superadmin": "superadmin",
    "admin": "superadmin",
    "coordinator": COORDINATORS,
    "agent": COORDINATORS,
    "operator": ADMINS,
}


def test_every_action_is_allowed_to_exactly_the_roles_of_the_contract() -> None:
    assert set(ACTIONS) == set(WHO_MAY)
    for role, action in product(Role, ACTIONS):
        assert may(role, action) == (role in WHO_MAY[action].split()), (role, action)


def test_an_operator_reads_all_that_an_administrator_reads_and_changes_only_what_is_his_own() -> None:
    for action in ACTIONS:
        reads = action.endswith((".read", ".details"))
        allowed = action in OF_AN_OPERATOR or (reads and may(Role.ADMIN, action))
        assert may(Role.OPERATOR, action) == allowed, action


def test_whatever_a_role_reads_a_superadmin_reads() -> None:
    for role, action in product(Role, ACTIONS):
        if action.endswith((".read", ".details")) and may(role, action):
            assert may(Role.SUPERADMIN, action)
            assert may(Role.ADMIN, action) or action in OF_SUPERADMINS


def test_users_are_made_only_downwards() -> None:
    for actor, new in product(Role, repeat=2):
        assert may_create(actor, new) == (new in WHO_MAKES[actor].split()), (actor, new)
        if may_create(actor, new):
            assert RANK[new] <= RANK[actor]


def test_everybody_stands_under_somebody_above() -> None:
    for role, parent in product(Role, repeat=2):
        assert may_stand_under(role, parent) == (parent in WHO_STANDS_UNDER[role].split()), (role, parent)


def test_an_action_that_nobody_defined_is_a_mistake_and_not_a_no() -> None:
    with pytest.raises(KeyError):
        may(Role.SUPERADMIN, "draw.reopen")


def test_the_page_of_roles_is_made_from_the_rights(pytestconfig: pytest.Config) -> None:
    page = (pytestconfig.rootpath / "docs" / "roles.md").read_text()
    assert page == roles.markdown(), "python -m api.roles > docs/roles.md"
    for action, allowed in WHO_MAY.items():
        (line,) = [line for line in page.splitlines() if line.startswith(f"| `{action}` ")]
        marks = [cell.strip() for cell in line.split("|")[2:7]]
        assert marks == ["✓" if role in allowed.split() else "" for role in ALL.split()], action
