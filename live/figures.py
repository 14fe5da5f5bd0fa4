"""Sales and wallets as they change, for those who are connected: looked at once a second, told where they differ."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from sqlalchemy import select

from actions.resources import Resources
from live.listeners import Listener
from models.figures import Sold, Stored, sold_by_agent, stored_draws
from models.people import User, Wallet
from rules.draws import LIVE
from rules.errors import IntakeUnavailable
from rules.rights import Role
from rules.rooms import of_user

# Who stands above whom changes by the day, and whoever is moved himself comes back (live/listeners.py).
PLACES_S = 10.0

_SEE_ALL = (Role.SUPERADMIN, Role.OPERATOR)


class Change(NamedTuple):
    """One event that is not kept: what it says stands in the database, and the next one says it anew."""

    name: str
    room: str
    data: Mapping[str, Any]


class Figures:
    """What each user was told last. Used by one thread at a time."""

    def __init__(self, res: Resources) -> None:
        self._res = res
        self._told: dict[tuple[int, str], Any] = {}
        self._stored: dict[int, Stored] = {}
        self._sold: dict[int, dict[int, Sold]] = {}  # by draw, of each agent
        self._above: dict[int, list[int]] = {}  # of each agent
        self._above_at = float("-inf")

    def changes(self, listeners: Collection[Listener], anew: Collection[int]) -> list[Change]:
        """What is to be told by now; to the users in `anew` everything: a connection of theirs has come, or gone.

        Raises the database's errors.
        """
        before = self._told
        self._told = {key: value for key, value in before.items() if key[0] not in anew}
        try:
            return self._changes(listeners)
        except BaseException:
            self._told = before  # nobody was told
            raise

    def _changes(self, listeners: Collection[Listener]) -> list[Change]:
        roles = {listener.user_id: listener.role for listener in listeners}
        if not roles:
            return []
        branches = {user for user, role in roles.items() if role not in _SEE_ALL}
        draws = self._look(agents=bool(branches))
        found = self._house(draws, [user for user, role in roles.items() if role in _SEE_ALL])
        found += self._branches(draws, branches)
        return found + self._wallets(list(roles))

    def _look(self, *, agents: bool) -> list[Stored]:
        """The draws that are not sealed, with the `agents`' sums of those that have moved since the last look, and once
        more those that have been sealed since."""
        with self._res.sessions() as session:
            draws = stored_draws(session, live=True)
            if gone := set(self._stored) - {draw.draw_id for draw in draws}:
                names = [self._stored[draw_id].name for draw_id in gone]
                draws += stored_draws(session, names=names)
            moved = [draw.draw_id for draw in draws if agents and self._stored.get(draw.draw_id) != draw]
            if moved:
                for draw_id in moved:
                    self._sold[draw_id] = {}
                for draw_id, agent, sold in sold_by_agent(session, moved):
                    self._sold[draw_id][agent] = sold
            if time.monotonic() - self._above_at > PLACES_S:
                above = select(User.id, User.ancestors).where(User.role == Role.AGENT)
                self._above = dict(session.execute(above).tuples().all())
                self._above_at = time.monotonic()
        if not agents:
            self._sold.clear()
        self._stored = {draw.draw_id: draw for draw in draws if draw.status in LIVE} if agents else {}
        for draw_id in self._sold.keys() - {draw.draw_id for draw in draws}:
            del self._sold[draw_id]
        return draws

    def _house(self, draws: Collection[Stored], users: Collection[int]) -> list[Change]:
        if not users:
            return []
        live = [draw for draw in draws if draw.status in LIVE]
        try:
            counts = self._res.gate.counts([draw.name for draw in live]) if live else []
        except IntakeUnavailable:
            counts = [None] * len(live)
        # Without the gate nothing is told of a draw that sells: what is stored is less than was told before.
        at_gate = {draw.name: Sold(*found[:4]) for draw, found in zip(live, counts, strict=True) if found is not None}
        return [
            change
            for draw in draws
            if draw.status not in LIVE or draw.name in at_gate
            for user in users
            for change in self._sales(user, draw.name, at_gate.get(draw.name, draw.sold))
        ]

    def _branches(self, draws: Collection[Stored], users: Collection[int]) -> list[Change]:
        found: list[Change] = []
        for draw in draws:
            sums: dict[int, Sold] = {}
            for agent, sold in self._sold.get(draw.draw_id, {}).items():
                for user in (agent, *self._above.get(agent, ())):
                    if user in users:
                        sums[user] = sums[user].plus(sold) if user in sums else sold
            for user, total in sums.items():
                found += self._sales(user, draw.name, total)
        return found

    def _sales(self, user: int, draw: str, sold: Sold) -> list[Change]:
        if self._told.get((user, draw), Sold()) == sold:
            return []
        self._told[user, draw] = sold
        return [Change("sales", of_user(user), {"draw_id": draw, **sold.body()})]

    def _wallets(self, users: list[int]) -> list[Change]:
        with self._res.sessions() as session:
            query = select(Wallet.user_id, Wallet.balance, Wallet.credit_limit).where(Wallet.user_id.in_(users))
            rows = session.execute(query).all()
        found = []
        for user, balance, limit in rows:
            body = {"user_id": user, "balance": balance, "credit_limit": limit, "available": balance + limit}
            if self._told.get((user, "wallet")) != body:
                self._told[user, "wallet"] = body
                found.append(Change("wallet", of_user(user), body))
        return found
