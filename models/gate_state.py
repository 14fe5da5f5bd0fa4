"""What the database last knew of the gate, and what the API processes witnessed."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Boolean, ForeignKey, Integer, PrimaryKeyConstraint, Text, func, select, text, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Base, Big, Instant, Str


class GateState(Base):
    """The one row: the generation of the gate and the server that holds it."""

    __tablename__ = "gate_state"

    one_row: Mapped[bool] = mapped_column(Boolean, primary_key=True, server_default="true")
    generation: Mapped[Big] = mapped_column(server_default="0")
    run_id: Mapped[str | None] = mapped_column(Text)
    replid: Mapped[str | None] = mapped_column(Text)
    round: Mapped[Big] = mapped_column(server_default="0")
    reconciled_at: Mapped[Instant | None]


class WitnessSlot(Base):
    """A place in which one API process after another keeps what it answered for."""

    __tablename__ = "witness_slots"

    slot: Mapped[Str] = mapped_column(primary_key=True)
    round: Mapped[Big] = mapped_column(server_default="0")
    listed_at: Mapped[Instant] = mapped_column(server_default=func.now())


class Witness(Base):
    """The highest journal id of a draw that a slot's processes answered for, as told in a round."""

    __tablename__ = "witnesses"
    __table_args__ = (PrimaryKeyConstraint("slot", "draw"),)

    slot: Mapped[Str] = mapped_column(ForeignKey("witness_slots.slot"))
    draw: Mapped[Str]
    serial: Mapped[Big]
    sub: Mapped[int] = mapped_column(Integer)


def gate_state(session: Session, *, lock: bool = False) -> GateState:
    """The row, read anew; with `lock` until the transaction ends, so that one reconciler works at a time."""
    query = select(GateState).execution_options(populate_existing=True)
    return session.scalars(query.with_for_update() if lock else query).one()


def share_generation(session: Session) -> int:
    """The generation, kept from being raised until the transaction ends."""
    return session.scalars(select(GateState.generation).with_for_update(read=True)).one()


def ask_witnesses(session: Session) -> int:
    """Starts a new round; every slot answers it with what it knows. Returns its number."""
    return session.execute(update(GateState).values(round=GateState.round + 1).returning(GateState.round)).scalar_one()


def list_slot(session: Session, slot: str) -> None:
    """Makes the slot known to reconciles."""
    session.execute(text("INSERT INTO witness_slots (slot) VALUES (:slot) ON CONFLICT DO NOTHING"), {"slot": slot})


def answer_round(session: Session, slot: str, round_: int, seen: Mapping[str, tuple[int, int]]) -> None:
    """Tells what the slot knows (draw's name → (serial, sub)) as its answer to the round."""
    session.execute(
        text(
            """
            INSERT INTO witnesses (slot, draw, serial, sub)
            SELECT :slot, * FROM unnest(CAST(:draws AS text[]), CAST(:serials AS bigint[]), CAST(:subs AS integer[]))
            ON CONFLICT (slot, draw) DO UPDATE SET serial = excluded.serial, sub = excluded.sub
            WHERE (witnesses.serial, witnesses.sub) < (excluded.serial, excluded.sub)
            """
        ),
        {
            "slot": slot,
            "draws": list(seen),
            "serials": [serial for serial, _ in seen.values()],
            "subs": [sub for _, sub in seen.values()],
        },
    )
    session.execute(update(WitnessSlot).where(WitnessSlot.slot == slot).values(round=round_))


def silent_slots(session: Session, round_: int) -> list[str]:
    """Listed slots that have not answered the round."""
    return list(session.scalars(select(WitnessSlot.slot).where(WitnessSlot.round < round_)))


def highest_witnessed(session: Session) -> dict[str, tuple[int, int]]:
    """The highest (serial, sub) told by any slot, by draw's name."""
    found: dict[str, tuple[int, int]] = {}
    for witness in session.scalars(select(Witness)):
        seen = (witness.serial, witness.sub)
        found[witness.draw] = max(found.get(witness.draw, (0, 0)), seen)
    return found
