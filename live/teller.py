"""Telling: events in the order of their numbers, none left out, and once a second what has changed.

The queue only makes it quick. Whatever it lost is found by its number: a gap, or the second's look at what was sent,
has the missing ones read from the database.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from typing import Any

import msgspec
import socketio
import structlog
from sqlalchemy.exc import SQLAlchemyError

from actions.live_events import Told, missed, sent, sent_since
from actions.resources import Resources
from intake.live_queue import heard
from live.figures import Figures
from live.listeners import OF_ONE_USER_MAX, Asked, Listener, read_connect, who_must_leave
from rules.errors import Problem
from rules.texts import rfc3339
from runtime.key_ring import KeyRing
from runtime.metrics import note_told, set_live_clients

LOOK_S = 1.0
STANDING_EVERY = 2  # looks
# A client that does not read is disconnected before what waits for it grows; it comes back with `since`.
WAITING_MAX = 2_000
# An open connection that has not said whose it is.
STRANGER_S = 10.0

_log = structlog.get_logger()


class Teller:
    """One process's clients, and what they have been told. Lives in one event loop."""

    def __init__(self, res: Resources, ring: KeyRing, server: socketio.AsyncServer, queue_url: str) -> None:
        self._res, self._ring, self._server, self._queue_url = res, ring, server, queue_url
        self._figures = Figures(res)
        self._here: dict[str, Listener] = {}  # by session id
        self._anew: set[int] = set()  # who came or went since the last look
        self._strangers: dict[str, float] = {}
        self._told = 0  # up to here all events were told
        self._begun = 0  # and up to here that was begun
        self._connecting: set[str] = set()  # connections that are being looked at
        self._telling = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []
        server.on("connect", self._connect)
        server.on("disconnect", self._disconnect)

    async def start(self) -> None:
        """Begins to listen. Events sent before are for those who ask what they missed."""
        while not await self._try(self._begin()):
            await asyncio.sleep(LOOK_S)
        self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._look_on())]
        for task in self._tasks:
            task.add_done_callback(_end)

    async def _begin(self) -> None:
        self._told = self._begun = await asyncio.to_thread(sent, self._res)

    @property
    def clients(self) -> int:
        """How many are connected and known."""
        return len(self._here)

    # ── clients ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def _connect(self, sid: str, _: Any, auth: Any = None) -> None:
        connection = self._server.manager.eio_sid_from_sid(sid, "/")
        self._connecting.add(connection)
        try:
            await self._let_in(sid, auth)
        finally:
            self._connecting.discard(connection)
        socket = self._server.eio.sockets.get(connection)
        if socket is None or socket.closed:  # it went meanwhile, and nobody will tell us
            self._here.pop(sid, None)
            raise socketio.exceptions.ConnectionRefusedError("gone")

    async def _let_in(self, sid: str, auth: Any) -> None:
        try:
            asked = await asyncio.to_thread(read_connect, self._res, self._ring, auth)
        except Problem as problem:
            raise socketio.exceptions.ConnectionRefusedError(problem.code) from problem
        except ValueError as error:
            raise socketio.exceptions.ConnectionRefusedError("invalid") from error
        except SQLAlchemyError as error:
            raise socketio.exceptions.ConnectionRefusedError("database_unavailable") from error
        listener = asked.listener
        if sum(other.user_id == listener.user_id for other in self._here.values()) >= OF_ONE_USER_MAX:
            raise socketio.exceptions.ConnectionRefusedError("slow_down")
        self._here[sid] = listener
        for room in listener.rooms:
            await self._server.enter_room(sid, room)
        # Read after he stands in his rooms: whatever was begun by then he may have missed, all else he hears.
        upto = self._begun
        self._anew.add(listener.user_id)
        self._server.start_background_task(self._catch_up, sid, asked, upto)

    async def _disconnect(self, sid: str, *_: Any) -> None:
        if (listener := self._here.pop(sid, None)) is not None:
            self._anew.add(listener.user_id)

    async def _catch_up(self, sid: str, asked: Asked, upto: int) -> None:
        """What he missed, then `caught_up`: until that he keeps the `since` that he came with."""
        events: Sequence[Told] = ()
        whole = True
        if asked.since is not None:
            try:
                events, whole = await asyncio.to_thread(missed, self._res, asked.since, upto, asked.listener.rooms)
            except SQLAlchemyError:
                await self._server.disconnect(sid)  # he comes back and asks again
                return
        for event in events:
            await self._server.emit(event.name, event.body, to=sid)
        await self._server.emit("caught_up", {"seq": upto, "complete": whole}, to=sid)

    # ── telling ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def _listen(self) -> None:
        async for message in heard(self._queue_url):
            await self._try(self._hear(message))

    async def _hear(self, message: bytes | None) -> None:
        if message is None:
            await self._fill()
            return
        event = msgspec.json.decode(message, type=Told)
        if event.seq == self._told + 1:
            async with self._telling:
                await self._tell([event])
        elif event.seq > self._told:
            await self._fill()

    async def _fill(self) -> None:
        """Tells what was sent and not heard."""
        async with self._telling:
            events = await asyncio.to_thread(sent_since, self._res, self._told)
            if events is not None:
                await self._tell(events)
                return
            # The database came back with less, and numbers are given again: whoever knows the old ones comes anew.
            _log.warning("live_numbers_went_back", known=self._told)
            await self._begin()
            await self._send_all_away()

    async def _tell(self, events: Sequence[Told]) -> None:
        if events and events[0].seq > self._told + 1:
            # This process fell behind what is kept: its clients come back, and learn that they missed something.
            _log.warning("live_events_lost", after=self._told, before=events[0].seq)
            await self._send_all_away()
        for event in events:
            if event.seq <= self._told:
                continue
            self._begun = event.seq
            await self._server.emit(event.name, event.body, room=event.rooms)
            self._told = event.seq
            note_told(event.name)

    async def _look_on(self) -> None:
        looks = 0
        while True:
            began = time.monotonic()
            await self._try(self._fill())
            await self._try(self._tell_figures())
            if looks % STANDING_EVERY == 0:
                await self._try(self._send_away())
            await self._try(self._drop())
            looks += 1
            await asyncio.sleep(max(0.0, LOOK_S - (time.monotonic() - began)))

    async def _tell_figures(self) -> None:
        listeners, anew = set(self._here.values()), self._anew
        self._anew = set()
        try:
            changes = await asyncio.to_thread(self._figures.changes, listeners, anew)
        except SQLAlchemyError:
            self._anew |= anew
            raise
        at = rfc3339(self._res.clock.now())
        for number, change in enumerate(changes):
            await self._server.emit(change.name, {"seq": self._told, "at": at, **change.data}, room=change.room)
            if number % 50 == 49:
                await asyncio.sleep(0)  # pings and newcomers wait no longer for a full house

    # ── going ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def _send_away(self) -> None:
        now = self._res.clock.now().timestamp()
        leaving = await asyncio.to_thread(who_must_leave, self._res, set(self._here.values()), now)
        for sid, listener in list(self._here.items()):
            if listener in leaving:
                await self._server.emit("ended", {"code": leaving[listener]}, to=sid)
                await self._server.disconnect(sid)

    async def _send_all_away(self) -> None:
        for sid in list(self._here):
            await self._server.disconnect(sid)

    async def _drop(self) -> None:
        """Those who do not read, and those who never said who they are."""
        for sid in [sid for sid in self._here if not self._server.manager.is_connected(sid, "/")]:
            if self._server.manager.eio_sid_from_sid(sid, "/") is None:
                del self._here[sid]
        set_live_clients(self._res.settings.live_port, self.clients)
        known = {self._server.manager.eio_sid_from_sid(sid, "/") for sid in self._here} | self._connecting
        sockets = dict(self._server.eio.sockets)
        now = time.monotonic()
        self._strangers = {eio: self._strangers.get(eio, now) for eio in sockets if eio not in known}
        for eio, socket in sockets.items():
            if now - self._strangers.get(eio, now) > STRANGER_S or socket.queue.qsize() > WAITING_MAX:
                self._strangers.pop(eio, None)
                await socket.close(wait=False, abort=True)

    async def _try(self, work: Any) -> bool:
        """One round that fails is logged; the next one makes up for it."""
        try:
            await work
        except Exception as error:
            _log.warning("live_round_failed", error=repr(error).splitlines()[0])
            return False
        return True


def _end(task: asyncio.Task[None]) -> None:
    """A process that tells nothing any more must not look alive; the server starts another one."""
    if not task.cancelled():
        _log.error("live_ended", error=repr(task.exception()))
        os._exit(1)
