"""Making users and reading them: only below oneself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from actions.resources import Resources
from models.ledger import Account
from models.people import Wallet
from rules.rights import RANK, Role
from tests.api.conftest import PASSWORD, Caller, People, sale

BODY = {"username": "new.one", "password": PASSWORD, "role": "agent"}


def test_a_new_user_has_a_wallet_and_its_account(people: People, res: Resources) -> None:
    answer = people.coordinator(
        "POST /v1/users", BODY | {"full_name": "New Óne", "phone": "0917", "commission_bp": 500, "username": "New.One"}
    )
    assert answer.status_code == 201
    user = answer.json
    assert (user["username"], user["role"], user["commission_bp"]) == ("new.one", "agent", 500)
    assert user["parent_id"] == people.coordinator.id
    assert user["wallet"] == {"balance": 0, "credit_limit": 0, "available": 0}
    with res.sessions() as session:
        assert session.get(Wallet, user["id"]) is not None
        assert session.query(Account).filter_by(kind="wallet", user_id=user["id"]).count() == 1
    assert people.coordinator(f"GET /v1/users/{user['id']}").json == user


def test_a_credit_limit_can_be_sold_on_at_once(people: People, login: Callable[..., Caller], draw_id: str) -> None:
    assert people.admin("POST /v1/users", BODY | {"credit_limit": 50_000}).status_code == 201
    agent = login("new.one")
    receipt = agent("POST /v1/tickets", sale(draw_id, ("straight", "046", 1000)))
    assert (receipt.status_code, receipt.json["available"]) == (201, 49_000)
    assert agent("GET /v1/me").json["wallet"]["credit_limit"] == 50_000


def test_a_coordinator_cannot_make_credit_out_of_nothing(people: People) -> None:
    for role in ("agent", "coordinator"):
        answer = people.coordinator("POST /v1/users", BODY | {"role": role, "credit_limit": 100})
        assert (answer.status_code, answer.json["code"]) == (403, "forbidden")
        assert "credit limit" in answer.json["detail"]
    assert people.coordinator("POST /v1/users", BODY | {"credit_limit": 0}).status_code == 201
    for number, giver in enumerate((people.admin, people.superadmin)):
        body = BODY | {"username": f"trusted{number}", "parent_id": people.coordinator.id, "credit_limit": 100}
        assert giver("POST /v1/users", body).json["wallet"]["available"] == 100


# Who may make whom below himself: (maker, role) → the answer.
MAKES = {("superadmin", role): 201 for role in ("superadmin", "admin", "coordinator", "agent", "operator")} | {
    ("admin", "superadmin"): 403,
    ("admin", "admin"): 403,
    ("admin", "coordinator"): 201,
    ("admin", "agent"): 201,
    ("admin", "operator"): 201,
    ("coordinator", "superadmin"): 403,
    ("coordinator", "admin"): 403,
    ("coordinator", "coordinator"): 201,
    ("coordinator", "agent"): 201,
    ("coordinator", "operator"): 403,
    **{(maker, role): 403 for maker in ("agent", "operator") for role in RANK},
}


def test_everybody_makes_only_whom_the_rules_let_him(people: People) -> None:
    for number, ((maker, role), status) in enumerate(MAKES.items()):
        body = BODY | {"username": f"user{number}", "role": str(role)}
        answer = people.of_role(maker)("POST /v1/users", body)
        assert answer.status_code == status, (maker, role, answer.text)
        assert status == 201 or answer.json["code"] == "forbidden"


def test_a_parent_lies_in_the_makers_subtree_and_ranks_above(people: People) -> None:
    other = people.other_admin("POST /v1/users", BODY | {"username": "elsewhere", "role": "coordinator"}).json
    for parent_id in (other["id"], people.admin.id, 0, -1, 2**63, 10**30, 999_999):
        answer = people.coordinator("POST /v1/users", BODY | {"parent_id": parent_id})
        assert answer.status_code in (404, 422), (parent_id, answer.text)
    under_agent = people.coordinator("POST /v1/users", BODY | {"parent_id": people.agent.id})
    assert [error["path"] for error in under_agent.json["errors"]] == ["parent_id"]
    under_operator = people.admin("POST /v1/users", BODY | {"parent_id": people.operator.id})
    assert under_operator.status_code == 422
    good = people.admin("POST /v1/users", BODY | {"parent_id": people.coordinator.id})
    assert (good.status_code, good.json["parent_id"]) == (201, people.coordinator.id)


def test_a_username_is_taken_in_any_case(people: People) -> None:
    assert people.admin("POST /v1/users", BODY).status_code == 201
    answer = people.admin("POST /v1/users", BODY | {"username": "NEW.one"})
    assert (answer.status_code, answer.json["code"]) == (409, "username_taken")


# (field, a value that it cannot have)
BAD_FIELDS: list[tuple[str, Any]] = [
    ("username", "x"),
    ("username", "with space"),
    ("username", "newline\n"),
    ("username", "ünicode"),
    ("username", 7),
    ("password", "short12"),
    ("password", "x" * 129),
    ("password", None),
    ("role", "emperor"),
    ("role", ["agent"]),
    ("parent_id", "3"),
    ("parent_id", True),
    ("parent_id", 3.5),
    ("full_name", "nul\u0000"),
    ("full_name", "   "),
    ("address", "x" * 501),
    ("commission_bp", -1),
    ("commission_bp", 10_001),
    ("commission_bp", 10.0),
    ("commission_bp", True),
    ("credit_limit", -1),
    ("credit_limit", 10**13),
    ("credit_limit", 2**80),
    ("credit_limit", "100"),
    ("surprise", 1),
]


def test_a_bad_field_is_named(people: People) -> None:
    for path, value in BAD_FIELDS:
        answer = people.admin("POST /v1/users", BODY | {path: value})
        assert (answer.status_code, answer.json["code"]) == (422, "invalid"), (path, value)
        assert [error["path"] for error in answer.json["errors"]] == [path]


def test_everybody_sees_only_his_subtree(people: People) -> None:
    names = {user["username"] for user in people.coordinator("GET /v1/users").json["items"]}
    assert names == {"coordinator", "agent"}
    assert people.coordinator(f"GET /v1/users/{people.agent.id}").status_code == 200
    for user_id in (people.admin.id, people.other_admin.id, 0, 2**63, 10**40):
        answer = people.coordinator(f"GET /v1/users/{user_id}")
        assert (answer.status_code, answer.json["code"]) == (404, "not_found")
    everybody = {user["username"] for user in people.operator("GET /v1/users").json["items"]}
    assert {"superadmin", "other_admin", "agent"} <= everybody


def test_a_list_is_read_page_by_page_newest_first(people: People) -> None:
    seen: list[int] = []
    more = ""
    while True:
        page = people.superadmin(f"GET /v1/users?limit=2{more}").json
        assert len(page["items"]) <= 2
        seen += [user["id"] for user in page["items"]]
        if page["next"] is None:
            break
        more = f"&cursor={page['next']}"
    assert seen == sorted(seen, reverse=True)
    assert len(seen) == 6


def test_a_bad_page_is_refused(people: People) -> None:
    for query in ("limit=0", "limit=501", "limit=x", "cursor=x", "cursor=%00", "cursor=1_0", "colour=red"):
        answer = people.admin(f"GET /v1/users?{query}")
        assert (answer.status_code, answer.json["errors"][0]["path"]) == (422, query.partition("=")[0])


def test_roles_are_those_of_the_rules() -> None:
    assert {maker for maker, _ in MAKES} == set(Role)
