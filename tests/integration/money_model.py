"""A lottery's money in plain Python, so that tests have something to hold the books against. Centavos throughout."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from rules.tickets import Line

PAYS = {"straight": 450, "pair": 150, "distinct": 75}  # per centavo staked, as games begin with


@dataclass
class Pending:
    """A claim that waits for approval."""

    id: int
    claimer: int
    amount: int
    tax: int


@dataclass
class Sold:
    """A ticket of which the terminal has the receipt, and what was paid on it."""

    draw: str
    serial: int
    agent: int
    lines: tuple[Line, ...]
    receipt: dict[str, Any]
    id: str
    voided: bool = False
    cancelled: bool = False  # its id is dead
    paid: int = 0
    tax: int = 0
    expired: int = 0
    held: bool = False
    pending: Pending | None = None
    paid_by: int = 0  # who made the last claim that was paid

    @property
    def stake(self) -> int:
        return sum(line.stake for line in self.lines)

    def prize(self, drawn: str | None) -> int:
        """What the ticket wins if that number is drawn."""
        if drawn is None or self.voided:
            return 0
        return sum(line.stake * _pays(line, drawn) for line in self.lines)

    def due(self, drawn: str | None) -> int:
        return max(0, self.prize(drawn) - self.paid - self.expired)


def _pays(line: Line, drawn: str) -> int:
    if line.play == "straight":
        return PAYS["straight"] if line.number == drawn else 0
    if sorted(line.number) != sorted(drawn):
        return 0
    return PAYS["pair" if len(set(drawn)) == 2 else "distinct"]


@dataclass
class DrawBook:
    """What became of a draw."""

    name: str
    opened: int  # the model's time
    drawn: str | None = None
    version: int = 0
    settled: bool = False
    commissions: bool = False
    refunded: bool = False
    over: bool = False  # every prize was claimed or has expired
    serials: set[int] = field(default_factory=set)  # ever issued, those of lost tickets too

    def corrected(self, drawn: str) -> None:
        self.drawn, self.version, self.settled = drawn, self.version + 1, False


@dataclass
class Person:
    """One user with his wallet."""

    id: int
    role: str
    chain: list[int]
    balance: int = 0
    limit: int = 0
    suspended: bool = False
    rates: list[tuple[int, int, list[int]]] = field(default_factory=list)  # (the model's time, basis points, chain)

    def rate(self, at: int) -> tuple[int, list[int]]:
        """Basis points and chain that hold for a draw opened at that time."""
        _, bp, chain = next((row for row in reversed(self.rates) if row[0] <= at), self.rates[0])
        return bp, chain


class MoneyModel:
    """Everybody's money, moved by what the callers were told."""

    def __init__(self, approval_above: int, tax_above: int, tax_bp: int) -> None:
        self.approval_above, self.tax_above, self.tax_bp = approval_above, tax_above, tax_bp
        self.people: dict[int, Person] = {}
        self.draws: dict[str, DrawBook] = {}
        self.tickets: list[Sold] = []
        self.cash = 0  # of the house, as its account has it: what came in is negative
        self._time = 0

    def now(self) -> int:
        """The next instant."""
        self._time += 1
        return self._time

    def stands_suspended(self, user: int) -> bool:
        """Himself, or below a suspended coordinator."""
        above = [self.people[a] for a in self.people[user].chain]
        return self.people[user].suspended or any(a.suspended and a.role == "coordinator" for a in above)

    def house_of(self, user: int) -> int:
        """The administrator above."""
        return next(a for a in self.people[user].chain if self.people[a].role == "admin")

    # ── credit ──────────────────────────────────────────────────────────────────────────────────────────────

    def give(self, actor: int, target: int, amount: int, kind: str) -> None:
        """Moves `amount` (negative: a deduction) from the actor, or from the house, to the target."""
        self.people[target].balance += amount
        if self.people[actor].role == "coordinator":
            self.people[actor].balance -= amount
        elif kind != "correction":
            self.cash -= amount

    def set_rate(self, user: int, bp: int) -> None:
        person = self.people[user]
        person.rates.append((self.now(), bp, list(person.chain)))

    def most_earned(self, user: int, bp: int, chain: list[int]) -> int:
        """Basis points of a sale that all together would earn at most of anybody's at or below the user, if he had
        these."""
        rates = {one.id: one.rates[-1][1] for one in self.people.values()} | {user: bp}
        chains = {one.id: one.chain for one in self.people.values()} | {user: chain}
        return max(
            rates[one] + sum(rates[above] for above in above_him if self.people[above].role == "coordinator")
            for one, above_him in chains.items()
            if one == user or user in above_him
        )

    # ── tickets ─────────────────────────────────────────────────────────────────────────────────────────────

    def sold(self, ticket: Sold) -> None:
        """A receipt came; a serial that was issued before is the caller's to refuse."""
        self.tickets.append(ticket)
        self.draws[ticket.draw].serials.add(ticket.serial)
        self.people[ticket.agent].balance -= ticket.stake

    def voided(self, ticket: Sold) -> None:
        if not ticket.voided:
            ticket.voided = True
            self.people[ticket.agent].balance += ticket.stake

    def lost(self, tickets: Collection[Sold], voids: Collection[Sold]) -> None:
        """The gate's server lost what was not stored yet."""
        for ticket in voids:
            ticket.voided = ticket.cancelled = False
            self.people[ticket.agent].balance -= ticket.stake
        for ticket in tickets:
            self.tickets.remove(ticket)
            self.people[ticket.agent].balance += 0 if ticket.voided else ticket.stake

    def of(self, draw: str) -> list[Sold]:
        return [ticket for ticket in self.tickets if ticket.draw == draw]

    # ── draws ───────────────────────────────────────────────────────────────────────────────────────────────

    def settled(self, name: str) -> None:
        """The draw's current result is settled: commissions are earned once, whatever the result becomes."""
        draw = self.draws[name]
        draw.settled = True
        if not draw.commissions:
            draw.commissions = True
            for user, earned in self.commissions(name).items():
                self.people[user].balance += earned

    def commissions(self, name: str) -> dict[int, int]:
        live: dict[int, int] = {}
        for ticket in self.of(name):
            live[ticket.agent] = live.get(ticket.agent, 0) + (0 if ticket.voided else ticket.stake)
        earned: dict[int, int] = {}
        for agent, stake in live.items():
            _, chain = self.people[agent].rate(self.draws[name].opened)
            for user in [agent, *(a for a in chain if self.people[a].role == "coordinator")]:
                bp, _ = self.people[user].rate(self.draws[name].opened)
                earned[user] = earned.get(user, 0) + stake * bp // 10_000
        return earned

    def corrected(self, name: str, drawn: str) -> None:
        self.draws[name].corrected(drawn)
        for ticket in self.of(name):
            ticket.pending = None

    def refunded(self, name: str) -> None:
        """The draw is void: every live stake goes back, once."""
        draw = self.draws[name]
        if not draw.refunded:
            draw.refunded = True
            for ticket in self.of(name):
                self.people[ticket.agent].balance += 0 if ticket.voided else ticket.stake

    def expire(self, names: Iterable[str]) -> int:
        """The time to claim is over for these draws; the centavos that nobody can claim any more."""
        expired = 0
        for draw in (self.draws[name] for name in names):
            if not draw.settled or draw.over:
                continue
            due = [ticket for ticket in self.of(draw.name) if ticket.due(draw.drawn)]
            left = [ticket for ticket in due if ticket.held or ticket.pending]
            for ticket in due:
                if ticket not in left:
                    expired += ticket.due(draw.drawn)
                    ticket.expired += ticket.due(draw.drawn)
            draw.over = not left
        return expired

    # ── claims ──────────────────────────────────────────────────────────────────────────────────────────────

    def claim_outcome(self, actor: int, ticket: Sold, status: str) -> str:
        """ "paid", "pending" or the code of the refusal that a claim of the ticket must meet now."""
        person, drawn = self.people[actor], self.draws[ticket.draw].drawn
        if self.stands_suspended(actor):
            return "token_revoked"
        if person.role == "admin":
            if actor not in self.people[ticket.agent].chain:
                return "not_found"
        elif self.house_of(actor) != self.house_of(ticket.agent):
            return "not_found"
        if ticket.held:
            return "on_hold"
        if status in ("voiding", "void"):
            return "not_a_winner"
        if status != "settled":
            return "not_settled"
        if not ticket.prize(drawn) and not ticket.paid:
            return "not_a_winner"
        if ticket.expired:
            return "claim_expired"
        if ticket.pending is not None:
            return "pending" if ticket.pending.claimer == actor else "already_claimed"
        if not ticket.due(drawn):
            return "already_claimed"
        return "pending" if ticket.prize(drawn) > self.approval_above else "paid"

    def asked(self, actor: int, ticket: Sold) -> tuple[int, int]:
        """(due, tax withheld of it) of a claim made now."""
        prize, due = ticket.prize(self.draws[ticket.draw].drawn), ticket.due(self.draws[ticket.draw].drawn)
        whole = prize * self.tax_bp // 10_000 if prize > self.tax_above else 0
        return due, min(due, max(0, whole - ticket.tax))

    def paid(self, claimer: int, ticket: Sold, amount: int, tax: int) -> None:
        ticket.paid += amount
        ticket.tax += tax
        ticket.pending, ticket.paid_by = None, claimer
        if self.people[claimer].role == "admin":
            self.cash += amount - tax
        else:
            self.people[claimer].balance += amount - tax
