"""One connection that all threads of a process share: what they ask in the same moment goes out in one write.

With a connection for each thread every ticket costs two system calls and two changes of thread, at this end and at the
server's. Here it is two for all that wait. No thread is kept for it: of those that wait one reads the answers of all.
Before he hands them out he sends what was asked meanwhile, and one of those reads next.
"""

from __future__ import annotations

import copy
import threading
from contextlib import suppress
from typing import Any

import hiredis
import redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError


class _Asked:
    """A command on its way. Its thread waits at `over`, until there is an answer, or a trip that it has to read."""

    __slots__ = ("answer", "over", "packed", "trip")

    def __init__(self, words: tuple[str | bytes | int, ...]) -> None:
        self.packed = hiredis.pack_command(words)  # type: ignore[arg-type]  # its stub means any length
        self.answer: Any = RedisConnectionError("nobody has read the answer")
        self.trip: _Trip | None = None
        self.over = threading.Lock()
        self.over.acquire()


class _Trip:
    """Commands that go together. `answered`: how many have an answer; `told`: how many of their threads know it."""

    __slots__ = ("answered", "asked", "sent", "told")

    def __init__(self, asked: list[_Asked]) -> None:
        self.asked = asked
        self.sent = False
        self.answered = self.told = 0

    def tell(self, count: int) -> None:
        """Lets the first `count` go on."""
        for asked in self.asked[self.told : count]:
            self.told += 1
            asked.over.release()


class Line:
    """Asks over one connection, made like those of the client's pool. Safe to use from several threads.

    Only for short calls: whoever asks next waits for them. Not for threads that a signal may interrupt: the others
    would wait for him.
    """

    def __init__(self, client: redis.Redis) -> None:
        pool = client.connection_pool
        self._connection: Any = pool.connection_class(**pool.connection_kwargs)
        self._lock = threading.Lock()
        self._waiting: list[_Asked] = []
        self._busy = False

    def ask(self, *words: str | bytes | int) -> Any:
        """The server's answer to one command. Raises what the client library raises.

        A connection that breaks is made anew once, and what it had not answered is asked again: only for commands that
        may be carried out twice. After an error nobody knows whether it was carried out.
        """
        mine = _Asked(words)
        with self._lock:
            self._waiting.append(mine)
            if not self._busy:
                mine.trip, self._busy = self._gather(), True
        if mine.trip is None:
            mine.over.acquire()
        if mine.trip is not None:
            self._travel(mine.trip)
        if isinstance(mine.answer, Exception):
            raise copy.copy(mine.answer)  # others raise theirs at the same time
        return mine.answer

    def close(self) -> None:
        """Gives the connection back; whoever asks after that opens another."""
        self._connection.disconnect()

    def _gather(self) -> _Trip:
        """All that waits; the lock is held."""
        trip, self._waiting = _Trip(self._waiting), []
        return trip

    def _travel(self, trip: _Trip) -> None:
        """Gets the answers of a trip, and hands them out; afterwards each of its commands has one, or an error."""
        connected = False
        try:
            self._fetch(trip)
            connected = True
        except BaseException as problem:
            self._drop()  # what may still come is no answer to those who ask next
            if not isinstance(problem, Exception):
                raise
            for asked in trip.asked[trip.answered :]:
                asked.answer = problem
        finally:
            self._hand_on(trip, connected)

    def _fetch(self, trip: _Trip) -> None:
        try:
            if not trip.sent:
                self._send(trip)
            self._receive(trip)
        except RedisConnectionError:
            self._drop()
            trip.tell(trip.answered)  # they need not wait for another connection
            self._send(trip)
            self._receive(trip)

    def _hand_on(self, trip: _Trip, connected: bool) -> None:
        """Sends what was asked meanwhile, if there is a connection; making one is for those who need it."""
        with self._lock:
            following = self._gather() if self._waiting else None
            self._busy = following is not None
        try:
            if following is not None and connected:
                self._send_ahead(following)
        finally:
            if following is not None:
                reader = following.asked[0]
                reader.trip, following.told = following, 1
                reader.over.release()
            trip.tell(len(trip.asked))

    def _send_ahead(self, trip: _Trip) -> None:
        try:
            self._send(trip)
        except BaseException as problem:
            self._drop()
            trip.sent = False  # whoever reads it sends it again
            if not isinstance(problem, Exception):
                raise

    def _send(self, trip: _Trip) -> None:
        packed = [asked.packed for asked in trip.asked[trip.answered :]]
        trip.sent = True
        self._connection.send_packed_command([b"".join(packed)], check_health=False)

    def _receive(self, trip: _Trip) -> None:
        for asked in trip.asked[trip.answered :]:
            try:
                asked.answer = self._connection.read_response(disable_decoding=True)
            except ResponseError as problem:  # the answer to this command alone
                asked.answer = problem
            trip.answered += 1

    def _drop(self) -> None:
        with suppress(Exception):
            self._connection.disconnect()
