"""Agents' credit in the gate against their wallets in the database and what is on its way between the two."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import NamedTuple

from intake.gate_counts import CREDITS_A_CALL, Credit
from intake.records import Position
from models.credit_reports import Owed, live_positions, owed_to
from models.dead_letters import waiting_records
from reports.kinds import Sources
from reports.tally import Tally, touching


class Checked(NamedTuple):
    """One agent's credit; centavos. `expected` is balance + limit − stakes not stored − outbox rows not applied.

    `difference` None: the gate was told something after the database's snapshot.
    """

    agent_id: int
    username: str
    available: int | None
    balance: int
    credit_limit: int
    not_stored: int
    not_applied: int
    asked: int
    expected: int
    difference: int | None


def check_credits(sources: Sources, agents: Sequence[int]) -> Iterator[Checked]:
    """These agents' wallets in the order of their ids. Raises IntakeUnavailable, Unreconciled.

    A deduction that is begun and ended while this is read shows as a difference: the snapshot does not know it.
    """
    session = sources.session
    tails = [_Tail(sources, draw_id, name, game, place) for draw_id, name, game, place in live_positions(session)]
    ordered = sorted(agents)
    for first in range(0, len(ordered), CREDITS_A_CALL):
        some = ordered[first : first + CREDITS_A_CALL]
        owed = owed_to(session, some)
        tops, credits = sources.gate.credits([tail.draw for tail in tails], some)
        for tail in tails:
            tail.read_to(tops.get(tail.draw))
        for agent in some:
            if agent in owed:
                not_stored = sum(tail.live(agent) for tail in tails)
                yield _checked(owed[agent], credits[agent], not_stored)


def _checked(owed: Owed, credit: Credit | None, not_stored: int) -> Checked:
    seq = credit.seq if credit is not None else 0
    not_applied = sum(amount for number, amount in owed.outbox if number > seq)
    expected = owed.balance + owed.credit_limit - not_stored - not_applied
    difference: int | None = (credit.available if credit is not None else 0) - expected
    if seq > owed.outbox_seq:
        difference = None
    elif difference is not None and -owed.asked <= difference <= 0:
        difference = 0  # what is asked for may have taken effect in the gate, and is not posted yet
    return Checked(
        owed.agent_id,
        owed.username,
        credit.available if credit is not None else None,
        owed.balance,
        owed.credit_limit,
        not_stored,
        not_applied,
        owed.asked,
        expected,
        difference,
    )


class _Tail:
    """What a live draw's journal holds behind the database's position, with the letters that wait."""

    def __init__(self, sources: Sources, draw_id: int, draw: str, game: str, place: tuple[int, int]) -> None:
        self.draw = draw
        self._sources, self._place = sources, Position(*place)
        self._tally = Tally(game)
        for letter in waiting_records(sources.session, draw_id):
            at, raw = letter.record()
            self._tally.add(Position(*at), raw)

    def read_to(self, top: Position | None) -> None:
        """As far as the gate had come when it said what it holds; None: it does not hold the draw."""
        if top is None or top <= self._place:
            return
        with closing(self._sources.journal.between(self.draw, self._place, top)) as records:
            for place, raw in touching(self._sources.session, records):
                self._tally.add(place, raw)
        self._place = top

    def live(self, agent: int) -> int:
        """What the agent has staked there, less what came back."""
        counts = self._tally.agents.get(agent)
        return counts["stake"] - counts["voided_stake"] if counts is not None else 0
