"""Who is told what, in the transaction of the deed, and once."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

import tasks.settle
from actions import notifications
from actions.deliveries import forget_old
from actions.failure_kinds import PERMANENT, Failure, Message
from actions.failures import note_failure, note_message
from actions.notifications import notify
from actions.sealed import AlteredAfterSeal
from models.draws import advance, draw_by_name
from models.notifications import tell
from rules.errors import NotFound
from rules.notifications import ALL, KINDS, OFFICE, Notice
from rules.rooms import of_user
from runtime import channels
from tasks.check_pool import check_draw
from tasks.persist import persist
from tasks.seal import seal
from tasks.settle import OutOfBalance, settle
from tasks.void_draw import void_draw
from tests.integration.after_sales import as_owner, at_once, decide, drain, killed, resulted
from tests.integration.conftest import Lottery
from tests.integration.correcting import ask, confirm
from tests.integration.counters import House
from tests.integration.hearing import Team, rows, told_to


@pytest.fixture
def team(lottery: Lottery) -> Team:
    return Team(lottery)


def figures(items: list[dict[str, Any]]) -> list[tuple[int, int]]:
    return [(item["data"]["tickets"], item["data"]["prizes"]) for item in items]


# ── draw states ─────────────────────────────────────────────────────────────────────────────────────────────


def test_everybody_is_told_of_a_draws_states_and_the_office_of_its_seal(lottery: Lottery, team: Team) -> None:
    draw = lottery.draw()
    lottery.sell(draw, team.agent, "s046:1")
    res = resulted(lottery, draw, "046")
    assert settle(res, draw)
    public = ["draw.opened", "draw.closed", "draw.result", "draw.settled"]
    for user in (team.agent, team.coordinator):
        assert [item["kind"] for item in told_to(res, user) if item["kind"].startswith("draw.")] == public
    for user in (team.superadmin, team.admin, team.operator):
        kinds = [item["kind"] for item in told_to(res, user)]
        assert kinds == [*public[:2], "draw.sealed", *public[2:]]
    (result,) = told_to(res, team.agent, "draw.result")
    assert result["data"] == {"draw_id": draw, "result": "046", "version": 1}
    assert "046" in result["title"]


def test_a_state_that_was_not_reached_is_not_told(lottery: Lottery, team: Team) -> None:
    draw = lottery.draw()
    with lottery.res.sessions.begin() as session:
        row = draw_by_name(session, draw)
        assert row is not None
        assert not advance(session, row.id, ["closed"], "sealed")
    with lottery.res.sessions() as session:
        notify(session, "announcement", "never", "said", ALL, {})
        session.rollback()
    assert [item["kind"] for item in told_to(lottery.res, team.admin)] == ["draw.opened"]


def test_a_void_draw_is_told_once(lottery: Lottery, team: Team) -> None:
    draw = lottery.draw()
    lottery.sell(draw, team.agent, "s046:1")
    decide(lottery, draw)
    persist(lottery.res, draw)
    assert void_draw(lottery.res, draw)
    assert not void_draw(lottery.res, draw)
    assert [item["data"] for item in told_to(lottery.res, team.agent, "draw.voided")] == [{"draw_id": draw}]


# ── winners ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_winners_are_told_to_their_agents_and_to_all_coordinators_above(lottery: Lottery, team: Team) -> None:
    draw = lottery.draw()
    lottery.sell(draw, team.agent, "s046:1", "r046:1")  # one ticket that wins twice
    lottery.sell(draw, team.agent, "s046:2")
    lottery.sell(draw, team.other_agent, "s046:1")
    lottery.sell(draw, team.sibling, "s047:1")
    res = resulted(lottery, draw, "046")
    assert settle(res, draw)
    mine, theirs = (2, 45_000 + 7_500 + 90_000), (1, 45_000)
    assert figures(told_to(res, team.agent, "winners")) == [mine]
    assert figures(told_to(res, team.coordinator, "winners")) == [mine]
    assert figures(told_to(res, team.other_agent, "winners")) == [theirs]
    assert figures(told_to(res, team.other_coordinator, "winners")) == [theirs]
    assert figures(told_to(res, team.area, "winners")) == [(3, mine[1] + theirs[1])]
    for user in (team.sibling, team.admin, team.superadmin, team.operator):
        assert told_to(res, user, "winners") == []
    (text_of_one,) = (item["text"] for item in told_to(res, team.other_agent, "winners"))
    assert text_of_one == "1 ticket of yours won ₱450.00."


def test_a_settlement_that_is_killed_and_repeated_tells_once(
    lottery: Lottery, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = lottery.draw()
    lottery.sell(draw, team.agent, "s046:1")
    res = resulted(lottery, draw, "046")
    with monkeypatch.context() as patch:
        patch.setattr(tasks.settle, "_tell_winners", killed)
        with pytest.raises(KeyboardInterrupt):
            settle(res, draw)
    assert told_to(res, team.agent, "winners") == []
    for _ in range(3):
        assert settle(res, draw)
    # As if the step's own note had been lost.
    with as_owner(res) as sql:
        sql.execute("UPDATE settlement_steps SET status = 'waiting', finished_at = NULL WHERE name = 'report'")
        sql.execute("DELETE FROM draw_reports")
        sql.execute("UPDATE draws SET status = 'settling', settled_at = NULL")
    assert settle(res, draw)
    assert figures(told_to(res, team.agent, "winners")) == [(1, 45_000)]
    assert len(told_to(res, team.agent, "draw.settled")) == 1


def test_a_correction_tells_anew_also_those_who_win_no_more(lottery: Lottery) -> None:
    house = House(lottery)
    loser, gainer = lottery.person(pesos=100), lottery.person(pesos=100)
    lottery.sell(house.draw, loser, "s046:1")
    lottery.sell(house.draw, gainer, "s047:1")
    house.settle("046")
    ask(house, lottery.person("admin"), "047")
    confirm(house, lottery.person("admin"), "047")
    assert settle(house.res, house.draw)
    assert figures(told_to(house.res, loser, "winners")) == [(1, 45_000), (0, 0)]
    assert figures(told_to(house.res, gainer, "winners")) == [(1, 45_000)]
    results = [item["data"] for item in told_to(house.res, loser, "draw.result")]
    assert [(data["version"], data["result"]) for data in results] == [(1, "046"), (2, "047")]
    assert len(told_to(house.res, loser, "draw.settled")) == 2


# ── what goes wrong ─────────────────────────────────────────────────────────────────────────────────────────


def test_the_office_is_told_of_each_dead_letter_once(lottery: Lottery, team: Team) -> None:
    failure = Failure("draws.settle", ("3D-20260301-1400",), "settle", "Broken: no", None, PERMANENT)
    message = Message("default", "no.such.task\0", b"body", "unknown\0\ud800")
    for _ in range(2):
        note_failure(lottery.res.sessions, failure)
        note_message(lottery.res.sessions, message)
    for user in (team.superadmin, team.admin, team.operator):
        told = told_to(lottery.res, user, "dead_letter")
        assert [(item["data"]["kind"], item["data"]["about"]) for item in told] == [
            ("task", "draws.settle"),
            ("message", None),
        ]
        assert "Broken" not in str(told)
    for user in (team.agent, team.coordinator, team.area):
        assert told_to(lottery.res, user, "dead_letter") == []


def test_a_record_that_the_database_refuses_is_told_with_its_draw(lottery: Lottery, team: Team) -> None:
    draw = lottery.draw()
    lottery.sell(draw, team.agent, "s046:1")
    with as_owner(lottery.res) as sql:
        sql.execute("ALTER TABLE tickets ADD CONSTRAINT no_more CHECK (stake > 100000) NOT VALID")
    persist(lottery.res, draw)
    (item,) = told_to(lottery.res, team.operator, "dead_letter")
    assert (item["data"]["kind"], item["data"]["about"]) == ("record", draw)


def test_a_draw_that_does_not_seal_is_told_once_however_often_it_is_tried(lottery: Lottery, team: Team) -> None:
    draw = lottery.draw()
    lottery.sell(draw, team.agent, "s046:1")
    drain(lottery, draw)
    with as_owner(lottery.res) as sql:
        sql.execute("UPDATE ticket_lines SET number = '047'")
    for _ in range(3):
        assert not seal(lottery.res, draw, force=True)
    (item,) = told_to(lottery.res, team.admin, "out_of_balance")
    assert (item["data"]["draw_id"], item["data"]["where"]) == (draw, "seal")
    with as_owner(lottery.res) as sql:
        sql.execute("UPDATE ticket_lines SET number = '048'")
    assert not seal(lottery.res, draw, force=True)
    assert len(told_to(lottery.res, team.admin, "out_of_balance")) == 2
    assert told_to(lottery.res, team.agent, "out_of_balance") == []


def test_a_settlement_out_of_balance_is_told_though_its_step_is_rolled_back(lottery: Lottery, team: Team) -> None:
    draw = lottery.draw()
    lottery.sell(draw, team.agent, "s046:1")
    res = resulted(lottery, draw, "046")
    with as_owner(res) as sql:
        sql.execute("UPDATE exposures SET stake = stake + 100")
    for _ in range(2):
        with pytest.raises(OutOfBalance):
            settle(res, draw)
    (item,) = told_to(res, team.superadmin, "out_of_balance")
    assert item["data"]["where"] == "settlement, winners"


def test_tickets_that_are_not_those_that_were_sealed_are_told(lottery: Lottery, team: Team) -> None:
    draw = lottery.draw()
    lottery.sell(draw, team.agent, "s046:1")
    res = resulted(lottery, draw, "999")
    assert settle(res, draw)
    with as_owner(res) as sql:
        sql.execute("UPDATE ticket_lines SET number = '047'")
    for _ in range(2):
        with pytest.raises(AlteredAfterSeal):
            check_draw(res, draw)
    (item,) = told_to(res, team.operator, "out_of_balance")
    assert item["data"]["where"] == "check after settling"


# ── the table ───────────────────────────────────────────────────────────────────────────────────────────────


def test_what_is_told_is_noted_as_an_event_for_the_same_rooms(lottery: Lottery) -> None:
    user = lottery.person()
    with lottery.res.sessions.begin() as session:
        made = notify(session, "announcement", "Title", "Text", [of_user(user)], {"a": 1})
    (row,) = rows(lottery.res, "SELECT data, rooms FROM events WHERE name = 'notification'")
    assert row.data == {"id": made, "kind": "announcement", "title": "Title", "text": "Text"}
    assert row.rooms == [of_user(user)]


def test_of_many_calls_at_once_with_the_same_words_one_tells(lottery: Lottery, team: Team) -> None:
    made = at_once(lambda: notifications.make(lottery.res, team.admin, "Title", "Text", None, None)["id"])
    assert len(set(made)) == 1
    assert [item["id"] for item in told_to(lottery.res, team.agent)] == made[:1]


def test_what_is_told_once_stays_told_once_also_among_many(lottery: Lottery) -> None:
    def notice(once: str | None) -> Notice:
        return Notice("announcement", "Title", "Text", ALL, {}, once)

    with lottery.res.sessions.begin() as session:
        assert len(tell(session, [notice("a"), notice("b"), notice(None), notice(None)])) == 4
        assert len(tell(session, [notice("a"), notice("c"), notice(None)])) == 2
        assert tell(session, []) == []


def test_words_of_any_length_with_any_characters_can_be_told(lottery: Lottery) -> None:
    user = lottery.person()
    with lottery.res.sessions.begin() as session:
        notify(session, "announcement", "\0\ud800₱" * 100, "x" * 5_000, [of_user(user)], {})
    (item,) = told_to(lottery.res, user)
    assert (len(item["title"]), len(item["text"])) == (120, 2_000)
    assert item["title"].startswith("??₱")


def test_nobody_hears_what_was_told_before_he_came(lottery: Lottery, team: Team) -> None:
    with lottery.res.sessions.begin() as session:
        notify(session, "announcement", "Old", "news", ALL, {})
    newcomer = lottery.person(parent=team.coordinator)
    with lottery.res.sessions.begin() as session:
        notify(session, "announcement", "New", "news", ALL, {})
    assert [item["title"] for item in told_to(lottery.res, newcomer)] == ["New"]
    (old,) = [item["id"] for item in told_to(lottery.res, team.agent) if item["title"] == "Old"]
    with pytest.raises(NotFound):
        notifications.read(lottery.res, newcomer, old)


def test_old_ones_are_forgotten_with_what_hangs_on_them(lottery: Lottery, team: Team) -> None:
    res = replace(lottery.res, settings=replace(lottery.res.settings, notification_days=30))
    for title, days in (("old", 31), ("young", 29)):
        with res.sessions.begin() as session:
            made = notify(session, "announcement", title, "news", ALL, {}, once=title)
        notifications.read(res, team.agent, int(made or 0))
        with as_owner(res) as sql:
            at = res.clock.now() - timedelta(days=days)
            sql.execute("UPDATE notifications SET at = %s WHERE id = %s", [at, made])
            sql.execute("UPDATE users SET created_at = %s", [at - timedelta(days=1)])
    assert forget_old(res) == 1
    assert forget_old(res) == 0
    assert [item["title"] for item in told_to(res, team.agent)] == ["young"]
    assert [tuple(row) for row in rows(res, "SELECT count(*) FROM notification_reads")] == [(1,)]


def test_the_application_changes_nothing_that_was_told(lottery: Lottery) -> None:
    with lottery.res.sessions.begin() as session:
        notify(session, "announcement", "Title", "Text", ALL, {})
    for table, column in (("notifications", "title"), ("notification_reads", "read_at"), ("sold_out", "key")):
        with pytest.raises(Exception, match="permission denied"), lottery.res.sessions.begin() as session:
            session.execute(text(f"UPDATE {table} SET {column} = {column}"))


def test_the_settings_know_every_kind() -> None:
    assert set(channels.KINDS) == set(KINDS)
    assert set(channels.WEBHOOK_KINDS) | set(channels.MAIL_KINDS) <= set(KINDS)
    assert OFFICE == ("role:superadmin", "role:admin", "role:operator")
