"""Baseline (c): settlement that loads every ticket of the draw, decides in Python and writes each back."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import selectinload

from bench.baselines.schema import Ticket, sessions

CHUNK = 2_000
PAYS = {"straight": 450, "rambolito_pair": 150, "rambolito_distinct": 75}


def settle(url: str, draw: str, result: str) -> tuple[int, int]:
    """(winning tickets, centavos won) of the draw, each ticket's row written with its outcome."""
    made = sessions(url)
    winners = won = 0
    with made.begin() as session:
        query = select(Ticket).where(Ticket.draw == draw).options(selectinload(Ticket.lines)).order_by(Ticket.id)
        for ticket in session.scalars(query.execution_options(yield_per=CHUNK)):
            ticket.prize = sum(_prize(line.play, line.number, result) * line.stake for line in ticket.lines)
            ticket.status = "won" if ticket.prize else "lost"
            winners += bool(ticket.prize)
            won += ticket.prize
    made.kw["bind"].dispose()
    return winners, won


def _prize(play: str, number: str, result: str) -> int:
    if play == "straight":
        return PAYS["straight"] if number == result else 0
    if sorted(number) != sorted(result):
        return 0
    return PAYS["rambolito_pair"] if len(set(number)) == 2 else PAYS["rambolito_distinct"]
