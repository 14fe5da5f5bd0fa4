"""Flower as `drawbreak run` starts it: behind a login, to look at only, and nothing secret in it."""

from __future__ import annotations

import base64
import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from intake.doorbell import producer
from runtime.embedded_valkey import Valkey
from runtime.process import free_port
from runtime.settings import broker_url_of
from tests.service import PASSWORD, Service, Terminal

UP_S = 90

pytestmark = pytest.mark.slow


class Flower:
    """The Flower of a running installation, asked with its login unless told otherwise."""

    def __init__(self, service: Service, port: int) -> None:
        self.service = service
        self.port = port
        self.login = f"drawbreak:{(service.var / 'keys' / 'flower.password').read_text().strip()}"

    def ask(self, method: str, path: str, login: str | None = "right") -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        login = self.login if login == "right" else login
        headers = {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"} if login else {}
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        status, text = answer.status, answer.read().decode()
        connection.close()
        return status, text

    def data(self, path: str) -> Any:
        status, text = self.ask("GET", path)
        assert status == 200, text
        return json.loads(text)


@pytest.fixture(scope="module")
def flower(servers_dir: Path) -> Iterator[Flower]:
    port = free_port()
    service = Service(servers_dir / "shown", FLOWER="1", FLOWER_PORT=str(port))
    found = Flower(service, port)
    deadline = time.monotonic() + UP_S
    while True:
        try:
            if found.ask("GET", "/healthcheck")[0] == 200 and len(found.data("/api/workers?refresh=1")) == 4:
                break
        except OSError:
            pass
        assert time.monotonic() < deadline, "Flower does not answer, or sees no workers"
        time.sleep(0.5)
    yield found
    service.stop()


def test_without_the_login_there_is_nothing_to_see_and_with_it_nothing_to_change(flower: Flower) -> None:
    for path in ("/", "/tasks", "/broker", "/workers", "/api/tasks", "/api/workers", "/api/queues/length"):
        assert flower.ask("GET", path, None)[0] == 401, path
        assert flower.ask("GET", path, "drawbreak:wrong")[0] == 401, path
        assert flower.ask("GET", path)[0] == 200, path
    (name, *_) = flower.data("/api/workers")
    for path in (f"/api/worker/shutdown/{name}", "/api/task/send-task/draws.close"):
        assert flower.ask("POST", path, None)[0] in (401, 403), path
        assert flower.ask("POST", path)[0] == 403, path


def test_what_it_tells_without_a_login_is_told_to_this_machine_alone(flower: Flower) -> None:
    assert flower.ask("GET", "/metrics", None)[0] == flower.ask("GET", "/healthcheck", None)[0] == 200
    (process, *_) = flower.service.processes("celery", "flower")
    heard = {found.laddr.ip for found in process.net_connections() if found.status == psutil.CONN_LISTEN}
    assert heard == {"127.0.0.1"}


def test_queues_and_tasks_have_names_that_people_can_read(flower: Flower) -> None:
    service = flower.service
    admin = service.login("superadmin")
    draw = service.draw(admin)
    agent_id, token = service.person(admin, "agent", 100_000)
    Terminal(service, agent_id, token).sell(draw, "046")
    deadline = time.monotonic() + UP_S
    while not (drains := [task for task in tasks(flower) if task["name"] == "tickets.persist"]):
        assert time.monotonic() < deadline, "nobody was rung for"
        time.sleep(0.5)
    assert {(task["args"], task["kwargs"], task["worker"].partition("@")[0]) for task in drains} == {
        (f"('{draw}',)", "{}", "persist")
    }
    queues = {
        name.partition("@")[0]: {queue["name"] for queue in worker["active_queues"]}
        for name, worker in flower.data("/api/workers").items()
    }
    assert queues == {
        "persist": {"persist"},
        "settle": {"settle"},
        "reports": {"reports", "notify"},
        "default": {"default"},
    }
    lengths = {queue["name"] for queue in flower.data("/api/queues/length")["active_queues"]}
    assert lengths == {"persist", "settle", "reports", "notify", "default"}
    page = flower.ask("GET", "/broker")[1]
    assert all(f">{queue}<" in page for queue in lengths)


def test_a_message_that_came_too_late_has_its_name_all_the_same(flower: Flower) -> None:
    broker = producer(broker_url_of(Valkey(flower.service.var / "valkey").url()))
    broker.send_task("draws.seal", args=["3D-20990101-1400"], queue="settle", expires=-1)
    deadline = time.monotonic() + UP_S
    while not (late := [task for task in tasks(flower) if task["state"] == "REVOKED" and task["name"] == "draws.seal"]):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert [task["args"] for task in late] == ["['3D-20990101-1400']"]


def test_a_queue_that_nobody_empties_grows(flower: Flower) -> None:
    broker = producer(broker_url_of(Valkey(flower.service.var / "valkey").url()))
    broker.control.cancel_consumer("reports", reply=True, timeout=5)  # type: ignore[attr-defined]
    for _ in range(3):
        broker.send_task("draws.seal", args=["3D-20990101-1400"], queue="reports")
    lengths = {queue["name"]: queue["messages"] for queue in flower.data("/api/queues/length")["active_queues"]}
    assert lengths["reports"] == 3
    broker.control.add_consumer("reports", reply=True, timeout=5, destination=["reports"])  # type: ignore[attr-defined]


def tasks(flower: Flower) -> list[dict[str, Any]]:
    return list(flower.data("/api/tasks?limit=1000").values())


def test_no_secret_is_shown(flower: Flower) -> None:
    token = flower.service.login("superadmin")
    workers = flower.data("/api/workers")
    paths = ["/", "/tasks", "/broker", "/api/tasks", "/api/workers", *(f"/worker/{name}" for name in workers)]
    shown = "".join(flower.ask("GET", path)[1] for path in paths) + flower.ask("GET", "/metrics", None)[1]
    keys = [path.read_text().strip() for path in (flower.service.var / "keys").iterdir()]
    secrets = [PASSWORD, token, *keys, *(key.rpartition(":")[2] for key in keys)]
    assert [secret for secret in secrets if secret in shown] == []
    # Whoever may list processes sees no password either.
    (process, *_) = flower.service.processes("celery", "flower")
    assert not any(secret in word for word in process.cmdline() for secret in secrets)


def test_settings_that_workers_tell_hold_no_passwords(tmp_path: Path) -> None:
    """As Flower shows them; here with servers elsewhere, whose URLs have passwords in them."""
    shown = subprocess.run(
        [sys.executable, "-c", "from workers.app import app; print(app.conf.humanize(with_defaults=True))"],
        env={
            **os.environ,
            "VAR": str(tmp_path),
            "DATABASE_URL": "postgresql+psycopg://app:hidden-1@db.example/drawbreak",
            "REDIS_URL": "redis://:hidden-2@redis.example:6379/0",
            "BROKER_URL": "redis://:hidden-3@broker.example:6379/1",
            "JWT_KEY": "a1" * 32,
            "CODE_KEY": "b2" * 32,
        },
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "broker.example" in shown
    assert [secret for secret in ("hidden-1", "hidden-2", "hidden-3", "a1" * 32, "b2" * 32) if secret in shown] == []
