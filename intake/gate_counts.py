"""What the gate has counted, for whoever holds it against the journal and the database. Nothing is changed here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from intake import keys
from intake.gate_agents import GateOfAgents
from intake.gate_errors import Unreconciled
from intake.records import PLAY_LETTERS, Position

# Wallets read in one moment: the server does nothing else meanwhile.
CREDITS_A_CALL = 500

_PLAYS = {letter.encode(): play for play, letter in PLAY_LETTERS.items()}
_SUMS = ("tickets", "stake", "voids", "voided_stake")


class Counted(NamedTuple):
    """A draw in the gate at one moment. `top`: its last record; `sums`: tickets, stake, voids, voided_stake;
    `exposure`: live stake by (play, key), zeros left out; `records`: how many its journal holds."""

    top: Position
    sums: dict[str, int]
    exposure: dict[tuple[str, str], int]
    records: int


class Credit(NamedTuple):
    """An agent's wallet in the gate: centavos, and the last outbox row that was applied."""

    available: int
    seq: int


class GateOfCounts(GateOfAgents):
    """Reading. Raises IntakeUnavailable everywhere, and Unreconciled where figures of two generations could meet."""

    def exposures(self, draws: Sequence[str]) -> list[dict[tuple[str, str], int]]:
        """Live stake by (play, key) of each draw, in one round trip."""
        with self._guarded():
            pipe = self._client.pipeline(transaction=False)
            for draw in draws:
                pipe.hgetall(keys.exposure(draw))
            return [_bets(found) for found in pipe.execute()]

    def counted(self, draw: str) -> Counted | None:
        """What it has counted of the draw; None: it does not hold it."""
        with self._guarded():
            pipe = self._client.pipeline(transaction=True)
            pipe.hget(keys.GATE, "generation")
            pipe.hmget(keys.draw(draw), ["serial", "sub", *_SUMS])
            pipe.hgetall(keys.exposure(draw))
            pipe.xlen(keys.journal(draw))
            generation, fields, exposure, records = pipe.execute()
            self._must_be_of(generation)
        if fields[0] is None:
            return None
        serial, sub, *sums = (int(field) for field in fields)
        bets = {bet: stake for bet, stake in _bets(exposure).items() if stake}
        return Counted(Position(serial, sub), dict(zip(_SUMS, sums, strict=True)), bets, records)

    def credits(
        self, draws: Sequence[str], agents: Sequence[int]
    ) -> tuple[dict[str, Position], dict[int, Credit | None]]:
        """Up to CREDITS_A_CALL wallets, and the last record of each of these draws that it holds, of one moment."""
        assert len(agents) <= CREDITS_A_CALL
        with self._guarded():
            pipe = self._client.pipeline(transaction=True)
            pipe.hget(keys.GATE, "generation")
            for draw in draws:
                pipe.hmget(keys.draw(draw), ["serial", "sub"])
            for agent in agents:
                pipe.hmget(keys.wallet(agent), ["available", "seq"])
            generation, *answers = pipe.execute()
            self._must_be_of(generation)
        tops, wallets = answers[: len(draws)], answers[len(draws) :]
        held = {draw: Position(int(top[0]), int(top[1])) for draw, top in zip(draws, tops, strict=True) if top[0]}
        return held, {agent: _credit(wallet) for agent, wallet in zip(agents, wallets, strict=True)}

    def _must_be_of(self, generation: bytes | None) -> None:
        if generation is None or int(generation) != self._generation():
            raise Unreconciled("the gate is of another generation")


def _bets(found: Mapping[bytes, bytes]) -> dict[tuple[str, str], int]:
    return {(_PLAYS[field[:1]], field[1:].decode()): int(stake) for field, stake in found.items()}


def _credit(fields: Sequence[Any]) -> Credit | None:
    return None if fields[0] is None else Credit(int(fields[0]), int(fields[1] or 0))
