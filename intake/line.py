"""One connection that all threads of a process share: what they ask in the same moment goes out in one write.

With a connection for each thread every ticket costs two system calls and two changes of thread, at this end and at the
server's. Here it is two for all that wait. No thread is kept for it: of those that wait one reads the answers of all.
Before he hands them out he sends what was asked meanwhile, and one of those reads next.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import hiredis
import redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

Commands = Sequence[Sequence[str | bytes | int]]


class _Asked:
    """Commands on their way. Their thread waits at `over`, until there are answers, or a trip that it has to read."""

    __slots__ = ("answers", "count", "over", "packed", "trip")

    def __init__(self, commands: Commands) -> None:
        self.packed = b"".join([hiredis.pack_command(words) for words in commands])  # type: ignore[arg-type]  # any length
        self.count = len(commands)
        self.answers: list[Any] | Exception = []
        self.trip: _Trip | None = None
        self.over = threading.Lock()
        self.over.acquire()


class _Trip:
    """What was sent together. `problem`: why sending it failed; `answered`: how many of those who ask are."""

    __slots__ = ("answered", "asked", "problem")

    def __init__(self, asked: list[_Asked]) -> None:
        self.asked = asked
        self.answered = 0
        self.problem: Exception | None = None


class Line:
    """Asks over one connection, made like those of the client's pool. Safe to use from several threads.

    Not for threads that a signal may interrupt: the others would wait for him for ever.
    """

    def __init__(self, client: redis.Redis) -> None:
        pool = client.connection_pool
        self._connection: Any = pool.connection_class(**pool.connection_kwargs)
        self._lock = threading.Lock()
        self._waiting: list[_Asked] = []
        self._busy = False

    def ask(self, *commands: Sequence[str | bytes | int]) -> list[Any]:
        """The server's answers to commands, in order. Raises what the client library raises.

        A connection that breaks is made anew once, and what it had not answered is asked again: only for commands that
        may be carried out twice. After an error nobody knows which were carried out.
        """
        mine = _Asked(commands)
        with self._lock:
            self._waiting.append(mine)
            nobody_reads, self._busy = not self._busy, True
        if nobody_reads:
            mine.trip = self._depart()
        else:
            mine.over.acquire()
        if mine.trip is not None:
            self._arrive(mine.trip)
        if isinstance(mine.answers, Exception):
            raise mine.answers
        for answer in mine.answers:
            if isinstance(answer, Exception):
                raise answer
        return mine.answers

    def close(self) -> None:
        """Gives the connection back; whoever asks after that opens another."""
        self._connection.disconnect()

    def _depart(self) -> _Trip | None:
        """Sends all that waits; None: nothing does, and whoever asks next begins anew."""
        with self._lock:
            if not self._waiting:
                self._busy = False
                return None
            trip, self._waiting = _Trip(self._waiting), []
        try:
            self._send(trip)
        except Exception as problem:  # whatever the library raises: who reads the trip sees to it
            trip.problem = problem
        return trip

    def _arrive(self, trip: _Trip) -> None:
        """Reads a trip's answers, sends the next one, hands the answers out."""
        try:
            self._read(trip)
        finally:
            following = self._depart()
            if following is not None:
                reader = following.asked[0]
                reader.trip = following
                reader.over.release()
            for asked in trip.asked:
                asked.over.release()

    def _read(self, trip: _Trip) -> None:
        """Afterwards all who ask have their answers, or the error that stands for them."""
        try:
            try:
                self._receive(trip)
            except RedisConnectionError:
                self._connection.disconnect()
                self._send(trip)
                self._receive(trip)
        except Exception as problem:
            self._connection.disconnect()  # what may still come is no answer to those who ask next
            if isinstance(problem, RedisTimeoutError):
                with self._lock:  # those behind them would wait once more as long
                    trip.asked += self._waiting
                    self._waiting = []
            for asked in trip.asked[trip.answered :]:
                asked.answers = problem

    def _send(self, trip: _Trip) -> None:
        trip.problem = None
        packed = [asked.packed for asked in trip.asked[trip.answered :]]
        self._connection.send_packed_command([b"".join(packed)], check_health=False)

    def _receive(self, trip: _Trip) -> None:
        if trip.problem is not None:
            raise trip.problem
        for asked in trip.asked[trip.answered :]:
            asked.answers = [self._answer() for _ in range(asked.count)]
            trip.answered += 1

    def _answer(self) -> Any:
        try:
            return self._connection.read_response(disable_decoding=True)
        except ResponseError as problem:  # the answer to this command alone
            return problem
