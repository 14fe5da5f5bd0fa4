"""Extracts of the audit log and of dead letters; and that no report of any kind names or counts a stranger."""

from __future__ import annotations

import json
import tracemalloc
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from actions.audit import page as audit_page
from actions.audit import record
from actions.audit_chain import lengthen
from actions.dead_letters import discard
from actions.dead_letters import page as letter_page
from models.audit import AuditFilter
from models.dead_letters import LetterFilter
from models.people import User
from reports.kinds import About, Scope, Sources
from reports.registry import KINDS
from rules.errors import NotSettled
from rules.rights import Role
from runtime.origin import Origin, set_origin
from tasks.persist import persist
from tests.integration.conftest import Lottery
from tests.integration.refusing import BAD, drained, refuse_300
from tests.integration.reporting import Read, World

VIEWERS = ("superadmin", "operator", "admin", "other_admin", "north", "inner", "south", "ana")


@pytest.fixture
def world(lottery: Lottery) -> World:
    return World(lottery)


# ── the audit log ───────────────────────────────────────────────────────────────────────────────────────────


def did(world: World, user: int, action: str, about: str) -> None:
    """A deed of somebody, as a request of his would write it."""
    with world.res.sessions.begin() as session:
        actor = session.get_one(User, user)
        set_origin(Origin(actor.id, actor.username, actor.role, "10.0.0.9", "request-1"))
        record(session, action, about, None, {"note": "₱5"})
    set_origin(Origin())


def everything(world: World, viewer: int, **wanted: Any) -> list[dict[str, Any]]:
    """What the log itself shows that viewer, oldest first."""
    items, cursor = [], None
    while True:
        body = audit_page(world.res, viewer, AuditFilter(**wanted), 500, cursor)
        items += body["items"]
        cursor = body["next"]
        if cursor is None:
            return items[::-1]


def test_an_extract_is_what_its_reader_sees_of_the_log(world: World) -> None:
    world.run()
    for user in (world.ana, world.xeno, world.north, world.admin, world.other_admin):
        did(world, user, "user.change", f"user:{user}")
    lengthen(world.res)
    for viewer in (world.superadmin, world.operator, world.admin, world.other_admin):
        report = world.report("audit", viewer, **world.days())
        rows, items = report.tables["deeds"], everything(world, viewer)
        assert report.facts["rows"] == len(rows) == len(items) > 0
        for row, item in zip(sorted(rows, key=lambda row: row["id"]), items, strict=True):
            assert {name: row[name] for name in ("id", "actor_id", "actor", "role", "action", "object", "outcome")} == {
                name: item[name] for name in ("id", "actor_id", "actor", "role", "action", "object", "outcome")
            }
            assert row["at"] == datetime.fromisoformat(item["at"])
            for name in ("before", "after"):
                assert (json.loads(row[name]) if row[name] is not None else None) == item[name]
            assert item["link"] == {"seq": row["link"], "hash": row["hash"]}
        assert [row["at"] for row in rows] == sorted(row["at"] for row in rows)
        assert not any("10.0.0.9" in str(row) or "request-1" in str(row) for row in rows)


def test_an_administrators_extract_has_his_own_peoples_deeds_only(world: World) -> None:
    world.run()
    for user in (world.ana, world.xeno):
        did(world, user, "user.change", f"user:{user}")
    for viewer, mine in ((world.admin, world.ana), (world.other_admin, world.xeno)):
        actors = {row["actor_id"] for row in world.report("audit", viewer, **world.days()).tables["deeds"]}
        assert mine in actors
        assert actors <= world.below(viewer)


def test_a_draws_extract_is_what_was_done_to_the_draw_and_a_periods_what_was_done_in_it(world: World) -> None:
    world.run()
    rows = world.report("audit", world.superadmin, world.corrected).tables["deeds"]
    assert {row["object"] for row in rows} == {f"draw:{world.corrected}"}
    assert [row["id"] for row in rows] == [
        item["id"] for item in everything(world, world.superadmin, object=f"draw:{world.corrected}")
    ]
    at = sorted(row["at"] for row in world.report("audit", world.superadmin, **world.days()).tables["deeds"])
    some = world.report("audit", world.superadmin, since=at[2], before=at[9]).tables["deeds"]
    assert [row["at"] for row in some] == [one for one in at if at[2] <= one < at[9]]


MANY = 40_000


