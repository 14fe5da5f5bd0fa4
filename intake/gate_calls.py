"""One process's way to the gate: running its scripts, and what is wrong when they do not answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any, NamedTuple

import redis

from intake import keys
from intake.client import ServerIdentity
from intake.gate_errors import Unreconciled, translated
from intake.line import Line
from intake.records import Position
from intake.replication import Replication
from intake.scripts import Script
from intake.witness import Witness
from rules.errors import IntakeUnavailable
from runtime.breaker import Breaker


class Rates(NamedTuple):
    """What one agent may send in a second; a second's worth of it also at once."""

    sales_per_s: int = 20
    batches_per_s: int = 1


class GateCalls:
    """Calls of the gate's scripts. `adopt` tells it which generation it may talk to."""

    def __init__(
        self,
        client: redis.Redis,
        scripts: Mapping[str, Script],
        witness: Witness | None,
        breaker: Breaker,
        replication: Replication,
        rates: Rates,
        line: Line | None = None,
    ) -> None:
        """`line`: for a process of many threads, whose single calls then share a connection; without it, and for
        several at once, each takes one of the client's pool."""
        self._client = client
        self._line = line
        self._scripts = scripts
        self._witness = witness
        self._breaker = breaker
        self._replication = replication
        self._rates = rates
        self.identity: ServerIdentity | None = None

    def adopt(self, identity: ServerIdentity | None) -> None:
        """Talks to this server and generation from now on, the last reconciled ones; None: to none."""
        self.identity = identity

    def recognises(self, identity: ServerIdentity) -> bool:
        """Whether a new connection reached the adopted server. Before the first adoption every call is refused."""
        return self.identity is None or identity == self.identity

    def close_connections(self) -> None:
        """Gives all connections back."""
        self._breaker.stop()
        if self._line is not None:
            self._line.close()
        self._client.close()
        self._client.connection_pool.disconnect()

    def _generation(self, asked: int | None = None) -> int:
        if self.identity is None or self.identity.generation is None:
            raise Unreconciled("no generation adopted yet")
        return self.identity.generation if asked is None else asked

    def _seen(self, draw: str) -> list[Any]:
        return [self._generation(), *(self._witness.seen(draw) if self._witness else (0, 0))]

    def _note(self, draw: str, position: Position) -> None:
        if self._witness:
            self._witness.note(draw, position)

    def _call(self, script: str, names: Sequence[str], arguments: Sequence[Any]) -> list[Any]:
        return self._run([(script, names, arguments)])[0]

    def _run(
        self, calls: Sequence[tuple[str, Sequence[str], Sequence[Any]]], *, alone: bool = False
    ) -> list[list[Any]]:
        """Runs scripts in one round trip; answers are lists whose first item is the outcome.

        `alone`: nobody else shall wait for these calls.
        """
        commands = [
            ("EVALSHA", self._scripts[script].sha, len(names), *names, *arguments) for script, names, arguments in calls
        ]
        with self._guarded():
            if self._line is not None and not alone and len(commands) == 1 and not self._replication.replicas:
                answers = [self._line.ask(*commands[0])]
            else:
                answers = self._ask(commands)
            for answer in answers:
                if answer[0] == b"fenced":
                    why = answer[1].decode(errors="replace")
                    raise Unreconciled(why, damaged=why != "generation")
        return answers

    def _ask(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """Over a connection of one's own."""
        pipe: Any = self._client.pipeline(transaction=False)
        for command in commands:
            pipe.execute_command(*command)
        self._replication.ask(pipe)
        return self._replication.confirm(pipe.execute())

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Translates errors. Damage takes the generation away: the server is the reconciled one, so nothing else
        would tell the next reconcile that there is something to mend."""
        try:
            with translated(), self._breaker.calling():
                yield
        except Unreconciled as problem:
            if problem.damaged:
                self._fence()
            raise

    def _fence(self) -> None:
        with suppress(IntakeUnavailable), translated():
            self._client.evalsha(self._scripts["fence"].sha, 1, keys.GATE, "damage")

    def _answering(self) -> AbstractContextManager[None]:
        return self._witness.answering() if self._witness else nullcontext()
