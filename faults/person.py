"""Somebody with a login who follows the rules for a terminal: the same request until a final answer comes."""

from __future__ import annotations

import random
import threading
import time
from typing import Any

from demo.calls import PAUSES_S, Answer, Connection, NoAnswer
from faults.book import Book, Entry

NO_ANSWER = "no answer"


class Ended(Exception):
    """Whoever waits for an answer is told not to any more."""


class Login:
    """One login's tokens, shared by everybody who works with them."""

    def __init__(self, port: int, username: str, password: str, *, refreshes: bool) -> None:
        self.port, self.username = port, username
        self.token = ""
        self._password = password
        self._refreshes = refreshes
        self._refresh = ""
        self._lock = threading.Lock()

    def renewed(self, stale: str, code: str, ended: threading.Event) -> str:
        """Another token than the stale one. Raises Ended."""
        with self._lock:
            if self.token == stale:
                self._renew(code, ended)
            return self.token

    def _renew(self, code: str, ended: threading.Event) -> None:
        connection = Connection(self.port)
        try:
            if self._refreshes and code == "token_expired":
                bearer = {"Authorization": f"Bearer {self._refresh}"}
                answer, _ = patiently(connection, "POST", "/v1/auth/refresh", None, bearer, ended)
                if answer.status == 200:
                    self._take(answer)
                    return
            body = {"username": self.username, "password": self._password, "device": self.username}
            answer, _ = patiently(connection, "POST", "/v1/auth/login", body, {}, ended)
        finally:
            connection.close()
        if answer.status != 200:
            raise AssertionError(f"{self.username} cannot log in: {answer.status} {answer.body}")
        self._take(answer)

    def _take(self, answer: Answer) -> None:
        self.token, self._refresh = answer.body["access_token"], answer.body["refresh_token"]


class Person:
    """One connection of somebody; what changes anything goes through his book. Not for several threads at once."""

    def __init__(self, login: Login, book: Book, ended: threading.Event) -> None:
        self.book = book
        self.ended = ended
        self._login = login
        self._connection = Connection(login.port)

    def close(self) -> None:
        self._connection.close()

    def look(self, path: str) -> Answer:
        """What a GET shows. Raises Ended."""
        return self._final("GET", path, None, "")[0]

    def do(self, call: str, method: str, path: str, body: Any = None, *, key: str = "") -> Entry:
        """Asks for a change until there is a final answer; both are in the book. Raises Ended."""
        return self.finish(self.book.asked(call, method, path, body, key))

    def finish(self, entry: Entry) -> Entry:
        """The final answer to what the book says was asked. Raises Ended."""
        answer, tries = self._final(entry.method, entry.path, entry.body, entry.key)
        self.book.answered(entry, answer.status, answer.body, tries)
        return entry

    def start(self, path: str, body: Any) -> Connection | None:
        """A POST that is left under way, with no answer waited for; None: it could not even be sent."""
        connection = Connection(self._login.port)
        try:
            connection.send("POST", path, body, self._headers(""))
        except NoAnswer:
            return None
        return connection

    def _final(self, method: str, path: str, body: Any, key: str) -> tuple[Answer, list[str]]:
        tries: list[str] = []
        if not self._login.token:
            self._login.renewed("", "", self.ended)
        while True:
            token = self._login.token
            answer, more = patiently(self._connection, method, path, body, self._headers(key), self.ended)
            tries += more
            if answer.status != 401 and answer.code != "step_up_required":
                return answer, tries
            self._login.renewed(token, answer.code, self.ended)

    def _headers(self, key: str) -> dict[str, str]:
        extra = {"Idempotency-Key": key} if key else {}
        return {"Authorization": f"Bearer {self._login.token}", **extra}


def patiently(
    connection: Connection, method: str, path: str, body: Any, headers: dict[str, str], ended: threading.Event
) -> tuple[Answer, list[str]]:
    """The first answer that is not "ask again", and what came of the tries before it: codes, or NO_ANSWER.

    After a lost connection, 429 and anything above 499 the same again, and a batch while any of its tickets has to be.
    Raises Ended.
    """
    tries: list[str] = []
    while True:
        pause: float = PAUSES_S[min(len(tries), len(PAUSES_S) - 1)]
        try:
            connection.send(method, path, body, headers)
            answer = connection.receive()
            again = _to_ask_again(answer)
            if not again:
                return answer, tries
            tries.append(again)
            pause = answer.retry_after or pause
        except NoAnswer:
            tries.append(NO_ANSWER)
        if ended.wait(pause * random.uniform(0.75, 1.25)):
            raise Ended


def _to_ask_again(answer: Answer) -> str:
    """The code of a refusal that is not final; "" for a final answer."""
    if answer.status == 429 or answer.status >= 500:
        return answer.code or f"status {answer.status}"
    results = answer.body.get("results", ()) if isinstance(answer.body, dict) else ()
    return next((r["error"]["code"] for r in results if r["status"] == 429 or r["status"] >= 500), "")


def wait_until(instant: float, ended: threading.Event) -> None:
    """Sleeps until the instant (seconds since 1970). Raises Ended."""
    if ended.wait(max(0.0, instant - time.time())):
        raise Ended
