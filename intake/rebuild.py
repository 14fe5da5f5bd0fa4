"""Making the gate anew from what PostgreSQL knows and what is left of the journals.

Nothing here decides anything: actions/reconcile.py does, under the locks of the position rows.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import redis

from intake import bets, keys
from intake.client import ServerIdentity, identify
from intake.gate_errors import Unreconciled, translated
from intake.journal import START
from intake.records import BadRecord, GapRecord, Position, TicketRecord, VoidRecord, decode, raw_record
from intake.scripts import Script
from rules.tickets import Line

CHUNK = 2_000


class DrawImage:
    """What the gate holds of one draw: begun from the database's sums, then every record after the position."""

    def __init__(self, name: str, position: Position, sums: Mapping[str, int], exposure: Mapping[str, int]) -> None:
        """`sums`: tickets, stake, voids, voided_stake as far as the position; `exposure` by the gate's field."""
        self.name = name
        self.game = name.partition("-")[0]
        self.top = position
        self.sums = dict(sums)
        self.exposure = dict(exposure)
        self.ids: dict[str, str] = {}
        self.spent: dict[int, int] = {}
        self._lines: dict[int, tuple[Line, ...]] = {}
        self.last_ms = 0
        self.marker: Position | None = None

    def add(self, position: Position, raw: bytes, *, lines_of_ticket: Any, annulled: bool = False) -> None:
        """Counts a record that the database's sums lack; `lines_of_ticket(serial)` serves voids of stored tickets.

        One that was `annulled` is known and counted, as it was when it was accepted, but holds no stake any more.
        """
        self.top = max(self.top, position)
        try:
            record = decode(raw)
        except BadRecord:
            return
        if isinstance(record, TicketRecord):
            self.ids[record.id] = str(position.serial)
            self._lines[position.serial] = record.lines
            if not annulled:
                self._count(record.agent_id, record.lines, 1)
            self.sums["tickets"] += 1
            self.sums["stake"] += record.stake
            self.last_ms = max(self.last_ms, record.accepted_ms)
        elif isinstance(record, VoidRecord):
            self.ids[record.id] = (str(record.ticket_serial) if record.ticket_serial else "") + record.kind
            if record.stake:
                if not annulled:
                    lines = self._lines.get(record.ticket_serial) or lines_of_ticket(record.ticket_serial)
                    self._count(record.agent_id, lines, -1)
                self.sums["voids"] += 1
                self.sums["voided_stake"] += record.stake
        elif not isinstance(record, GapRecord):
            self.marker = position if raw.startswith(b"z") else self.marker
        if not isinstance(record, TicketRecord):
            self.last_ms = max(self.last_ms, record.made_ms)

    def _count(self, agent_id: int, lines: Iterable[Line], sign: int) -> None:
        for field, stake in bets.fields(self.game, lines).items():
            self.exposure[field] = self.exposure.get(field, 0) + sign * stake
        self.spent[agent_id] = self.spent.get(agent_id, 0) + sign * sum(line.stake for line in lines)


