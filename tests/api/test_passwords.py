"""Passwords: what is refused, what moved here from an older system, and what becomes of one that others gave."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from threading import Barrier
from typing import Any
from unittest.mock import patch

import bcrypt
import pytest
from sqlalchemy import select, update

from actions import passwords
from actions.passwords import ONE_TIME_HOURS, give_one_time_password
from actions.resources import Resources
from actions.users import FIRST_USERNAME
from models.audit import AuditRow
from models.people import User, lock_users
from tests.api.conftest import PASSWORD, Caller, People, load, sale
from tests.api.logging_in import REVOKED, holder, log_in, refresh, refusal

NEW = "another long one"
BAD_CREDENTIALS = (401, "bad_credentials")


def try_login(nobody: Caller, username: str, password: str, **more: Any) -> Any:
    return nobody("POST /v1/auth/login", {"username": username, "password": password, **more})


def change(caller: Caller, current: str, new: str) -> Any:
    return caller("POST /v1/me/password", {"current": current, "new": new})


# ── changing one's own ──────────────────────────────────────────────────────────────────────────────────────────────


def test_another_password_ends_all_other_sessions(
    people: People, nobody: Caller, seller: Caller, draw_id: str, res: Resources
) -> None:
    pairs = [log_in(nobody, "agent", device=device) for device in ("one", "two")]
    here, other = (holder(nobody, pair) for pair in pairs)
    answer = change(here, PASSWORD, NEW)
    assert (answer.status_code, answer.data) == (204, b"")
    assert here("GET /v1/me").status_code == 200
    assert refresh(nobody, pairs[0]["refresh_token"]).status_code == 200
    assert refusal(other("GET /v1/me")) == REVOKED
    assert refusal(other("POST /v1/tickets", sale(draw_id, ("straight", "046", 100)))) == REVOKED
    assert refusal(seller("POST /v1/tickets", sale(draw_id, ("straight", "046", 100)))) == REVOKED
    assert refusal(refresh(nobody, pairs[1]["refresh_token"])) == REVOKED
    assert refusal(try_login(nobody, "agent", PASSWORD)) == BAD_CREDENTIALS
    assert try_login(nobody, "agent", NEW).status_code == 200
    with res.sessions() as session:
        row = session.scalars(select(AuditRow).where(AuditRow.action == "password.change")).one()
    assert (row.actor, row.object, row.after) == ("agent", f"user:{people.agent.id}", {"sessions_ended": 2})


def test_a_wrong_current_password_changes_nothing(people: People, nobody: Caller) -> None:
    assert refusal(change(people.agent, "wrong", NEW)) == (403, "wrong_password")
    assert try_login(nobody, "agent", PASSWORD).status_code == 200


# (a password that nobody should have, why)
POOR = [
    "short12",
    "x" * 129,
    "12345678",
    "password1",
    "PassWord1",
    "qwertyuiop",
    "iloveyou1",
]


@pytest.mark.parametrize("password", POOR)
def test_a_poor_password_is_refused_wherever_one_is_set(people: People, password: str) -> None:
    changed = change(people.agent, PASSWORD, password)
    assert refusal(changed) == (422, "invalid")
    assert [error["path"] for error in changed.json["errors"]] == ["new"]
    body = {"username": "new.one", "password": password, "role": "agent"}
    made = people.admin("POST /v1/users", body)
    assert refusal(made) == (422, "invalid")
    assert [error["path"] for error in made.json["errors"]] == ["password"]


def test_the_username_and_the_same_password_again_are_no_passwords(people: People) -> None:
    for new in ("coordinator", "COORDINATOR", PASSWORD):
        answer = change(people.coordinator, PASSWORD, new)
        assert [error["path"] for error in answer.json["errors"]] == ["new"]
    body = {"username": "new.one.here", "password": "New.One.Here", "role": "agent"}
    assert refusal(people.admin("POST /v1/users", body)) == (422, "invalid")


def test_every_character_of_a_long_password_counts(people: People, nobody: Caller) -> None:
    long = "ä 語🎲" * 32
    assert len(long) == 128
    assert change(people.agent, PASSWORD, long).status_code == 204
    assert refusal(try_login(nobody, "agent", long[:-1])) == BAD_CREDENTIALS
    assert refusal(try_login(nobody, "agent", long[:-1] + "!")) == BAD_CREDENTIALS
    assert try_login(nobody, "agent", long).status_code == 200


def test_of_many_changes_at_once_one_takes_place(people: People, nobody: Caller) -> None:
    current = PASSWORD
    for turn in range(6):
        together = Barrier(4)
        wanted = [f"password number {turn}.{number}" for number in range(4)]

        def try_it(new: str, current: str = current, together: Barrier = together) -> int:
            together.wait()
            return int(change(people.agent, current, new).status_code)

        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(try_it, wanted))
        assert sorted(answers) == [204, 403, 403, 403]
        current = wanted[answers.index(204)]
        works = [password for password in wanted if try_login(nobody, "agent", password).status_code == 200]
        assert works == [current]


# ── moved from an older system ──────────────────────────────────────────────────────────────────────────────────────


def keep(res: Resources, user_id: int, kept: str) -> None:
    with res.sessions.begin() as session:
        session.execute(update(User).where(User.id == user_id).values(password_hash=kept))


def kept_of(res: Resources, user_id: int) -> str:
    with res.sessions() as session:
        return session.get_one(User, user_id).password_hash


def moved(password: str, prefix: str = "$2b$") -> str:
    return bcrypt.hashpw(password.encode()[:72], bcrypt.gensalt(4)).decode().replace("$2b$", prefix)


@pytest.mark.parametrize("prefix", ["$2a$", "$2b$", "$2y$"])
def test_a_bcrypt_hash_is_taken_and_made_anew_at_the_next_login(
    people: People, nobody: Caller, res: Resources, prefix: str
) -> None:
    keep(res, people.agent.id, moved("from the old system", prefix))
    assert refusal(try_login(nobody, "agent", "from the old systen")) == BAD_CREDENTIALS
    assert kept_of(res, people.agent.id).startswith(prefix)
    assert try_login(nobody, "agent", "from the old system").status_code == 200
    assert kept_of(res, people.agent.id).startswith("$argon2id$")
    assert try_login(nobody, "agent", "from the old system").status_code == 200
    assert people.agent("GET /v1/me").status_code == 200, "it is the same password: no session ends"


def test_a_password_longer_than_bcrypt_ever_looked_at_still_logs_in_once_and_is_then_kept_whole(
    people: People, nobody: Caller, res: Resources
) -> None:
    long = "ñ" * 50
    keep(res, people.agent.id, moved(long))
    assert try_login(nobody, "agent", long).status_code == 200
    assert refusal(try_login(nobody, "agent", long + "!")) == BAD_CREDENTIALS


def test_two_first_logins_of_a_moved_user_at_once_both_succeed(people: People, nobody: Caller, res: Resources) -> None:
    for _ in range(10):
        keep(res, people.agent.id, moved("from the old system"))
        together = Barrier(4)

        def try_it(_: int, together: Barrier = together) -> int:
            together.wait()
            return int(try_login(nobody, "agent", "from the old system").status_code)

        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(try_it, range(4))) == [200] * 4


@pytest.mark.parametrize("kept", ["", "x", "$2b$", "$2b$04$short", "$2x$04$" + "." * 53, "$argon2id$v=19$nonsense"])
def test_a_hash_that_cannot_be_read_matches_nothing(people: People, nobody: Caller, res: Resources, kept: str) -> None:
    keep(res, people.agent.id, kept)
    for password in (kept or "x", PASSWORD, "a\u0000b"):
        assert refusal(try_login(nobody, "agent", password)) == BAD_CREDENTIALS


def test_every_refused_login_does_the_same_work(people: People, nobody: Caller, res: Resources) -> None:
    """Counted, not timed: which hashes are worked on, whoever asks and whatever is wrong."""
    with res.sessions.begin() as session:
        session.execute(update(User).where(User.id == people.operator.id).values(status="suspended"))

    def work(username: str, password: str) -> list[str]:
        done: list[str] = []
        argon2, old = passwords._matches_argon2, passwords._matches_bcrypt
        with (
            patch.object(passwords, "_matches_argon2", lambda *a: done.append("argon2") or argon2(*a)),
            patch.object(passwords, "_matches_bcrypt", lambda *a: done.append("bcrypt") or old(*a)),
        ):
            assert refusal(try_login(nobody, username, password)) == BAD_CREDENTIALS
        return done

    attempts = [("agent", "wrong"), ("nobody.here", PASSWORD), ("no", PASSWORD), ("operator", PASSWORD)]
    assert {tuple(work(*attempt)) for attempt in attempts} == {("argon2",)}
    keep(res, people.coordinator.id, moved("from the old system"))
    attempts += [("coordinator", "wrong")]
    assert {tuple(work(*attempt)) for attempt in attempts} == {("argon2", "bcrypt")}


# ── given by somebody above ─────────────────────────────────────────────────────────────────────────────────────────


def give(res: Resources, user_id: int) -> str:
    with res.sessions.begin() as session:
        return give_one_time_password(session, lock_users(session, [user_id])[user_id])


def test_a_given_password_is_only_good_for_choosing_another(
    people: People, nobody: Caller, draw_id: str, res: Resources
) -> None:
    load(people.admin, people.agent.id, 1_000_000)
    given = give(res, people.agent.id)
    assert refusal(people.agent("GET /v1/me")) == REVOKED, "every session ended"
    assert refusal(try_login(nobody, "agent", PASSWORD)) == BAD_CREDENTIALS
    answer = try_login(nobody, "agent", given)
    assert answer.json["must_change_password"] is True
    agent = holder(nobody, answer.json)
    for call, body in {
        "GET /v1/draws": None,
        "GET /v1/tickets": None,
        f"GET /v1/users/{people.agent.id}/sessions": None,
        "POST /v1/tickets": sale(draw_id, ("straight", "046", 100)),
        "POST /v1/tickets/batch": {"tickets": [sale(draw_id, ("straight", "046", 100))]},
        f"POST /v1/tickets/by-id/{sale(draw_id)['id']}/cancel": {"draw_id": draw_id},
    }.items():
        assert refusal(agent(call, body)) == (403, "password_change_required"), call
    assert agent("GET /v1/me").status_code == 200
    renewed = replace(agent, token=refresh(nobody, answer.json["refresh_token"]).json["access_token"])
    assert refusal(renewed("GET /v1/draws")) == (403, "password_change_required")
    assert change(agent, given, NEW).status_code == 204
    assert agent("GET /v1/draws").status_code == 200
    assert agent("POST /v1/tickets", sale(draw_id, ("straight", "046", 100))).status_code == 201
    assert refusal(try_login(nobody, "agent", given)) == BAD_CREDENTIALS


def test_a_given_password_that_nobody_took_expires(people: People, nobody: Caller, res: Resources) -> None:
    given = give(res, people.agent.id)
    with res.sessions.begin() as session:
        long_ago = User.password_changed_at - timedelta(hours=ONE_TIME_HOURS, seconds=1)
        session.execute(update(User).where(User.id == people.agent.id).values(password_changed_at=long_ago))
    assert refusal(try_login(nobody, "agent", given)) == BAD_CREDENTIALS


def test_given_passwords_differ_and_are_not_in_the_log(people: People, res: Resources) -> None:
    given = {give(res, people.agent.id) for _ in range(3)}
    assert len(given) == 3
    with res.sessions() as session:
        rows = session.scalars(select(AuditRow).where(AuditRow.action == "password.reset")).all()
    assert len(rows) == 3
    assert not any(password in f"{row.before}{row.after}" for row in rows for password in given)


# ── what the log keeps of logins ────────────────────────────────────────────────────────────────────────────────────


def test_logins_are_written_down_and_a_name_only_if_it_is_somebodys(
    people: People, nobody: Caller, res: Resources
) -> None:
    assert try_login(nobody, "agent", PASSWORD, device="POS 7").status_code == 200
    try_login(nobody, "agent", "a secret typed wrong")
    try_login(nobody, "a secret typed as a name", PASSWORD)
    with res.sessions() as session:
        query = select(AuditRow).where(AuditRow.action == "login").order_by(AuditRow.id.desc()).limit(3)
        unknown, failed, done = session.scalars(query).all()
    assert (done.actor, done.outcome, done.object) == ("agent", "done", f"user:{people.agent.id}")
    assert done.after is not None
    assert done.after["device"] == "POS 7"
    assert done.address == "127.0.0.1"
    assert done.request_id
    assert (failed.actor, failed.outcome, failed.object) == (None, "bad_credentials", f"user:{people.agent.id}")
    assert (unknown.actor, unknown.outcome, unknown.object) == (None, "bad_credentials", "user:unknown")
    assert "secret" not in f"{failed.after}{unknown.after}{unknown.before}"


def test_the_first_superadmin_has_no_poor_password_either() -> None:
    for password in ("12345678", FIRST_USERNAME):
        with pytest.raises(passwords.Invalid):
            passwords.check_password(password, FIRST_USERNAME)
