"""Calls to the API over connections that are kept, with a terminal's rules for what to send again."""

from __future__ import annotations

import http.client
import json
import random
import time
from typing import Any, NamedTuple

TIMEOUT_S = 10
GIVE_UP_S = 90  # a demo must end; a terminal would go on
PAUSES_S = (1, 2, 4, 8, 16, 30)


class NoAnswer(Exception):
    """The connection failed or timed out: the request may or may not have been carried out."""


class Unexpected(Exception):
    """An answer that stops the day."""


class Answer(NamedTuple):
    status: int
    body: Any
    retry_after: float | None

    @property
    def code(self) -> str:
        """The problem's code; "" for an answer that is none."""
        return str(self.body.get("code", "")) if isinstance(self.body, dict) and self.status >= 400 else ""

    @property
    def ask_again(self) -> bool:
        return self.status in (429, 503)


class Connection:
    """One kept connection; one request at a time, in two halves."""

    def __init__(self, port: int) -> None:
        self._http = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)

    def send(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> None:
        """Raises NoAnswer."""
        raw = None if body is None else json.dumps(body).encode()
        typed = {} if body is None else {"Content-Type": "application/json"}
        try:
            self._http.request(method, path, raw, {**typed, **(headers or {})})
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise NoAnswer(str(error)) from error

    def receive(self) -> Answer:
        """Raises NoAnswer."""
        try:
            response = self._http.getresponse()
            raw = response.read()
            after = response.getheader("Retry-After")
            return Answer(response.status, json.loads(raw) if raw else None, float(after) if after else None)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            raise NoAnswer(str(error)) from error

    def close(self) -> None:
        self._http.close()


class Caller:
    """Somebody with a login. Not for several threads at once."""

    def __init__(self, port: int, username: str, password: str) -> None:
        self.port, self.username = port, username
        self.user_id = 0
        self.asked_again = 0  # requests that had to be sent once more
        self.password = password
        self._token = ""
        self.main = Connection(port)

    def login(self) -> None:
        """Raises Unexpected."""
        credentials = {"username": self.username, "password": self.password}
        answer = self._asked(self.main, "POST", "/v1/auth/login", credentials, {})
        if answer.status != 200:
            raise Unexpected(f"{self.username} cannot log in: {answer.status} {answer.body}")
        self._token = answer.body["access_token"]
        self.user_id = int(answer.body["user"]["id"])

    def twin(self) -> Caller:
        """The same person at another screen: a connection of its own, for another thread."""
        other = Caller(self.port, self.username, self.password)
        other._token, other.user_id = self._token, self.user_id
        return other

    def close(self) -> None:
        """Ends the connection; the next call makes another."""
        self.main.close()

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}"}

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str = "",
        over: Connection | None = None,
        sent: bool = False,
    ) -> Answer:
        """The answer, whatever it is, after as many tries as it takes. `sent`: the first try is under way already.

        After no answer, 503 and 429 the same request again; after 401 a new login first. Raises Unexpected.
        """
        if not self._token:
            self.login()
        extra = {"Idempotency-Key": key} if key else {}
        connection = over or self.main
        answer = self._asked(connection, method, path, body, {**self.headers, **extra}, sent)
        if answer.status == 401 or answer.code == "step_up_required":
            self.login()
            answer = self._asked(connection, method, path, body, {**self.headers, **extra})
        return answer

    def must(self, method: str, path: str, body: Any = None, *, key: str = "") -> Any:
        """The body of an answer that has to be good. Raises Unexpected."""
        answer = self.ask(method, path, body, key=key)
        if answer.status >= 300:
            raise Unexpected(f"{method} {path} as {self.username}: {answer.status} {answer.body}")
        return answer.body

    def _asked(
        self,
        connection: Connection,
        method: str,
        path: str,
        body: Any,
        headers: dict[str, str],
        sent: bool = False,
    ) -> Answer:
        give_up = time.monotonic() + GIVE_UP_S
        for attempt in range(1_000):
            pause: float = PAUSES_S[min(attempt, len(PAUSES_S) - 1)]
            try:
                if not (sent and attempt == 0):
                    connection.send(method, path, body, headers)
                answer = connection.receive()
                if not answer.ask_again:
                    return answer
                problem, pause = answer.code, answer.retry_after or pause
            except NoAnswer as error:
                problem = str(error)
            if time.monotonic() + pause > give_up:
                break
            self.asked_again += 1
            time.sleep(pause * random.uniform(0.75, 1.25))
        raise Unexpected(f"{method} {path} as {self.username}: no answer in {GIVE_UP_S} s, last {problem}")
