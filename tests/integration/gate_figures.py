"""What the gate must hold, computed from PostgreSQL and the journals' tails and from nothing else."""

from __future__ import annotations

from typing import NamedTuple

import redis
from sqlalchemy import select

from actions.resources import Resources
from intake.bets import fields
from intake.records import Position, TicketRecord, VoidRecord, decode
from models.draws import Draw, Intent
from models.draws import Position as PositionRow
from models.gate_state import gate_state
from models.people import User, Wallet, WalletOutbox, suspended_agents
from rules.draws import LIVE
from rules.tickets import Line


class Figures(NamedTuple):
    """Of one moment at which nobody else is at work. `healthy`: the gate is of the generation that is reconciled."""

    healthy: bool
    held: dict[int, int]  # agent → available, as the gate has it
    due: dict[int, int]  # agent → available, as it must be
    whole: dict[int, int]  # the same once every outbox row is applied
    suspended: set[int]  # agents whom the gate lets sell nothing
    exposures: dict[str, tuple[dict[str, int], dict[str, int]]]  # draw → (as the gate has it, by its journal)


def figures(res: Resources, client: redis.Redis) -> Figures:
    """Reads it all; `client` talks to the gate's server without its scripts."""
    with res.sessions() as session:
        state = gate_state(session)
        wallets = {w.user_id: w for w in session.scalars(select(Wallet))}
        agents = set(session.scalars(select(User.id).where(User.role == "agent")))
        positions = session.execute(
            select(Draw.name, PositionRow.serial, PositionRow.sub)
            .join(PositionRow, PositionRow.draw_id == Draw.id)
            .where(Draw.status.in_(LIVE))
        ).all()
        asked = session.scalars(select(Intent).where(Intent.status == "asked", Intent.user_id.is_not(None))).all()
        outbox = session.execute(select(WalletOutbox.user_id, WalletOutbox.seq, WalletOutbox.amount)).all()
    generation = client.hget("gate", "generation")
    healthy = generation is not None and int(generation) == state.generation  # type: ignore[arg-type]
    whole = {agent: wallets[agent].balance + wallets[agent].credit_limit for agent in agents}
    exposures = {}
    for name, serial, sub in positions:
        exposures[name] = _read(client, name, Position(serial, sub), whole)
    for intent in asked if healthy else ():
        answer: bytes = client.get(f"tightened:{intent.id}") or b""  # type: ignore[assignment]
        if answer.startswith(b"%d|applied|" % state.generation):
            whole[intent.user_id or 0] -= intent.payload["amount"]
    held, due, suspended = {}, dict(whole), set()
    for agent in agents:
        wallet: dict[bytes, bytes] = client.hgetall(f"wallet:{agent}")  # type: ignore[assignment]
        held[agent] = int(wallet.get(b"available", 0))
        seq = int(wallet.get(b"seq", 0))
        due[agent] -= sum(row.amount for row in outbox if row.user_id == agent and row.seq > seq)
        if wallet.get(b"status") == b"suspended":
            suspended.add(agent)
    return Figures(healthy, held, due, whole, suspended, exposures)


def _read(
    client: redis.Redis, name: str, position: Position, whole: dict[int, int]
) -> tuple[dict[str, int], dict[str, int]]:
    """Counts what the journal has behind the position against `whole`; (exposure in the gate, by the journal)."""
    live: dict[str, int] = {}
    lines: dict[int, tuple[Line, ...]] = {}
    for at, entry in client.xrange(f"draw:{name}:journal"):  # type: ignore[union-attr]
        place, record = Position.parse(at), decode(next(iter(entry.values())))
        if isinstance(record, TicketRecord):
            lines[place.serial], sign = record.lines, 1
            bets, stake = record.lines, record.stake
        elif isinstance(record, VoidRecord) and record.stake:
            bets, stake, sign = lines[record.ticket_serial], record.stake, -1
        else:
            continue
        for field, amount in fields("3D", bets).items():
            live[field] = live.get(field, 0) + sign * amount
        if place > position:
            whole[record.agent_id] -= sign * stake
    found: dict[bytes, bytes] = client.hgetall(f"draw:{name}:exposure")  # type: ignore[assignment]
    held = {field.decode(): int(amount) for field, amount in found.items()}
    return {f: a for f, a in held.items() if a}, {f: a for f, a in live.items() if a}


def suspended_by_the_database(res: Resources) -> set[int] | None:
    """Agents who may not sell; None while the gate has still to be told of somebody."""
    with res.sessions() as session:
        waits = select(Intent.id).where(Intent.kind == "standing", Intent.status == "asked")
        return None if session.scalar(waits.limit(1)) else suspended_agents(session)
