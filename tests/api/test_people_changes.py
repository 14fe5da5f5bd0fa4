"""Changing, suspending and reactivating people, and one-time passwords: only below oneself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import select

from actions.resources import Resources
from models.audit import AuditRow
from tests.api.conftest import PASSWORD, Caller, People, load, sale


def patch(caller: Caller, user_id: int, **body: Any) -> tuple[int, Any]:
    answer = caller(f"PATCH /v1/users/{user_id}", body)
    return answer.status_code, answer.json


def suspend(caller: Caller, user_id: int) -> tuple[int, str]:
    answer = caller(f"POST /v1/users/{user_id}/suspend", {"reason": "lost his phone"})
    return answer.status_code, answer.json.get("code") or answer.json["status"]


def reactivate(caller: Caller, user_id: int) -> tuple[int, str]:
    answer = caller(f"POST /v1/users/{user_id}/reactivate")
    return answer.status_code, answer.json.get("code") or answer.json["status"]


def test_a_user_is_changed_from_above(people: People, res: Resources) -> None:
    change = {"full_name": "Ágent Óne", "phone": "0917", "address": "Cebu", "commission_bp": 750}
    status, body = patch(people.coordinator, people.agent.id, **change)
    assert (status, {name: body[name] for name in change}) == (200, change)
    assert people.agent("GET /v1/me").json == body
    status, body = patch(people.coordinator, people.agent.id, phone=None)
    assert (status, body["phone"], body["address"]) == (200, None, "Cebu")
    assert patch(people.coordinator, people.agent.id) == (200, body)
    with res.sessions() as session:
        row = session.scalars(select(AuditRow).where(AuditRow.action == "user.change").order_by(AuditRow.id)).first()
    assert row is not None
    assert (row.actor_id, row.actor, row.role) == (people.coordinator.id, "coordinator", "coordinator")
    assert (row.object, row.after) == (f"user:{people.agent.id}", change)
    assert row.before == {"full_name": None, "phone": None, "address": None, "commission_bp": 0}


def test_of_himself_one_changes_particulars_only(people: People) -> None:
    assert patch(people.coordinator, people.coordinator.id, phone="0918")[1]["phone"] == "0918"
    for field, value in (("commission_bp", 10_000), ("credit_limit", 1), ("parent_id", people.superadmin.id)):
        for caller in (people.coordinator, people.admin, people.superadmin):
            status, body = patch(caller, caller.id, **{field: value})
            assert (status, body["code"]) == (403, "forbidden"), (field, caller.user)


def test_a_credit_limit_is_an_administrators_to_give(people: People, draw_id: str) -> None:
    for limit in (0, 5_000):
        assert patch(people.coordinator, people.agent.id, credit_limit=limit)[1]["code"] == "forbidden"
    assert patch(people.admin, people.agent.id, credit_limit=5_000)[1]["wallet"]["available"] == 5_000
    receipt = people.agent("POST /v1/tickets", sale(draw_id, ("straight", "046", 2_000)))
    assert (receipt.status_code, receipt.json["available"]) == (201, 3_000)
    status, body = patch(people.admin, people.agent.id, credit_limit=1_900, phone="0919")
    assert (status, body["code"], body["available"]) == (409, "insufficient_credit", 3_000)
    assert people.agent("GET /v1/me").json["phone"] is None
    status, body = patch(people.admin, people.agent.id, credit_limit=2_000, phone="0919")
    assert (status, body["wallet"]["credit_limit"], body["phone"]) == (200, 2_000, "0919")


BAD_CHANGES: list[tuple[str, Any]] = [
    ("full_name", ""),
    ("full_name", 7),
    ("phone", "x" * 41),
    ("commission_bp", 10_001),
    ("commission_bp", None),
    ("credit_limit", -1),
    ("credit_limit", None),
    ("credit_limit", 2**70),
    ("parent_id", None),
    ("parent_id", "3"),
    ("role", "admin"),
    ("status", "active"),
    ("password", PASSWORD),
    ("username", "other"),
]


def test_a_bad_change_is_named(people: People) -> None:
    for field, value in BAD_CHANGES:
        status, body = patch(people.admin, people.agent.id, **{field: value})
        assert (status, [error["path"] for error in body["errors"]]) == (422, [field]), (field, value)


def test_an_agent_is_moved_within_reach(people: People, hire: Callable[..., Caller]) -> None:
    area = hire(people.coordinator, "area", "coordinator")
    status, body = patch(people.coordinator, people.agent.id, parent_id=area.id)
    assert (status, body["parent_id"]) == (200, area.id)
    assert area(f"GET /v1/users/{people.agent.id}").status_code == 200
    status, body = patch(people.admin, people.agent.id, parent_id=people.admin.id)
    assert (status, body["parent_id"]) == (200, people.admin.id)
    assert people.coordinator(f"GET /v1/users/{people.agent.id}").status_code == 404
    for target in (people.other_admin.id, 2**63, 0, -1):
        assert patch(people.admin, people.agent.id, parent_id=target)[1]["code"] == "not_found"
    for user, target in ((area.id, people.admin.id), (people.agent.id, people.operator.id)):
        assert patch(people.admin, user, parent_id=target)[1]["errors"][0]["path"] == "parent_id"


def test_nobody_reaches_beside_or_above_himself(people: People, hire: Callable[..., Caller]) -> None:
    second = hire(people.superadmin, "second", "superadmin")
    calls = [("PATCH", "", {"phone": "1"}), ("POST", "/suspend", {"reason": "x"}), ("POST", "/reactivate", None)]
    calls += [("POST", "/password", None)]
    for caller, target, code in (
        (people.coordinator, people.admin, "not_found"),
        (people.coordinator, people.operator, "not_found"),
        (people.admin, people.other_admin, "not_found"),
        (people.admin, people.superadmin, "not_found"),
        (people.operator, people.agent, "forbidden"),
        (people.agent, people.agent, "forbidden"),
    ):
        for method, path, body in calls:
            answer = caller(f"{method} /v1/users/{target.id}{path}", body)
            assert answer.json["code"] == code, (caller.user, target.user, path)
    assert patch(second, people.superadmin.id, phone="1")[0] == 200
    assert people.admin(f"GET /v1/users/{second.id}").status_code == 404


def test_a_suspended_user_is_out_and_his_tokens_work_again_afterwards(people: People, nobody: Caller) -> None:
    credentials = {"username": "agent", "password": PASSWORD}
    assert suspend(people.coordinator, people.agent.id) == (200, "suspended")
    assert suspend(people.coordinator, people.agent.id) == (200, "suspended")
    assert people.coordinator(f"GET /v1/users/{people.agent.id}").json["status"] == "suspended"
    assert nobody("POST /v1/auth/login", credentials).json["code"] == "bad_credentials"
    for call in ("GET /v1/me", "GET /v1/tickets", f"GET /v1/users/{people.agent.id}/ledger"):
        assert people.agent(call).json["code"] == "token_revoked", call
    assert reactivate(people.coordinator, people.agent.id) == (200, "active")
    assert people.agent("GET /v1/me").json["status"] == "active"
    assert nobody("POST /v1/auth/login", credentials).status_code == 200


def test_a_suspended_agents_sale_is_refused_as_such(people: People, draw_id: str, seller: Caller) -> None:
    assert suspend(people.admin, people.coordinator.id) == (200, "suspended")
    answer = seller("POST /v1/tickets", sale(draw_id, ("straight", "046", 100)))
    assert (answer.status_code, answer.json["code"]) == (403, "agent_suspended")
    assert people.coordinator("GET /v1/users").json["code"] == "token_revoked"
    assert people.admin(f"GET /v1/users/{seller.id}").json["status"] == "suspended"
    listed = {user["username"]: user["status"] for user in people.admin("GET /v1/users").json["items"]}
    assert listed == {"admin": "active", "coordinator": "suspended", "agent": "suspended", "operator": "active"}
    assert reactivate(people.admin, people.coordinator.id) == (200, "active")
    assert seller("POST /v1/tickets", sale(draw_id, ("straight", "046", 100))).status_code == 201


def test_a_suspended_administrators_branch_works_on(people: People) -> None:
    assert suspend(people.superadmin, people.admin.id) == (200, "suspended")
    assert people.admin("GET /v1/me").json["code"] == "token_revoked"
    assert people.coordinator("GET /v1/me").json["status"] == "active"
    assert load(people.superadmin, people.coordinator.id, 500).status_code == 201
    assert load(people.coordinator, people.agent.id, 500).status_code == 201


def test_a_suspension_needs_a_reason(people: People) -> None:
    for body in ({}, {"reason": ""}, {"reason": None}, {"reason": "x", "until": 1}):
        answer = people.admin(f"POST /v1/users/{people.agent.id}/suspend", body)
        assert (answer.status_code, answer.json["code"]) == (422, "invalid")


def test_the_last_superadmin_stays(people: People, hire: Callable[..., Caller]) -> None:
    assert suspend(people.superadmin, people.superadmin.id) == (409, "last_superadmin")
    second = hire(people.superadmin, "second", "superadmin")
    assert suspend(people.superadmin, people.superadmin.id) == (403, "forbidden")
    assert suspend(second, people.superadmin.id) == (200, "suspended")
    assert suspend(people.superadmin, second.id) == (401, "token_revoked")


def test_a_one_time_password_is_good_for_choosing_another_only(people: People, nobody: Caller) -> None:
    answer = people.coordinator(f"POST /v1/users/{people.agent.id}/password")
    assert (answer.status_code, set(answer.json)) == (200, {"password"})
    assert people.agent("GET /v1/me").json["code"] == "token_revoked"
    old = nobody("POST /v1/auth/login", {"username": "agent", "password": PASSWORD})
    assert old.json["code"] == "bad_credentials"
    logged_in = nobody("POST /v1/auth/login", {"username": "agent", "password": answer.json["password"]})
    assert logged_in.status_code == 200
    agent = Caller(nobody.app, logged_in.json["access_token"], logged_in.json["user"])
    assert agent("GET /v1/tickets").json["code"] == "password_change_required"
    chosen = {"current": answer.json["password"], "new": "horse battery staple 9"}
    assert agent("POST /v1/me/password", chosen).status_code == 204
    assert agent("GET /v1/tickets").status_code == 200
    assert people.coordinator(f"POST /v1/users/{people.coordinator.id}/password").json["code"] == "forbidden"


def test_what_somebody_higher_suspended_nobody_lower_lifts(people: People, hire: Callable[..., Caller]) -> None:
    assert suspend(people.superadmin, people.agent.id) == (200, "suspended")
    for lower in (people.coordinator, people.admin):
        assert reactivate(lower, people.agent.id) == (403, "forbidden")
    assert people.admin(f"GET /v1/users/{people.agent.id}").json["status"] == "suspended"
    assert reactivate(hire(people.superadmin, "deputy", "superadmin"), people.agent.id) == (200, "active")
    assert suspend(people.coordinator, people.agent.id) == (200, "suspended")
    assert reactivate(people.admin, people.agent.id) == (200, "active")


def test_a_suspension_from_a_wider_area_is_not_the_inner_coordinators_to_lift(
    people: People, hire: Callable[..., Caller]
) -> None:
    inner = hire(people.coordinator, "inner", "coordinator")
    seller = hire(inner, "far-agent", "agent")
    assert suspend(people.coordinator, seller.id) == (200, "suspended")
    assert reactivate(inner, seller.id) == (403, "forbidden")
    assert reactivate(people.coordinator, seller.id) == (200, "active")


def test_all_that_a_sale_earns_together_is_bounded(people: People, hire: Callable[..., Caller], res: Resources) -> None:
    """Else a coordinator would make money out of commissions to his own people."""
    most = res.settings.commission_bp_max
    assert patch(people.admin, people.coordinator.id, commission_bp=300)[0] == 200
    assert patch(people.coordinator, people.agent.id, commission_bp=most - 300)[0] == 200
    status, body = patch(people.coordinator, people.agent.id, commission_bp=most - 299)
    assert (status, body["errors"][0]["path"]) == (422, "commission_bp")
    assert patch(people.admin, people.coordinator.id, commission_bp=301)[0] == 422  # the agent below has the rest
    inner = hire(people.coordinator, "inner", "coordinator", commission_bp=1_000)
    new = {"username": "another", "password": PASSWORD, "role": "agent", "commission_bp": most - 1_299}
    assert inner("POST /v1/users", new).json["errors"][0]["path"] == "commission_bp"
    assert inner("POST /v1/users", new | {"commission_bp": most - 1_300}).status_code == 201
    assert patch(people.admin, people.agent.id, parent_id=inner.id)[0] == 422  # he would stand below both
