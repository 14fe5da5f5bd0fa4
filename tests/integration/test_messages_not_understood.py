"""Messages that nobody understands: kept in PostgreSQL as they came before the broker forgets them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from actions.failure_kinds import ERROR_CHARACTERS_MAX
from tests.integration.working import Ground, kill

pytestmark = [pytest.mark.faults, pytest.mark.long, pytest.mark.timeout(240)]

HEADERS = {"task": "test.fail", "id": "a", "lang": "py"}
BODY = json.dumps([["succeed"], {}, {}]).encode()
ODD: dict[str, tuple[bytes, Any, str | None]] = {
    "unknown task": (BODY, HEADERS | {"task": "nobody.knows"}, "application/json"),
    "broken body": (b'[["succeed"], {', HEADERS, "application/json"),
    "no text": (b"\xff\xfe\0", HEADERS, "application/json"),
    "nothing": (b"", HEADERS, "application/json"),
    "wrong content type": (BODY, HEADERS, "application/x-python-serialize"),
    "plain text": (BODY, HEADERS, "text/plain"),
    "no content type": (BODY, HEADERS, None),
    "wrong compression": (BODY, HEADERS | {"compression": "application/x-gzip"}, "application/json"),
    "a number": (b"5", HEADERS, "application/json"),
    "an object": (b'{"way": "succeed"}', HEADERS, "application/json"),
    "too few parts": (b'[["succeed"], {}]', HEADERS, "application/json"),
    "arguments are no list": (b'["succeed", {}, {}]', HEADERS, "application/json"),
    "named arguments are a list": (b"[[], [], {}]", HEADERS, "application/json"),
    "deep": (b"[" * 100_000, HEADERS, "application/json"),
    "an older protocol": (b'{"task": "test.fail", "id": "a", "args": 5, "kwargs": []}', {}, "application/json"),
    "no headers": (BODY, {}, "application/json"),
    "a number for a task": (BODY, HEADERS | {"task": 5}, "application/json"),
    "no id": (BODY, {"task": "test.fail"}, "application/json"),
    "an endless id": (b"[[], {}]", HEADERS | {"id": "i" * 1_000_000}, "application/json"),
    "a list for an id": (BODY, HEADERS | {"id": [1]}, "application/json"),
    "nothing for an id": (BODY, HEADERS | {"id": None}, "application/json"),
    "a number for an end": (BODY, HEADERS | {"expires": 5}, "application/json"),
    "an end that is no time": (BODY, HEADERS | {"expires": "soon"}, "application/json"),
    "a beginning out of time": (BODY, HEADERS | {"eta": "0001-01-01T00:00:00+14:00"}, "application/json"),
    "limits that are none": (BODY, HEADERS | {"timelimit": ["a", "b"]}, "application/json"),
    "stamps that are none": (BODY, HEADERS | {"stamped_headers": 5}, "application/json"),
}


def test_messages_that_nobody_understands_are_kept(ground: Ground) -> None:
    worker = ground.start()
    for body, headers, content_type in ODD.values():
        ground.push(body, headers, content_type)
    ground.send("test.fail", "succeed")
    ground.wait_for(ground.runs)
    ground.wait_for(lambda: ground.at_broker() == 0)
    letters = ground.rows("dead_letters")
    assert {(letter.kind, letter.queue, letter.status) for letter in letters} == {("message", "default", "waiting")}
    expected = {(headers.get("task"), body) for body, headers, _ in ODD.values()}
    expected = {(task if isinstance(task, str) else None, body) for task, body in expected}
    assert {(letter.task, letter.body) for letter in letters} == expected
    assert sum(letter.attempts for letter in letters) == len(ODD)
    assert max(len(letter.error) for letter in letters) <= ERROR_CHARACTERS_MAX
    assert worker.poll() is None
    assert ground.runs() == 1


NO_MESSAGES = [
    b"garbage \xff\0",
    b"[]",
    b"5",
    b"{}",
    b'{"body": "e30=", "headers": {}}',
    json.dumps(
        {
            "body": "a",  # no base64
            "headers": HEADERS,
            "properties": {
                "delivery_tag": "a",
                "body_encoding": "base64",
                "delivery_info": {"exchange": "", "routing_key": "default"},
            },
        }
    ).encode(),
    json.dumps(
        {
            "body": "e30=",
            "headers": [1],
            "properties": {"delivery_tag": "b", "delivery_info": {"exchange": "", "routing_key": "default"}},
        }
    ).encode(),
]

# Messages, but for what they say of their way.
LOST_MESSAGES = {
    b'{"body": "e3", "headers": {}, "properties": {"delivery_tag": "a", "delivery_info": {}}}': b"e3",
    json.dumps(
        {
            "body": "e30=",
            "headers": HEADERS,
            "content-type": "application/json",
            "properties": {
                "delivery_tag": "half \ud800",
                "body_encoding": "base64",
                "delivery_info": {"exchange": "", "routing_key": "default"},
            },
        }
    ).encode(): b"{}",
}


def test_what_is_no_message_at_all_is_kept_as_well(ground: Ground) -> None:
    worker = ground.start()
    for item in [*NO_MESSAGES, *LOST_MESSAGES]:
        ground.broker.lpush("default", item)
    ground.send("test.fail", "succeed")
    ground.wait_for(ground.runs)
    ground.wait_for(lambda: ground.at_broker() == 0)
    assert {letter.body for letter in ground.rows("dead_letters")} == {*NO_MESSAGES, *LOST_MESSAGES.values()}
    assert {letter.queue for letter in ground.rows("dead_letters")} == {"default"}
    assert worker.poll() is None


@pytest.mark.parametrize("odd", ["unknown task", "broken body", "wrong content type", "an object", "no id"])
def test_postgresql_is_away_when_a_message_is_due_to_be_kept(ground: Ground, away: Callable[[], Any], odd: str) -> None:
    ground.start()
    ground.send("test.fail", "succeed")
    ground.wait_for(ground.runs)
    ground.wait_for(lambda: ground.at_broker() == 0)
    body, headers, content_type = ODD[odd]
    with away():
        ground.push(body, headers, content_type)
        ground.stays_at_broker()
    letter = ground.letter()
    assert (letter.kind, letter.body, letter.attempts) == ("message", body, 1)


def hold_unknown(ground: Ground, count: int, **way: str) -> None:
    """Sends so many messages that nobody understands, and waits until a worker has them all."""
    for number in range(count):
        ground.push(BODY, HEADERS | {"task": f"nobody.knows.{number}"}, **way)
    ground.wait_for(lambda: ground.broker.hlen("unacked") == count)


def all_kept(ground: Ground, count: int) -> None:
    ground.wait_for(lambda: len(ground.rows("dead_letters")) == count)
    ground.wait_for(lambda: ground.at_broker() == 0)


def test_messages_that_wait_to_be_kept_survive_a_killed_worker(ground: Ground, away: Callable[[], Any]) -> None:
    worker = ground.start(visibility_s=5)
    ground.send("test.fail", "succeed")
    ground.wait_for(ground.runs)
    with away():
        hold_unknown(ground, 5)
        kill(worker)
    assert ground.at_broker() == 5
    ground.start(visibility_s=5)
    all_kept(ground, 5)


def test_what_a_message_says_of_its_way_back_is_not_believed(ground: Ground, away: Callable[[], Any]) -> None:
    worker = ground.start()
    ground.send("test.fail", "succeed")
    ground.wait_for(ground.runs)
    with away():
        hold_unknown(ground, 3, tag="the same", routing_key="nobody")
        worker.terminate()
        worker.wait()
        assert ground.broker.llen("default") == 3
    ground.start()
    all_kept(ground, 3)


def test_messages_that_wait_to_be_kept_survive_the_connection_that_they_came_by(
    ground: Ground, away: Callable[[], Any]
) -> None:
    ground.start(visibility_s=5)
    ground.send("test.fail", "succeed")
    ground.wait_for(ground.runs)
    with away():
        hold_unknown(ground, 3)
        ground.broker.client_kill_filter(_type="normal", skipme=True)
    all_kept(ground, 3)
