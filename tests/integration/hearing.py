"""Shortcuts for tests of notifications: what somebody was told, and servers that are told."""

from __future__ import annotations

import hashlib
import hmac
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from sqlalchemy import Row, text

from actions import notifications
from actions.resources import Resources
from tests.integration.conftest import Lottery


class Team:
    """superadmin > admin > area > coordinator > agent, beside them another branch, and an operator."""

    def __init__(self, lottery: Lottery) -> None:
        self.superadmin = lottery.person("superadmin")
        self.admin = lottery.person("admin", parent=self.superadmin)
        self.operator = lottery.person("operator", parent=self.admin)
        self.area = lottery.person("coordinator", parent=self.admin)
        self.coordinator = lottery.person("coordinator", parent=self.area)
        self.agent = lottery.person(pesos=10_000, parent=self.coordinator)
        self.sibling = lottery.person(pesos=10_000, parent=self.coordinator)
        self.other_coordinator = lottery.person("coordinator", parent=self.area)
        self.other_agent = lottery.person(pesos=10_000, parent=self.other_coordinator)


def told_to(res: Resources, user_id: int, kind: str | None = None) -> list[dict[str, Any]]:
    """What he was told, oldest first."""
    items = notifications.page(res, user_id, 500, None, unread=False)["items"]
    return [item for item in reversed(items) if kind in (None, item["kind"])]


def rows(res: Resources, query: str, **values: Any) -> Sequence[Row[Any]]:
    with res.sessions() as session:
        return session.execute(text(query), values).all()


def change(res: Resources, statement: str, **values: Any) -> None:
    with res.sessions.begin() as session:
        session.execute(text(statement), values)


@dataclass
class Post:
    """One POST that came."""

    path: str
    headers: dict[str, str]
    body: bytes

    def verified(self, secret: str) -> bool:
        """As docs/operating/notifications.md has its readers do it."""
        parts = dict(part.split("=", 1) for part in self.headers["X-Drawbreak-Signature"].split(","))
        wanted = hmac.new(secret.encode(), parts["t"].encode() + b"." + self.body, hashlib.sha256).hexdigest()
        return hmac.compare_digest(wanted, parts["v1"])


@dataclass
class Office:
    """An HTTP server that keeps what it was sent, and answers what it is told to: statuses one after the other, the
    last one for ever. 0: it does not answer."""

    url: str = ""
    posts: list[Post] = field(default_factory=list)
    answers: list[int] = field(default_factory=lambda: [200])
    leads_to: str = "/elsewhere"
    hangs: threading.Event = field(default_factory=threading.Event)


@contextmanager
def office() -> Iterator[Office]:
    told = Office()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            told.posts.append(Post(self.path, dict(self.headers), body))
            status = told.answers.pop(0) if len(told.answers) > 1 else told.answers[0]
            if status == 0:
                told.hangs.wait(30)
                return
            self.send_response(status)
            if status in (301, 302, 307, 308):
                self.send_header("Location", told.leads_to)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    told.url = f"http://127.0.0.1:{server.server_port}/told?from=drawbreak"
    try:
        yield told
    finally:
        told.hangs.set()
        server.shutdown()
        server.server_close()
        thread.join()