def test_memory_does_not_grow_with_the_log(world: World) -> None:
    world.owner(
        "INSERT INTO audit (actor_id, actor, role, action, object, after, outcome) "
        f"SELECT {world.ana}, 'ana', 'agent', 'claim.make', 'ticket:' || n, '{{\"prize\": 4500}}', 'done' "
        f"FROM generate_series(1, {MANY}) n"
    )
    with world.res.sessions() as session:
        sources = Sources(session, world.res.gate, world.res.journal, world.res.clock.now(), 365)
        document = KINDS["audit"].build(sources, Scope(session.get_one(User, world.admin), **world.days()))
        rows = iter(document.tables[0].rows)
        next(rows)
        assert session.scalar(text("SELECT count(*) FROM pg_cursors")) == 1
        tracemalloc.start()
        count = sum(1 for _ in rows)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        session.execute(text("SELECT 1"))
    assert count >= MANY - 1
    assert peak < 12_000_000, f"{peak} bytes for {count} rows"  # of which one bite of 2,000 rows is most


# ── dead letters ────────────────────────────────────────────────────────────────────────────────────────────


def with_letters(world: World) -> None:
    """Records of two branches, a void that waits with its ticket, a task and a message."""
    refuse_300(world.res)
    for agent in (world.ana, world.xeno):
        world.lottery.sell(world.open, agent, BAD)
        world.lottery.sell(world.open, agent, "s301:1")
    drained(world.lottery, world.open)
    with world.res.sessions.begin() as session:
        session.execute(
            text(
                "INSERT INTO dead_letters (kind, queue, task, arguments, error) "
                "VALUES ('task', 'settle', 'draws.settle', '[\"secret-argument\"]', 'it says who: xeno')"
            )
        )
        session.execute(
            text(
                "INSERT INTO dead_letters (kind, queue, body, error) VALUES ('message', 'default', 'secret-body', 'no')"
            )
        )


def test_letters_are_told_with_what_they_were(world: World) -> None:
    with_letters(world)
    for viewer in (world.superadmin, world.operator):
        report = world.report("dead_letters", viewer, **world.days())
        items = letter_page(world.res, LetterFilter(status=None), 500)["items"][::-1]
        assert report.facts["waiting"] == len(items) == 4
        for row, item in zip(report.tables["letters"], items, strict=True):
            same = ("id", "kind", "status", "queue", "task", "draw_id", "position", "error", "sqlstate", "attempts")
            assert {name: row[name] for name in same} == {name: item[name] for name in same}
            record = item["record"] or {}
            assert (row["what"], row["number"]) == (record.get("what"), record.get("number"))
            assert (row["agent_id"], row["stake"]) == (record.get("agent_id"), record.get("stake"))
            assert row["last_at"] == datetime.fromisoformat(item["last_at"])
        assert "secret" not in str(report.words())
    one = world.report("dead_letters", world.superadmin, world.open)
    assert {row["kind"] for row in one.tables["letters"]} == {"record"}
    past = world.report("dead_letters", world.superadmin, **world.days(before=9, after=-1))
    assert past.tables["letters"] == []


def test_an_administrator_gets_his_own_agents_records_and_what_is_nobodys(world: World) -> None:
    with_letters(world)
    task = next(row for row in world.report("dead_letters", world.superadmin, **world.days()).tables["letters"]
                if row["kind"] == "task")  # fmt: skip
    discard(world.res, task["id"], "given up", world.other_admin)
    for viewer, agent in ((world.admin, world.ana), (world.other_admin, world.xeno)):
        report = world.report("dead_letters", viewer, **world.days())
        rows = report.tables["letters"]
        assert [row["agent_id"] for row in rows if row["kind"] == "record"] == [agent]
        assert [row["error"] for row in rows if row["kind"] != "record"] == [None, None]
        ended = {row["ended_by"] for row in rows if row["kind"] == "task"}
        assert ended == ({world.other_admin} if viewer == world.other_admin else {None})
        assert "waiting" not in report.facts


def test_bytes_that_nobody_can_read_are_a_letter_without_a_ticket(world: World) -> None:
    with_letters(world)
    world.owner("UPDATE dead_letters SET body = 'no record' WHERE kind = 'record'")
    rows = world.report("dead_letters", world.superadmin, world.open).tables["letters"]
    assert {(row["what"], row["number"], row["agent_id"]) for row in rows} == {(None, None, None)}
    assert world.report("dead_letters", world.admin, world.open).tables["letters"] == []


# ── every kind ──────────────────────────────────────────────────────────────────────────────────────────────


