"""One connection that all threads of a process share: what they ask in the same moment goes out in one write.

With a connection for each thread every ticket costs two system calls and two changes of thread, at this end and at the
server's. Here it is two for all that wait. No thread is kept for it: of those that wait one reads the answers of all.
Before he hands them out he sends what was asked meanwhile, and one of those reads next.
"""

from __future__ import annotations

import threading
from typing import Any

import hiredis
import redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError


class _Asked:
    """A command on its way. Its thread waits at `over`, until there is an answer, or a trip that it has to read."""

    __slots__ = ("answer", "command", "over", "trip")

    def __init__(self, command: bytes) -> None:
        self.command = command
        self.answer: Any = None
        self.trip: _Trip | None = None
        self.over = threading.Lock()
        self.over.acquire()


class _Trip:
    """Commands that were sent together. `problem`: why sending them failed; `answered`: how many are."""

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

    def ask(self, *words: str | bytes | int) -> Any:
        """The server's answer to one command. Raises what the client library raises.

        A connection that breaks is made anew once, and what it had not answered is asked again: only for commands that
        may be carried out twice. After an error nobody knows whether it was carried out.
        """
        mine = _Asked(hiredis.pack_command(words))  # type: ignore[arg-type]  # its stub means any length
        with self._lock:
            self._waiting.append(mine)
            nobody_reads, self._busy = not self._busy, True
        if nobody_reads:
            mine.trip = self._depart()
        else:
            mine.over.acquire()
        if mine.trip is not None:
            self._arrive(mine.trip)
        if isinstance(mine.answer, Exception):
            raise mine.answer
        return mine.answer

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
        """Afterwards every command of the trip has its answer, or the error that stands for one."""
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
                asked.answer = problem

    def _send(self, trip: _Trip) -> None:
        trip.problem = None
        commands = [asked.command for asked in trip.asked[trip.answered :]]
        self._connection.send_packed_command([b"".join(commands)], check_health=False)

    def _receive(self, trip: _Trip) -> None:
        if trip.problem is not None:
            raise trip.problem
        for asked in trip.asked[trip.answered :]:
            try:
                asked.answer = self._connection.read_response(disable_decoding=True)
            except ResponseError as problem:  # the answer to this command alone
                asked.answer = problem
            trip.answered += 1
