"""What the gate holds of agents: their credit, whether they may sell, and which of their logins have ended."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from intake import keys
from intake.gate_calls import GateCalls
from rules.errors import AgentSuspended, TokenRevoked

# So many keys in one call take the server some milliseconds.
KEYS_A_CALL = 1_000


class GateOfAgents(GateCalls):
    """Calls about agents.

    `generation` is the one that was adopted before the caller read in PostgreSQL that its intent is still asked for;
    None: the one adopted now. Without it a slow caller could repeat, on a rebuilt gate, what somebody else has posted.
    """

    def loosen(self, agent_id: int, seq: int, amount: int) -> int:
        """Applies an outbox row of a wallet. Gives the last number that the gate holds, `seq` or another."""
        answer = self._call("loosen", [keys.wallet(agent_id)], [self._generation(), seq, amount])
        return int(answer[1])

    def tighten(self, agent_id: int, intent: str, amount: int, *, generation: int | None = None) -> tuple[bool, int]:
        """Takes `amount` centavos off an agent's credit, unless it is not there; the same intent gets the same answer.

        Gives (applied, available): what is left, or what there is and is less than `amount`. Raises Unreconciled,
        IntakeUnavailable: it may or may not have been applied; ask again.
        """
        names = [keys.wallet(agent_id), keys.tightened(intent)]
        answer = self._call("tighten", names, [self._generation(generation), amount])
        return answer[0] == b"applied", int(answer[1])

    def set_standing(self, agents: Sequence[tuple[int, bool]], version: int, *, generation: int | None = None) -> int:
        """Tells for each (agent, suspended) how he stands; gives how many wallets took it.

        A version below the one that a wallet holds changes nothing there: older news arrive late. `generation`: the
        one under which it was read who is suspended. Raises Unreconciled, IntakeUnavailable: some may know and others
        not; tell all again.
        """
        generation = self._generation(generation)
        calls = []
        for chunk in _chunks(agents):
            words = ["suspended" if suspended else "active" for _, suspended in chunk]
            calls.append(("standing", [keys.wallet(agent_id) for agent_id, _ in chunk], [generation, version, *words]))
        return sum(int(answer[1]) for answer in self._run(calls)) if calls else 0

    def end_sessions(self, sessions: Sequence[str], ttl_s: int) -> None:
        """Ends logins: none of their access tokens sells from here on. `ttl_s`: until the last of them has expired.

        Raises Unreconciled, IntakeUnavailable: tell all again.
        """
        generation = self._generation()
        calls = [("ended", [keys.ended(one) for one in chunk], [generation, ttl_s]) for chunk in _chunks(sessions)]
        if calls:
            self._run(calls)

    def standing(self, agent_id: int, session: str = "") -> None:
        """Whether the agent may act by this login ("": none). Raises AgentSuspended, TokenRevoked, Unreconciled,
        IntakeUnavailable."""
        answer = self._call("may_act", [keys.wallet(agent_id), keys.ended(session)], [self._generation(), session])
        if answer[0] == b"suspended":
            raise AgentSuspended
        if answer[0] == b"revoked":
            raise TokenRevoked


def _chunks(items: Sequence[Any]) -> Iterator[list[Any]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, KEYS_A_CALL)):
        yield chunk
