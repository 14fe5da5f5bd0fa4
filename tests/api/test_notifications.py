"""What people are told, as they read it over HTTP, and telling others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from sqlalchemy import text

from actions.notifications import notify
from actions.resources import Resources
from rules.rights import Role
from rules.rooms import EVERYBODY, of_role, of_user, under
from tests.api.conftest import Caller, People

ASKED = {"title": "Closed tomorrow", "text": "No draws on Christmas.\nSell before."}


@pytest.fixture
def tell(res: Resources) -> Callable[..., int]:
    def told(rooms: Sequence[str], title: str = "News") -> int:
        with res.sessions.begin() as session:
            made = notify(session, "announcement", title, "text", rooms, {})
        assert made is not None
        return made

    return told


def titles(caller: Caller, query: str = "") -> list[str]:
    answer = caller(f"GET /v1/notifications{query}")
    assert answer.status_code == 200, answer.text
    return [item["title"] for item in answer.json["items"]]


def unread(caller: Caller) -> int:
    return int(caller("GET /v1/notifications?limit=1").json["unread"])


def test_everybody_reads_what_he_was_told_and_nothing_else(
    people: People, hire: Callable[..., Caller], tell: Callable[..., int]
) -> None:
    sibling = hire(people.coordinator, "sibling", "agent")
    tell([EVERYBODY], "all")
    tell([of_user(people.agent.id)], "the agent")
    tell([under(people.coordinator.id)], "the coordinator's")
    tell([under(people.admin.id, Role.AGENT)], "the admin's agents")
    tell([of_role(Role.OPERATOR)], "operators")
    assert titles(people.agent) == ["the admin's agents", "the coordinator's", "the agent", "all"]
    assert titles(sibling) == ["the admin's agents", "the coordinator's", "all"]
    assert titles(people.coordinator) == ["the coordinator's", "all"]
    assert titles(people.operator) == ["operators", "all"]
    for caller in (people.admin, people.other_admin, people.superadmin):
        assert titles(caller) == ["all"]


def test_reading_is_one_persons_and_counted(people: People, tell: Callable[..., int]) -> None:
    first, second = tell([EVERYBODY], "first"), tell([EVERYBODY], "second")
    assert (unread(people.agent), unread(people.coordinator)) == (2, 2)
    answer = people.agent(f"POST /v1/notifications/{first}/read")
    assert answer.status_code == 200
    assert (answer.json["id"], answer.json["title"]) == (first, "first")
    assert answer.json["read_at"] is not None
    assert people.agent(f"POST /v1/notifications/{first}/read").json == answer.json
    assert (unread(people.agent), unread(people.coordinator)) == (1, 2)
    assert titles(people.agent, "?unread=1") == ["second"]
    assert titles(people.agent, "?unread=0") == ["second", "first"]
    items = people.agent("GET /v1/notifications").json["items"]
    assert [item["read_at"] is None for item in items] == [True, False]
    assert [item["id"] for item in items] == [second, first]


def test_all_that_was_shown_is_read_at_once_and_what_came_since_is_not(
    people: People, tell: Callable[..., int]
) -> None:
    _, shown, later = tell([EVERYBODY]), tell([of_user(people.agent.id)]), tell([EVERYBODY])
    elsewhere = tell([of_user(people.admin.id)])
    assert people.agent("POST /v1/notifications/read", {"up_to": shown}).json == {"read": 2, "unread": 1}
    assert people.agent("POST /v1/notifications/read", {"up_to": shown}).json == {"read": 0, "unread": 1}
    assert people.agent("POST /v1/notifications/read", {"up_to": elsewhere}).json == {"read": 1, "unread": 0}
    assert later < elsewhere
    assert unread(people.admin) == 3
    for wrong in (-1, "7", None, 2**63):
        assert people.agent("POST /v1/notifications/read", {"up_to": wrong}).status_code == 422


def test_another_persons_is_not_there(people: People, tell: Callable[..., int]) -> None:
    his = tell([of_user(people.agent.id)])
    for caller in (people.superadmin, people.admin, people.coordinator, people.operator):
        answer = caller(f"POST /v1/notifications/{his}/read")
        assert (answer.status_code, answer.json["code"]) == (404, "not_found")
    for number in (0, 10**30):
        assert people.agent(f"POST /v1/notifications/{number}/read").status_code == 404


def test_the_list_comes_page_by_page_and_refuses_other_lists_cursors(people: People, tell: Callable[..., int]) -> None:
    for number in range(5):
        tell([EVERYBODY], f"n{number}")
    first = people.agent("GET /v1/notifications?limit=2").json
    second = people.agent(f"GET /v1/notifications?limit=2&cursor={first['next']}").json
    third = people.agent(f"GET /v1/notifications?limit=2&cursor={second['next']}").json
    assert [[i["title"] for i in page["items"]] for page in (first, second, third)] == [
        ["n4", "n3"],
        ["n2", "n1"],
        ["n0"],
    ]
    assert (third["next"], first["unread"], third["unread"]) == (None, 5, 5)
    for query in ("cursor=x", "limit=0", "limit=501", "unread=2", "unread=true", "kind=winners"):
        assert people.agent(f"GET /v1/notifications?{query}").status_code == 422, query


def test_an_admin_tells_those_below_himself_and_a_superadmin_everybody(people: People) -> None:
    answer = people.admin("POST /v1/notifications", ASKED)
    assert answer.status_code == 200, answer.text
    assert answer.json | ASKED == answer.json
    assert (answer.json["kind"], answer.json["made_by"], answer.json["read_at"]) == (
        "announcement",
        people.admin.id,
        None,
    )
    for caller in (people.agent, people.coordinator, people.admin, people.operator):
        assert titles(caller) == [ASKED["title"]]
    for caller in (people.other_admin, people.superadmin):
        assert titles(caller) == []
    assert people.superadmin("POST /v1/notifications", ASKED | {"title": "To all"}).status_code == 200
    for caller in (people.agent, people.other_admin, people.superadmin, people.operator):
        assert titles(caller)[0] == "To all"


def test_one_tells_only_some_roles_or_only_some_branch(people: People) -> None:
    roles = {"roles": ["agent", "operator", "agent"]}
    assert people.admin("POST /v1/notifications", ASKED | roles).status_code == 200
    assert [len(titles(c)) for c in (people.agent, people.operator, people.coordinator, people.admin)] == [1, 1, 0, 0]
    branch = {"under": people.coordinator.id, "title": "branch"}
    assert people.superadmin("POST /v1/notifications", ASKED | branch).status_code == 200
    assert [len(titles(c)) for c in (people.agent, people.coordinator, people.operator)] == [2, 1, 1]
    everywhere = {"roles": ["admin"], "title": "admins"}
    assert people.superadmin("POST /v1/notifications", ASKED | everywhere).status_code == 200
    assert [titles(c)[0] for c in (people.admin, people.other_admin)] == ["admins"] * 2
    assert "admins" not in titles(people.superadmin)


def test_nobody_tells_those_out_of_his_reach(people: People) -> None:
    for user_id in (people.other_admin.id, people.superadmin.id, 0, -1, 2**63):
        answer = people.admin("POST /v1/notifications", ASKED | {"under": user_id})
        assert (answer.status_code, answer.json["code"]) == (404, "not_found"), user_id
    for caller in (people.coordinator, people.agent, people.operator):
        assert caller("POST /v1/notifications", ASKED).json["code"] == "forbidden"


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"title": "x" * 121}, "title"),
        ({"title": ""}, "title"),
        ({"title": "two\nlines"}, "title"),
        ({"title": "a\0b"}, "title"),
        ({"title": "\ud800"}, ""),  # no JSON at all
        ({"title": 7}, "title"),
        ({"text": "x" * 2_001}, "text"),
        ({"text": " \n "}, "text"),
        ({"text": "a\x1b[0m"}, "text"),
        ({"roles": ["king"]}, "roles.0"),
        ({"roles": []}, "roles"),
        ({"roles": "agent"}, "roles"),
        ({"under": "1"}, "under"),
        ({"kind": "winners"}, "kind"),
    ],
)
def test_what_cannot_be_told_is_refused_by_its_path(people: People, body: dict[str, Any], path: str) -> None:
    answer = people.admin("POST /v1/notifications", ASKED | body)
    assert answer.status_code == 422, answer.text
    assert [error["path"] for error in answer.json["errors"]] == [path]
    assert titles(people.admin) == []


def test_a_call_that_is_repeated_tells_once_and_other_words_are_told(people: People, res: Resources) -> None:
    first = people.admin("POST /v1/notifications", ASKED).json
    assert people.admin("POST /v1/notifications", ASKED).json == first
    assert people.admin("POST /v1/notifications", ASKED | {"roles": ["agent"]}).json["id"] != first["id"]
    assert people.admin("POST /v1/notifications", ASKED | {"text": "Other words"}).json["id"] != first["id"]
    assert len(titles(people.agent)) == 3
    audited = people.superadmin("GET /v1/audit?object=notification:" + str(first["id"])).json["items"]
    assert [(row["action"], row["actor"], row["outcome"]) for row in audited] == [
        ("notification.make", "admin", "done")
    ]
    assert audited[0]["after"]["rooms"] == [f"under:{people.admin.id}"]
    with res.sessions() as session:
        count = session.execute(text("SELECT count(*) FROM audit WHERE action = 'notification.make'")).scalar_one()
    assert count == 3


def test_who_is_moved_is_told_where_he_stands_now(people: People, hire: Callable[..., Caller]) -> None:
    other = hire(people.admin, "other_coordinator", "coordinator")
    moved = people.admin(f"PATCH /v1/users/{people.agent.id}", {"parent_id": other.id})
    assert moved.status_code == 200, moved.text
    people.admin("POST /v1/notifications", ASKED | {"under": people.coordinator.id})
    assert titles(people.agent) == []
    people.admin("POST /v1/notifications", ASKED | {"under": other.id})
    assert titles(people.agent) == [ASKED["title"]]


def test_a_suspended_person_reads_nothing(people: People, tell: Callable[..., int]) -> None:
    told = tell([EVERYBODY])
    assert people.admin(f"POST /v1/users/{people.agent.id}/suspend", {"reason": "why"}).status_code == 200
    for call in ("GET /v1/notifications", f"POST /v1/notifications/{told}/read"):
        assert people.agent(call).json["code"] == "token_revoked"
