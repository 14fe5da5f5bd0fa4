"""What records of a journal add up to, by agent."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from sqlalchemy import text
from sqlalchemy.orm import Session

from intake.bets import summed
from intake.records import BadRecord, Position, TicketRecord, VoidRecord, decode
from models.sums import COUNTS
from rules.tickets import Line

# A long read elsewhere must not look to the database like a transaction that was left open.
TOUCH_RECORDS = 10_000


class Tally:
    """Counts records one by one; memory holds a line for each agent. With `bets` also what stands on each bet, for
    which the lines of all tickets are kept that may be voided behind: only for what is bounded."""

    def __init__(self, game: str, *, bets: bool = False) -> None:
        self.agents: dict[int, dict[str, int]] = {}
        self.records = self.unread = 0
        self.last = Position(0, 0)
        self.bets: dict[tuple[str, str], int] = {}
        self.foreign: list[int] = []  # serials of tickets that were voided and are not among these records
        self._game = game
        self._lines: dict[int, tuple[Line, ...]] | None = {} if bets else None

    def add(self, place: Position, raw: bytes) -> None:
        """Takes the next record."""
        self.records += 1
        self.last = max(self.last, place)
        try:
            record = decode(raw)
        except BadRecord:
            self.unread += 1
            return
        if isinstance(record, TicketRecord):
            self._count(record.agent_id, "tickets", "stake", record.stake)
            if self._lines is not None:
                self._lines[place.serial] = record.lines
                self.stand(record.lines, 1)
        elif isinstance(record, VoidRecord) and record.stake:
            self._count(record.agent_id, "voids", "voided_stake", record.stake)
            if self._lines is not None:
                lines = self._lines.get(record.ticket_serial)
                if lines is None:
                    self.foreign.append(record.ticket_serial)
                else:
                    self.stand(lines, -1)

    def stand(self, lines: Iterable[Line], sign: int) -> None:
        """Puts lines on their bets, or takes them away."""
        for bet, stake in summed(self._game, lines).items():
            self.bets[bet] = self.bets.get(bet, 0) + sign * stake

    def _count(self, agent: int, number: str, money: str, stake: int) -> None:
        counts = self.agents.setdefault(agent, dict.fromkeys(COUNTS, 0))
        counts[number] += 1
        counts[money] += stake

    def of(self, agents: Collection[int] | None) -> dict[str, int]:
        """COUNTS of these agents together; None: of all."""
        return counts_of(self.agents, agents)

    def live(self) -> dict[int, int]:
        """Stake less voids by agent."""
        return {agent: counts["stake"] - counts["voided_stake"] for agent, counts in self.agents.items()}


def counts_of(by_agent: dict[int, dict[str, int]], agents: Collection[int] | None) -> dict[str, int]:
    """COUNTS of these agents together; None: of all."""
    mine = [counts for agent, counts in by_agent.items() if agents is None or agent in agents]
    return {name: sum(counts[name] for counts in mine) for name in COUNTS}


def touching(session: Session, records: Iterable[tuple[Position, bytes]]) -> Iterable[tuple[Position, bytes]]:
    """The same records, with a word to the database now and then."""
    for number, record in enumerate(records, 1):
        if number % TOUCH_RECORDS == 0:
            session.execute(text("SELECT 1"))
        yield record
