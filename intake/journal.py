"""Reading the journals. Writing is the gate's alone, but for what a rebuild writes back."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from itertools import chain
from typing import Any

import redis

from intake import keys
from intake.gate_errors import Unreconciled, translated
from intake.records import Position, raw_record
from intake.replication import Replication
from runtime.ahead import ahead

READ_RECORDS = 5_000
START = Position(0, 0)


class Journal:
    """Journals by draw's name, for one generation of the gate at a time."""

    def __init__(self, client: redis.Redis, replication: Replication) -> None:
        self._client = client
        self._replication = replication
        self.generation: int | None = None

    def read_after(self, draw: str, position: Position, count: int = READ_RECORDS) -> list[tuple[Position, bytes]]:
        """Up to `count` records after the position. Raises Unreconciled, IntakeUnavailable."""
        return [(place, raw) for place, raw, _ in self._read(draw, position, count)]

    def all(self, draw: str, count: int = READ_RECORDS) -> Iterator[tuple[Position, bytes]]:
        """Every record of the draw in order, `count` at a time."""
        for place, raw, _ in self.entries(draw, count):
            yield place, raw

    def entries(self, draw: str, count: int = READ_RECORDS) -> Generator[tuple[Position, bytes, bool]]:
        """As `all`, with whether the record was written back from the database."""
        with closing(ahead(self._chunks(draw, START, count))) as chunks:
            yield from chain.from_iterable(chunks)

    def between(self, draw: str, after: Position, up_to: Position) -> Generator[tuple[Position, bytes]]:
        """Every record behind the one place and not behind the other, in order. Raises as `read_after`."""
        with closing(ahead(self._chunks(draw, after, READ_RECORDS))) as chunks:
            for place, raw, _ in chain.from_iterable(chunks):
                if place > up_to:
                    return
                yield place, raw

    def _chunks(self, draw: str, position: Position, count: int) -> Iterator[list[tuple[Position, bytes, bool]]]:
        while batch := self._read(draw, position, count):
            yield batch
            position = batch[-1][0]

    def _read(self, draw: str, position: Position, count: int) -> list[tuple[Position, bytes, bool]]:
        """The generation is read behind the records on the same connection: a server that came back with less is
        not read as "nothing more"."""
        with translated():
            pipe = self._client.pipeline(transaction=False)
            pipe.xrange(keys.journal(draw), min=f"({position}", count=count)
            pipe.hget(keys.GATE, "generation")
            self._replication.ask(pipe)
            found, generation = self._replication.confirm(pipe.execute())
        if generation is None or int(generation) != self.generation:
            raise Unreconciled("the journal is of another generation")
        return [(Position.parse(place), *raw_record(entry)) for place, entry in found]

    def last(self, draws: list[str]) -> dict[str, Position | None]:
        """The id of the last record of each journal, None for one that does not exist; in one round trip."""
        with translated():
            pipe = self._client.pipeline(transaction=False)
            for draw in draws:
                pipe.xrevrange(keys.journal(draw), count=1)
            answers: list[Any] = pipe.execute()
        return {
            draw: Position.parse(found[0][0]) if found else None for draw, found in zip(draws, answers, strict=True)
        }
