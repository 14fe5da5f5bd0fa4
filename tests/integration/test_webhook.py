"""The webhook: signed, tried again, dead in the end, and never twice without a name."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from actions import deliveries, webhook
from actions.deliveries import deliver, send_out
from actions.failures import TRIES_MAX, HeldBack
from actions.resources import Resources
from actions.webhook import NotDelivered
from models.deliveries import DELIVER
from models.notifications import Notification
from runtime.process import free_port
from tasks.retries import ring_due
from tests.integration.after_sales import killed
from tests.integration.conftest import Lottery
from tests.integration.delivering import (
    KINDS,
    SECRET,
    fail_for_good,
    minutes_pass,
    rung,
    say,
    tried,
    waiting,
    with_channels,
    work,
)
from tests.integration.hearing import Office, change, office, rows, told_to


@pytest.fixture
def house() -> Iterator[Office]:
    with office() as told:
        yield told


@pytest.fixture
def res(lottery: Lottery, house: Office) -> Resources:
    return with_channels(
        lottery.res, webhook_url=house.url, webhook_secret=SECRET, webhook_kinds=KINDS, mail_kinds=KINDS
    )


def test_a_webhook_is_told_with_a_signature_that_its_reader_can_check(
    lottery: Lottery, res: Resources, house: Office
) -> None:
    made = say(res)
    work(lottery, res)
    (post,) = house.posts
    assert post.path == "/told?from=drawbreak"
    assert post.headers["Content-Type"] == "application/json"
    assert post.headers["X-Drawbreak-Id"] == str(made)
    assert post.verified(SECRET)
    assert not post.verified("another secret")
    assert abs(int(post.headers["X-Drawbreak-Signature"][2:].split(",")[0]) - datetime.now(UTC).timestamp()) < 60
    body = json.loads(post.body)
    assert datetime.fromisoformat(body.pop("at")).tzinfo is not None
    assert body == {
        "id": made,
        "kind": "out_of_balance",
        "title": "Out",
        "text": "of balance",
        "data": {"draw_id": "3D-20260301-1400"},
    }
    assert waiting(res) == []
    work(lottery, res)
    assert len(house.posts) == 1


def test_the_verification_in_the_docs_takes_what_is_sent_and_nothing_else(
    lottery: Lottery, res: Resources, house: Office, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    page = (pytestconfig.rootpath / "docs" / "operating" / "notifications.md").read_text()
    code = page.partition("```python\n")[2].partition("```")[0]
    assert 0 < len(code.splitlines()) <= 12
    say(res)
    work(lottery, res)
    (post,) = house.posts
    header = post.headers["X-Drawbreak-Signature"]
    old = webhook.signature(SECRET, int(datetime.now(UTC).timestamp()) - 3600, post.body)
    script = f"{code}\nfrom ast import literal_eval\nimport sys\nprint(genuine(*literal_eval(sys.stdin.read())))"
    for asked, answer in (
        ((SECRET, header, post.body), "True"),
        (("another", header, post.body), "False"),
        ((SECRET, header, post.body + b" "), "False"),
        ((SECRET, old, post.body), "False"),
    ):
        told = subprocess.run([sys.executable, "-c", script], input=repr(asked), capture_output=True, text=True)
        assert told.stdout.strip() == answer, told.stderr


def test_only_kinds_that_are_wanted_go_out_and_nothing_without_an_address(
    lottery: Lottery, res: Resources, house: Office
) -> None:
    say(res, "hers", "announcement")
    work(lottery, lottery.res)  # where no channel is configured
    say(res, "not wanted", "winners")
    say(res, "wanted", "dead_letter")
    work(lottery, res)
    assert [json.loads(post.body)["title"] for post in house.posts] == ["wanted"]
    assert rows(res, "SELECT * FROM notifications_to_send") == []


def test_500_and_then_200_is_delivered_once_under_one_id(lottery: Lottery, res: Resources, house: Office) -> None:
    house.answers = [500, 503, 204]
    made = say(res)
    send_out(res)
    (delivery,) = rung(lottery)
    for _ in range(2):
        with pytest.raises(NotDelivered):
            tried(res, delivery)
        with pytest.raises(HeldBack):  # not before its time
            tried(res, delivery, again=False)
        minutes_pass(res)
        ring_due(res)
        assert rung(lottery) == [delivery]
    assert tried(res, delivery)
    assert not tried(res, delivery)
    assert [post.headers["X-Drawbreak-Id"] for post in house.posts] == [str(made)] * 3
    assert all(post.verified(SECRET) for post in house.posts)
    assert len({post.body for post in house.posts}) == 1
    assert (waiting(res), rows(res, "SELECT * FROM retries")) == ([], [])


def test_after_the_last_try_it_is_a_dead_letter_which_is_told_inside_the_house_alone(
    lottery: Lottery, res: Resources, house: Office
) -> None:
    admin = lottery.person("admin")
    house.answers = [500]
    say(res)
    send_out(res)
    (delivery,) = rung(lottery)
    fail_for_good(lottery, res, delivery)
    (letter,) = rows(res, "SELECT * FROM dead_letters")
    assert (letter.task, letter.arguments, letter.attempts) == (DELIVER, [delivery], TRIES_MAX)
    assert "500" in letter.error
    assert SECRET not in str(letter)
    (told,) = told_to(res, admin, "dead_letter")
    assert told["data"]["about"] == DELIVER
    house.posts.clear()
    send_out(res)
    assert waiting(res) == [(delivery, "webhook")]  # no delivery of the letter's own


def test_a_channel_that_works_again_gets_what_had_become_dead_letters(
    lottery: Lottery, res: Resources, house: Office
) -> None:
    house.answers = [500]
    for title in ("first", "second", "third"):
        say(res, title)
        send_out(res)
        (delivery,) = rung(lottery)
        fail_for_good(lottery, res, delivery)
        minutes_pass(res, 1)
    house.posts.clear()
    house.answers = [200]
    say(res, "last")
    work(lottery, res)
    assert [json.loads(post.body)["title"] for post in house.posts] == ["last", "first", "second", "third"]
    assert [row.status for row in rows(res, "SELECT status FROM dead_letters")] == ["replayed"] * 3


def test_a_dead_one_is_tried_again_now_and_then_for_a_day_unless_it_was_discarded(
    lottery: Lottery, res: Resources, house: Office
) -> None:
    house.answers = [500]
    say(res)
    send_out(res)
    (delivery,) = rung(lottery)
    fail_for_good(lottery, res, delivery)
    send_out(res)
    assert rung(lottery) == []
    minutes_pass(res)
    send_out(res)
    assert rung(lottery) == [delivery]
    minutes_pass(res, 24 * 60)
    send_out(res)
    assert rung(lottery) == []
    change(res, "UPDATE notification_deliveries SET made_at = now()")
    ended = "status = 'discarded', ended_at = now(), end_reason = 'no'"
    change(res, f"UPDATE dead_letters SET {ended}")
    send_out(res)
    assert rung(lottery) == []


def test_one_that_is_never_taken_does_not_hold_up_the_others_once_it_is_dead(
    lottery: Lottery, res: Resources, house: Office
) -> None:
    house.answers = [500]
    say(res, "poison")
    send_out(res)
    (poison,) = rung(lottery)
    fail_for_good(lottery, res, poison)
    minutes_pass(res)
    house.posts.clear()
    house.answers = [200, 500, 200]
    say(res, "one")
    send_out(res)
    (one,) = rung(lottery)
    assert tried(res, one)
    assert rung(lottery) == [poison]  # the channel works
    with pytest.raises(NotDelivered):
        tried(res, poison)
    for title in ("two", "three"):
        say(res, title)
    work(lottery, res)
    titles = [json.loads(post.body)["title"] for post in house.posts]
    assert titles == ["one", "poison", "two", "three"]


def test_dead_ones_of_a_channel_that_fails_are_tried_one_a_minute(
    lottery: Lottery, res: Resources, house: Office
) -> None:
    house.answers = [500]
    dead = []
    for title in ("first", "second"):
        say(res, title)
        send_out(res)
        dead += rung(lottery)
        fail_for_good(lottery, res, dead[-1])
    for expected in (dead[0], dead[1], dead[0]):
        minutes_pass(res)
        send_out(res)
        assert rung(lottery) == [expected]
        with pytest.raises(NotDelivered):
            tried(res, expected)
        send_out(res)
        assert rung(lottery) == []


def test_while_one_is_tried_the_others_of_its_channel_wait(lottery: Lottery, res: Resources, house: Office) -> None:
    house.answers = [500, 200]
    first, second = say(res, "first"), say(res, "second")
    assert send_out(res) == 1
    (delivery,) = rung(lottery)
    assert send_out(res) == 0
    with pytest.raises(NotDelivered):
        tried(res, delivery)
    minutes_pass(res)
    assert send_out(res) == 0  # it has a time of its own
    assert tried(res, delivery)
    for following in rung(lottery):
        tried(res, following)
    assert [post.headers["X-Drawbreak-Id"] for post in house.posts] == [str(first), str(first), str(second)]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(lottery: Lottery, res: Resources, house: Office, status: int) -> None:
    with office() as elsewhere:
        house.answers, house.leads_to = [status], elsewhere.url
        say(res)
        send_out(res)
        (delivery,) = rung(lottery)
        with pytest.raises(NotDelivered, match=str(status)):
            tried(res, delivery)
        assert elsewhere.posts == []
    assert len(house.posts) == 1


def test_a_webhook_that_says_nothing_is_not_waited_for(
    lottery: Lottery, res: Resources, house: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook, "_in_time", webhook.InTime(0.2, at_once=2))
    house.answers = [0]
    say(res)
    send_out(res)
    (delivery,) = rung(lottery)
    with pytest.raises(NotDelivered, match="within"):
        tried(res, delivery)
    assert len(house.posts) == 1


def test_a_webhook_that_is_not_there_is_tried_again_a_limited_number_of_times(lottery: Lottery) -> None:
    gone = f"http://127.0.0.1:{free_port()}/"
    res = with_channels(lottery.res, webhook_url=gone, webhook_secret=SECRET, webhook_kinds=KINDS)
    say(res)
    send_out(res)
    (delivery,) = rung(lottery)
    fail_for_good(lottery, res, delivery)
    assert len(rows(res, "SELECT * FROM dead_letters")) == 1


def test_who_dies_between_sending_and_noting_sends_it_again_under_the_same_id(
    lottery: Lottery, res: Resources, house: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = say(res)
    send_out(res)
    (delivery,) = rung(lottery)
    with monkeypatch.context() as patch:
        patch.setattr(deliveries, "mark_delivered", killed)
        with pytest.raises(KeyboardInterrupt):
            deliver(res, delivery)
    assert send_out(res) == 0  # for all that is known it is under way
    minutes_pass(res)
    work(lottery, res)
    assert [post.headers["X-Drawbreak-Id"] for post in house.posts] == [str(made)] * 2
    assert waiting(res) == []


def test_a_delivery_whose_channel_was_taken_away_is_forgotten(lottery: Lottery, res: Resources, house: Office) -> None:
    say(res)
    send_out(res)
    (delivery,) = rung(lottery)
    assert not tried(lottery.res, delivery)
    assert (house.posts, waiting(res)) == ([], [])
    assert not tried(res, 4711)


def test_two_sweeps_at_once_make_one_delivery(lottery: Lottery, res: Resources, house: Office) -> None:
    say(res)
    with res.sessions.begin() as other:
        other.execute(text("SELECT * FROM notifications_to_send FOR UPDATE"))
        send_out(res)
        assert waiting(res) == []
    send_out(res)
    send_out(res)
    assert len(waiting(res)) == 1


def test_a_body_is_the_same_at_each_try_and_whatever_its_data() -> None:
    row = Notification(id=7, kind="winners", title="T", text="ö₱", data={"a": [1, None]}, at=datetime.now(UTC))
    assert webhook.body_of(row) == webhook.body_of(row)
    assert json.loads(webhook.body_of(row))["data"] == {"a": [1, None]}