class Rebuild:
    """The writes of one rebuild, on a connection with patience."""

    def __init__(self, client: redis.Redis, scripts: Mapping[str, Script]) -> None:
        # The library's own types are unions that say nothing; what comes back is said below.
        self._client: Any = client
        self._scripts = scripts

    def close_connections(self) -> None:
        """Gives all connections back."""
        self._client.close()
        self._client.connection_pool.disconnect()

    def identity(self) -> ServerIdentity:
        """Which server answers now."""
        with translated():
            return identify(self._client)

    def fence(self) -> str:
        """Stops every gate: the generation goes first, and comes back last. Gives the rebuild's mark."""
        mark = uuid.uuid4().hex
        self._run_one("fence", mark)
        return mark

    def highest_generation(self) -> int:
        """The highest generation that this server has seen; 0: none."""
        with translated():
            return max(int(found or 0) for found in self._client.hmget(keys.GATE, "highest", "generation"))

    def switch_on(self, mark: str, generation: int) -> ServerIdentity:
        """The one write that lets the gate sell again. Raises Unreconciled if what was written since `mark` is gone."""
        if self._run_one("switch", mark, generation)[0] != b"switched":
            raise Unreconciled("the server changed while it was being rebuilt")
        return self.identity()

    def _run_one(self, name: str, *arguments: Any) -> Any:
        """Loads and runs one of the scripts that are needed before the others may be loaded."""
        script = self._scripts[name]
        with translated():
            self._client.script_load(script.text)
            return self._client.evalsha(script.sha, 1, keys.GATE, *arguments)

    def load_scripts(self) -> None:
        """Loads the scripts; only after it was found or made sure that the server has what it promised."""
        with translated():
            for script in self._scripts.values():
                self._client.script_load(script.text)

    def forget_others(self, live: Collection[str]) -> None:
        """Deletes what the gate holds of draws that are not `live`, but for their journals: they are PostgreSQL's now.

        An older copy of such a draw would sell again.
        """
        with translated():
            for key in self._client.scan_iter(match="draw:*", count=CHUNK):
                parts = key.decode().split(":")
                if len(parts) == 2 and parts[1] not in live:
                    name = parts[1]
                    self._client.delete(*_all_but_the_journal(name))

    def drop_what_is_no_journal(self, name: str) -> None:
        """Deletes a key that stands where a journal belongs and is none: it could be neither read nor replaced."""
        with translated():
            if self._client.type(keys.journal(name)) not in (b"stream", b"none"):
                self._client.delete(keys.journal(name))

    def tail(self, name: str, after: Position) -> Iterator[tuple[Position, bytes]]:
        """What the journal still holds after the position, read in chunks."""
        return self._read(name, after, None)

    def held(self, name: str, up_to: Position) -> Iterator[tuple[Position, bytes, bool]]:
        """What the journal holds up to the position, with whether it was written back before."""
        return self._entries(name, START, up_to)

    def _read(self, name: str, after: Position, up_to: Position | None) -> Iterator[tuple[Position, bytes]]:
        return ((place, raw) for place, raw, _ in self._entries(name, after, up_to))

    def _entries(self, name: str, after: Position, up_to: Position | None) -> Iterator[tuple[Position, bytes, bool]]:
        while True:
            with translated():
                found = self._client.xrange(
                    keys.journal(name), min=f"({after}", max=str(up_to) if up_to else "+", count=CHUNK
                )
            for place, fields in found:
                after = Position.parse(place)
                yield after, *raw_record(fields)
            if len(found) < CHUNK:
                return

    def length(self, name: str) -> int:
        """How many records the journal holds."""
        with translated():
            return int(self._client.xlen(keys.journal(name)))

    def surviving(self, name: str) -> tuple[str, int]:
        """(latch, last_ms) of the draw as the server still has it; ("", 0) if it has nothing to be read."""
        with translated():
            if self._client.type(keys.draw(name)) != b"hash":
                return "", 0
            latch, last_ms = self._client.hmget(keys.draw(name), "latch", "last_ms")
        return (latch or b"").decode(), int(last_ms or 0)

    def rewrite(self, name: str, records: Iterable[tuple[Position, bytes, bool]]) -> None:
        """Replaces a journal by these records (place, bytes, written back?) in one step."""
        new = keys.journal(name) + ":new"
        with translated():
            self._client.delete(new)
            for chunk in _chunks(records):
                pipe = self._client.pipeline(transaction=False)
                for position, raw, back in chunk:
                    pipe.xadd(new, {"b" if back else "r": raw}, id=str(position))
                pipe.execute()
            self._client.rename(new, keys.journal(name))

    def append(self, name: str, position: Position, raw: bytes) -> None:
        """Adds one record behind the journal's last."""
        with translated():
            self._client.xadd(keys.journal(name), {"r": raw}, id=str(position))

    def now_ms(self) -> int:
        """The server's clock."""
        with translated():
            seconds, micros = self._client.time()
        return int(seconds) * 1000 + int(micros) // 1000

    def write_draw(
        self,
        image: DrawImage,
        fields: Mapping[str, Any],
        by_number: Mapping[str, int],
        stored_ids: Iterable[tuple[str, str]],
    ) -> None:
        """Replaces everything but the journal. `by_number`: limits of numbers by exposure field; `stored_ids`: (id,
        state) as far as the position."""
        name = image.name
        with translated():
            self._client.delete(*_all_but_the_journal(name))
            if by_number:
                self._client.hset(keys.limits(name), mapping=dict(by_number))
            for ids in _chunks(_both(stored_ids, image.ids.items())):
                self._client.hset(keys.ids(name), mapping=dict(ids))
            if image.exposure:
                self._client.hset(keys.exposure(name), mapping=dict(image.exposure))
            self._client.hset(
                keys.draw(name),
                mapping={
                    **fields,
                    **image.sums,
                    "numbered": "1" if by_number else "0",
                    "serial": image.top.serial,
                    "sub": image.top.sub,
                    "last_ms": image.last_ms,
                    **({"marker": str(image.marker)} if image.marker else {}),
                },
            )

    def write_wallets(self, wallets: Iterable[tuple[int, int, int, bool]]) -> None:
        """Replaces wallets by (agent, available, last outbox number, suspended)."""
        with translated():
            for chunk in _chunks(wallets):
                pipe = self._client.pipeline(transaction=False)
                for agent_id, available, seq, suspended in chunk:
                    name = keys.wallet(agent_id)
                    pipe.delete(name)
                    status = {"status": "suspended"} if suspended else {}
                    pipe.hset(name, mapping={"available": available, "seq": seq, **status})
                pipe.execute()

    def write_ended(self, sessions: Iterable[str], ttl_s: int) -> None:
        """Sets logins as ended for `ttl_s` seconds; those that are set already stay so."""
        with translated():
            for chunk in _chunks(sessions):
                pipe = self._client.pipeline(transaction=False)
                for session in chunk:
                    pipe.set(keys.ended(session), "1", ex=ttl_s)
                pipe.execute()


def _all_but_the_journal(name: str) -> list[str]:
    return [keys.draw(name), keys.ids(name), keys.exposure(name), keys.limits(name), keys.bell(name)]


def _both(first: Iterable[tuple[str, str]], second: Iterable[tuple[str, str]]) -> Iterable[tuple[str, str]]:
    yield from first
    yield from second


def _chunks(items: Iterable[Any]) -> Iterable[list[Any]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, CHUNK)):
        yield chunk
