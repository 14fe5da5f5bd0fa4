"""The outside things that actions and tasks work with, made once per process and handed in."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy.orm import Session, sessionmaker

from intake.client import ServerIdentity, make_breaker, make_client
from intake.doorbell import Doorbell, Publisher
from intake.gate import Gate
from intake.gate_calls import Rates
from intake.journal import Journal
from intake.line import Line
from intake.live_queue import LiveQueue, live_url
from intake.rebuild import Rebuild
from intake.replication import Replication
from intake.scripts import read_scripts
from intake.witness import Witness
from models.session import make_sessions
from reports.tickets.printer import TicketPrinter
from runtime.clock import Clock
from runtime.fresh import Fresh
from runtime.settings import Settings

# The journal's readers and rebuilds move megabytes: they may wait longer than a terminal may.
DRAIN_TIMEOUT_S = 10.0

# Live figures that many look at are made once a second.
FRESH_S = 1.0
FRESH_MAX = 1_000


@dataclass(frozen=True)
class Resources:
    """What a process works with. Everything in it may be used from several threads."""

    settings: Settings
    sessions: sessionmaker[Session]
    gate: Gate
    journal: Journal
    rebuild: Rebuild
    doorbell: Doorbell
    live: LiveQueue
    witness: Witness | None
    printer: TicketPrinter
    clock: Clock
    fresh: Fresh = field(default_factory=lambda: Fresh(FRESH_S, FRESH_MAX))

    @property
    def witness_folder(self) -> Path:
        return self.settings.witness_dir

    def close(self) -> None:
        """Gives every connection and the witness slot back."""
        self.sessions.kw["bind"].dispose()
        self.gate.close_connections()
        self.rebuild.close_connections()
        self.live.close_connections()
        if self.witness is not None:
            self.witness.close()

    def adopt(self, identity: ServerIdentity) -> None:
        """Lets this process talk to the gate of that generation."""
        self.gate.adopt(identity)
        self.journal.generation = identity.generation


def open_resources(
    settings: Settings,
    publisher: Publisher,
    clock: Clock,
    *,
    connections: int,
    witness: bool,
    sessions: sessionmaker[Session] | None = None,
) -> Resources:
    """Connects lazily: nothing is asked of any server here. `connections`: the most at a time to each of them.

    `sessions`: the way to PostgreSQL, if that is to be another than one with patience.
    """
    scripts = read_scripts()
    replication = Replication(settings.replicas, settings.replica_wait_ms)
    slot = Witness(settings.witness_dir) if witness else None
    gates: list[Gate] = []
    sale_client = make_client(
        settings.redis_url,
        timeout_s=settings.gate_timeout_s,
        connections=connections,
        retries=1,
        verify=lambda identity: gates[0].recognises(identity),
    )
    rates = Rates(settings.sales_per_s, settings.batches_per_s)
    breaker = make_breaker("gate", settings.redis_url, settings.gate_timeout_s, settings.breaker)
    # A witness is what API processes have, and so are many threads; a worker's steps may be interrupted by a signal.
    line = Line(sale_client) if witness else None
    gates.append(Gate(sale_client, scripts, slot, breaker, replication, rates, line))
    drain_client = make_client(settings.redis_url, timeout_s=DRAIN_TIMEOUT_S, connections=connections)
    return Resources(
        settings=settings,
        sessions=sessions or make_sessions(settings.database_url, pool_size=connections),
        gate=gates[0],
        journal=Journal(drain_client, replication),
        rebuild=Rebuild(drain_client, scripts),
        doorbell=Doorbell(publisher, drain_client),
        live=LiveQueue(live_url(settings.broker_url, settings.redis_url)),
        witness=slot,
        printer=TicketPrinter(settings.ticket_templates),
        clock=clock,
    )
