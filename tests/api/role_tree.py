"""A tree with every kind of neighbour for every role, and things that belong to its people.

People are hired by SQL, so that a call that changes somebody can have a fresh one of the same place.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from flask import Flask
from sqlalchemy import func, insert, select, text, update

from actions import claims, reports, results
from actions.credit import push_outbox
from actions.draws import close, create
from actions.notifications import notify
from actions.resources import Resources
from actions.sell import sell
from api.served import served
from api.tokens import Actor, Made
from intake.gate import Sale
from models.dead_letters import DeadLetter
from models.draws import draw_by_name
from models.ledger import Account
from models.logins import Login
from models.people import CommissionRate, User, Wallet, loosen
from rules.rights import Role
from rules.rooms import of_user
from rules.tickets import Line
from tasks.make_report import make_report
from tasks.persist import persist
from tasks.seal import seal
from tasks.settle import settle
from tests.api.conftest import Caller

# place → (role, the place above). One of each role acts, under the role's name.
PLACES: dict[str, tuple[Role, str | None]] = {
    "root": (Role.SUPERADMIN, None),
    "root's operator": (Role.OPERATOR, "root"),
    "superadmin": (Role.SUPERADMIN, "root"),
    "superadmin's superadmin": (Role.SUPERADMIN, "superadmin"),
    "superadmin's admin": (Role.ADMIN, "superadmin"),
    "superadmin's admin's agent": (Role.AGENT, "superadmin's admin"),
    "superadmin's coordinator": (Role.COORDINATOR, "superadmin"),
    "superadmin's agent": (Role.AGENT, "superadmin"),
    "superadmin's operator": (Role.OPERATOR, "superadmin"),
    "other superadmin": (Role.SUPERADMIN, "root"),
    "admin": (Role.ADMIN, "root"),
    "admin's agent": (Role.AGENT, "admin"),
    "operator": (Role.OPERATOR, "admin"),
    "other operator": (Role.OPERATOR, "admin"),
    "area": (Role.COORDINATOR, "admin"),
    "area's agent": (Role.AGENT, "area"),
    "coordinator": (Role.COORDINATOR, "area"),
    "coordinator's coordinator": (Role.COORDINATOR, "coordinator"),
    "coordinator's coordinator's agent": (Role.AGENT, "coordinator's coordinator"),
    "agent": (Role.AGENT, "coordinator"),
    "other agent": (Role.AGENT, "coordinator"),
    "other coordinator": (Role.COORDINATOR, "area"),
    "other coordinator's agent": (Role.AGENT, "other coordinator"),
    "other admin": (Role.ADMIN, "root"),
    "other admin's coordinator": (Role.COORDINATOR, "other admin"),
    "other admin's coordinator's agent": (Role.AGENT, "other admin's coordinator"),
    "other admin's operator": (Role.OPERATOR, "other admin"),
}
# Who asks first, wherever a second person is needed; acts in no case itself.
FIRST = "other superadmin"

WINNER, STAKE = "046", 100
# A stake of ₱1 pays ₱450 at once, one of ₱2 waits for approval.
APPROVAL_ABOVE = 60_000
LIMIT = 100_000_000
HIRED_AT_ONCE = 10
WINNERS_OF_EACH = 24
WAITING_OF_EACH = 24
PAYEE = {"name": "Maria Santos", "phone": "+63 917 000 0000", "id_no": "N01-23-456789"}


@dataclass(frozen=True)
class Person:
    """Somebody in the tree; `ancestors` from the root down to the one above."""

    place: str
    id: int
    role: Role
    ancestors: tuple[int, ...]
    username: str

    def relation(self, actor: Person) -> str:
        """What he is to the actor."""
        if self.id == actor.id:
            return "own"
        if actor.id in self.ancestors:
            return "lower"
        if self.id in actor.ancestors:
            return "higher"
        return "sibling" if self.ancestors == actor.ancestors else "other subtree"


@dataclass
class Tree:
    """The people by place, and what they sell, draw and claim."""

    app: Flask
    people: dict[str, Person] = field(default_factory=dict)
    _spare: dict[str, list[Person]] = field(default_factory=lambda: defaultdict(list))
    _sessions: dict[int, str] = field(default_factory=dict)
    _draws: dict[str, str] = field(default_factory=dict)
    _winning: dict[tuple[str, int], list[dict[str, Any]]] = field(default_factory=dict)
    _claims: dict[str, int] = field(default_factory=dict)
    _letters: dict[str, int] = field(default_factory=dict)
    _told: dict[int, int] = field(default_factory=dict)
    _reports: dict[int, str] = field(default_factory=dict)
    _minute: int = 0

    @property
    def res(self) -> Resources:
        return served(self.app).res

    # ── people ──────────────────────────────────────────────────────────────────────────────────────────────

    def grow(self) -> None:
        """Hires everybody; the first superadmin is there."""
        with self.res.sessions.begin() as session:
            root = session.scalars(select(User)).one()
            session.execute(update(Wallet).values(credit_limit=LIMIT))  # to live on, as everybody has
        self.people["root"] = Person("root", root.id, Role.SUPERADMIN, (), root.username)
        self._hash = root.password_hash
        for place, (_, above) in PLACES.items():
            if above is not None:
                (self.people[place],) = self.hire(place, 1)

    def hire(self, place: str, count: int) -> list[Person]:
        """New people of that place, with a credit limit to live on."""
        role, above = PLACES[place]
        assert above is not None
        parent = self.people[above]
        ancestors = [*parent.ancestors, parent.id]
        common = {"password_hash": self._hash, "role": role, "parent_id": parent.id, "ancestors": ancestors}
        rows = [{"username": f"u{uuid.uuid4().hex[:16]}", **common} for _ in range(count)]
        with self.res.sessions.begin() as session:
            added = insert(User).returning(User.id, sort_by_parameter_order=True)
            ids = [row.id for row in session.execute(added, rows)]
            session.execute(insert(Wallet), [{"user_id": i, "credit_limit": LIMIT} for i in ids])
            session.execute(insert(Account), [{"kind": "wallet", "user_id": i} for i in ids])
            session.execute(insert(CommissionRate), [{"user_id": i, "bp": 0, "ancestors": ancestors} for i in ids])
            if role is Role.AGENT:
                loosen(session, dict.fromkeys(ids, LIMIT), "credit limit")
        push_outbox(self.res)
        return [Person(place, i, role, tuple(ancestors), row["username"]) for i, row in zip(ids, rows, strict=True)]

    def fresh(self, person: Person) -> Person:
        """Somebody of the same place whom no call has met; the first superadmin has none like him."""
        if PLACES[person.place][1] is None:
            return person
        if not self._spare[person.place]:
            self._spare[person.place] = self.hire(person.place, HIRED_AT_ONCE)
        return self._spare[person.place].pop()

    def set_status(self, person: Person, status: str) -> None:
        """In the database alone."""
        with self.res.sessions.begin() as session:
            session.execute(text("UPDATE users SET status = :s WHERE id = :id"), {"s": status, "id": person.id})

    def mend_root(self) -> None:
        """Undoes what was done to the first superadmin, who has none like him; he stands above all others."""
        root = self.people["root"]
        undone = "status = 'active', must_change_password = false, password_hash = :hash"
        with self.res.sessions.begin() as session:
            session.execute(text(f"UPDATE users SET {undone} WHERE id = :id"), {"id": root.id, "hash": self._hash})
        self._sessions.pop(root.id, None)

    def log_in(self, person: Person) -> str:
        """The id of a new session of his."""
        now = self.res.clock.now()
        kid = served(self.app).tokens.ring.signing().kid
        with self.res.sessions.begin() as session:
            login = Login(user_id=person.id, address="192.0.2.1", kid=kid, expires_at=now + timedelta(days=1))
            session.add(login)
            session.flush()
            return str(login.id)

    def tokens(self, person: Person, *, fresh: bool) -> dict[str, Any]:
        """An access and a refresh token of a session that he keeps."""
        if person.id not in self._sessions:
            self._sessions[person.id] = self.log_in(person)
        now = self.res.clock.now()
        with self.app.app_context():
            tokens = served().tokens
            made = Made(1, now, now + timedelta(days=1), tokens.ring.signing().kid)
            actor = Actor(person.id, person.username, person.role, self._sessions[person.id], fresh)
            return tokens.pair(actor, made)

    def caller(self, person: Person | None, *, fresh: bool = False) -> Caller:
        """He, with a token that is fresh or not; None: nobody."""
        if person is None:
            return Caller(self.app)
        return Caller(self.app, self.tokens(person, fresh=fresh)["access_token"], {"id": person.id})

    # ── draws ───────────────────────────────────────────────────────────────────────────────────────────────

    def named(self) -> dict[str, Any]:
        """What a new draw is called."""
        self._minute += 1
        day = date(2026, 3, 1) + timedelta(days=self._minute // 1440)
        minute = self._minute % 1440
        return {"game": "3D", "date": day.isoformat(), "time": f"{minute // 60:02}:{minute % 60:02}"}

    def draw(self, state: str, *, fresh: bool = False) -> str:
        """A draw that is scheduled, open, late (closed and drawn), sealed, resulted or settled; one is shared."""
        if fresh or state not in self._draws:
            made = self._make_draw(state)
            if fresh:
                return made
            self._draws[state] = made
        return self._draws[state]

    def _make_draw(self, state: str) -> str:
        named, now = self.named(), self.res.clock.now()
        opens_in = timedelta(days=30) if state == "scheduled" else timedelta(minutes=-1)
        name = str(
            create(
                self.res,
                None,
                game=named["game"],
                date=date.fromisoformat(named["date"]),
                time=(now.min + timedelta(minutes=self._minute % 1440)).time(),
                opens_at=now + opens_in,
                cutoff_at=now + timedelta(days=40),
                draws_at=now + timedelta(days=41),
            )["id"]
        )
        if state not in ("scheduled", "open"):
            self._play(name, state)
        return name

    def _play(self, name: str, state: str) -> None:
        close(self.res, self.people[FIRST].id, name)
        persist(self.res, name)
        if state != "late":
            assert seal(self.res, name)
        with self.res.sessions.begin() as session:
            back = "opens_at = opens_at - d, cutoff_at = cutoff_at - d, draws_at = draws_at - d"
            statement = f"UPDATE draws SET {back} FROM (SELECT interval '50 days' AS d) AS days WHERE name = :name"
            session.execute(text(statement), {"name": name})
        if state in ("resulted", "settled"):
            what = {"number": WINNER, **self.when(name)}
            results.enter(self.res, self.people["root"].id, name, **what)
            results.confirm(self.res, self.people[FIRST].id, name, **what)
        if state == "settled":
            assert settle(self.res, name)

    def when(self, name: str) -> dict[str, Any]:
        """A draw's date and time."""
        with self.res.sessions() as session:
            row = draw_by_name(session, name)
        assert row is not None
        return {"date": row.date, "time": row.time}

    # ── tickets and claims ──────────────────────────────────────────────────────────────────────────────────

    def sold(self, agent: Person, draw: str | None = None, pesos: int = 1) -> dict[str, Any]:
        """The receipt of a ticket on the number that wins."""
        lines = (Line("straight", WINNER, pesos * STAKE),)
        return sell(self.res, draw or self.draw("open"), Sale(agent.id, uuid.uuid4().hex, lines))[0]

    def win(self) -> None:
        """Has every agent sell tickets that win, and the draw settled."""
        name = self._make_draw("open")
        agents = [person for person in self.people.values() if person.role is Role.AGENT]
        for agent in agents:
            for pesos, count in ((1, WINNERS_OF_EACH), (2, WAITING_OF_EACH)):
                self._winning[agent.place, pesos] = [self.sold(agent, name, pesos) for _ in range(count)]
        self._play(name, "settled")

    def winning(self, agent: Person, pesos: int = 1) -> dict[str, Any]:
        """The receipt of a winning ticket that nobody has claimed."""
        return self._winning[agent.place, pesos].pop()

    def claim(self, claimer: Person, at: list[Person], *, fresh: bool) -> int:
        """The id of a claim of his that waits for approval, on a ticket that one of the agents `at` sold."""
        if fresh or claimer.place not in self._claims:
            seller = next(agent for agent in at if self._winning[agent.place, 2])
            ticket = self.winning(seller, 2)
            claim_id = int(claims.claim(self.res, claimer.id, ticket["number"], ticket["code"], PAYEE)[1]["claim_id"])
            if fresh:
                return claim_id
            self._claims[claimer.place] = claim_id
        return self._claims[claimer.place]

    # ── dead letters ────────────────────────────────────────────────────────────────────────────────────────

    def letter(self, kind: str, *, fresh: bool) -> int:
        """The id of a waiting dead letter: of a task, or of a record that nobody can read in a drained draw."""
        if fresh or kind not in self._letters:
            made = self._make_letter(kind)
            if fresh:
                return made
            self._letters[kind] = made
        return self._letters[kind]

    def _make_letter(self, kind: str) -> int:
        what: dict[str, Any] = {"kind": kind, "error": "the walk"}
        if kind == "task":
            what |= {"queue": "settle", "task": "draws.seal", "arguments": [uuid.uuid4().hex]}
        with self.res.sessions.begin() as session:
            if kind == "record":
                draw = draw_by_name(session, self.draw("late"))
                assert draw is not None
                serial = 1 + session.scalar(select(func.count()).select_from(DeadLetter))
                what |= {"queue": "persist", "draw_id": draw.id, "serial": serial, "sub": 0, "body": b"?"}
            return int(session.execute(insert(DeadLetter).values(what).returning(DeadLetter.id)).scalar_one())

    # ── notifications ───────────────────────────────────────────────────────────────────────────────────────

    def told(self, person: Person) -> int:
        """The id of a notification that he alone was told."""
        if person.id not in self._told:
            with self.res.sessions.begin() as session:
                told = notify(session, "announcement", "The walk", "is long", [of_user(person.id)], {})
            assert told is not None
            self._told[person.id] = told
        return self._told[person.id]

    # ── reports ─────────────────────────────────────────────────────────────────────────────────────────────

    def report(self, owner: Person) -> str:
        """A report of his that is ready."""
        if owner.id not in self._reports:
            period = {"since": self.res.clock.now() - timedelta(days=1), "before": self.res.clock.now()}
            body = reports.ask(self.res, owner.id, "statement", "json", **period)
            assert make_report(self.res, body["id"])
            self._reports[owner.id] = body["id"]
        return self._reports[owner.id]

    def finish_reports(self) -> None:
        """Nobody has any waiting: there may be only so many."""
        failed = "status = 'failed', finished_at = now(), file = NULL, code = 'x', detail = 'x'"
        with self.res.sessions.begin() as session:
            session.execute(text(f"UPDATE reports SET {failed} WHERE status IN ('waiting', 'running')"))