def test_who_may_ask_for_what() -> None:
    roles = {name: {role.value for role in kind.roles} for name, kind in KINDS.items()}
    above = {"superadmin", "admin", "operator"}
    assert roles == {
        **dict.fromkeys(("draw_sales", "hierarchy", "winners", "exposure", "unclaimed"), above | {"coordinator"}),
        **dict.fromkeys(("reconciliation", "dead_letters", "audit"), above),
        "statement": {role.value for role in Role},
    }
    assert {kind.about for kind in KINDS.values()} <= set(About)


def reports_for(world: World, viewer: str) -> list[tuple[str, Read]]:
    """Everything that this viewer may ask for."""
    user, found = getattr(world, viewer), []
    role = world.rows("SELECT role FROM users WHERE id = :id", id=user)[0].role
    for name, kind in KINDS.items():
        if Role(role) not in kind.roles:
            continue
        draws = (world.corrected, world.settled, world.voided, world.open) if kind.about is not About.PERIOD else ()
        scopes: list[dict[str, Any]] = [{"draw": draw} for draw in draws]
        scopes += [world.days()] if kind.about in (About.EITHER, About.PERIOD) else []
        scopes += [{}] if kind.about is About.DRAW_OR_LIVE else []
        for scope in scopes:
            try:
                found.append((name, world.report(name, user, **scope)))
            except NotSettled:
                assert name in ("winners", "unclaimed")
    return found


def test_no_report_shows_anything_of_another_subtree(world: World) -> None:
    """Names, ids, and sums: what somebody else sells afterwards changes nothing of it."""
    world.owner("UPDATE users SET full_name = 'Name-of-' || username")
    world.run()
    for user in (world.ana, world.xeno, world.dina):
        did(world, user, "user.change", f"user:{user}")
    names = {row.id: row.username for row in world.rows("SELECT id, username FROM users")}
    for viewer in VIEWERS:
        seen, found = world.seen(getattr(world, viewer)), reports_for(world, viewer)
        strangers = {name for user, name in names.items() if user not in seen}
        assert found
        for kind, report in found:
            said = " ".join(str(word) for word in report.words())
            assert not [name for name in strangers if name in said], (viewer, kind)
            rows = [row for table in report.tables.values() for row in table]
            ids = {row.get(column) for row in rows for column in ("user_id", "agent_id", "actor_id", "ended_by")}
            assert ids - {None} <= seen, (viewer, kind)


def test_what_strangers_do_changes_no_report(world: World) -> None:
    world.run()
    viewers = ("north", "inner", "ana", "admin")
    before = {viewer: shown(world, viewer) for viewer in viewers}
    for _ in range(5):
        world.lottery.sell(world.open, world.xeno, "s046:9", "r123:4")
    persist(world.lottery.res, world.open)
    assert {viewer: shown(world, viewer) for viewer in viewers} == before
    everyone = shown(world, "superadmin")
    world.lottery.sell(world.open, world.xeno, "s046:9")
    persist(world.lottery.res, world.open)
    assert shown(world, "superadmin") != everyone


# Of the whole draw, and public or nobody's: how far the journal is stored, and when a report was made.
_PUBLIC = ("checked", "made_at", "since", "before")


def shown(world: World, viewer: str) -> list[Any]:
    period = {"since": datetime(2026, 1, 1).astimezone(), "before": datetime(2099, 1, 1).astimezone()}
    found: list[Any] = []
    for kind in ("draw_sales", "statement", "hierarchy", "exposure", "unclaimed", "reconciliation"):
        role = Role(world.rows("SELECT role FROM users WHERE id = :id", id=getattr(world, viewer))[0].role)
        about = KINDS[kind].about
        for scope in ({"draw": world.open}, period):
            if role not in KINDS[kind].roles or (scope is period and about is not About.EITHER):
                continue
            if kind == "unclaimed" and scope is not period:
                continue
            report = world.report(kind, getattr(world, viewer), now=datetime.now().astimezone(), **scope)
            facts = {name: value for name, value in report.facts.items() if name not in _PUBLIC}
            tables = dict(report.tables)
            tables.pop("tickets", None)  # days left depend on when it is made
            found.append((kind, facts, tables))
    return found


def test_a_period_that_ends_before_it_begins_is_empty(world: World) -> None:
    now = world.res.clock.now()
    for name in ("draw_sales", "hierarchy", "audit", "dead_letters", "unclaimed"):
        report = world.report(name, world.superadmin, since=now, before=now - timedelta(days=1))
        assert not any(report.tables.values())
