"""What a report says of its draw or its period before it comes to figures: the same facts in every kind."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.orm import Session

from models.draws import Draw, Position
from models.reporting import draws_between
from models.settlement import Seal
from models.sums import Sums
from reports.document import Fact, Kind
from reports.kinds import Scope
from rules.draws import MANILA

SEALED, COUNTED, DIFFERENT = "sealed", "counted", "different"

_CHECKED = {
    SEALED: "yes, at the seal",
    DIFFERENT: "NO: the sums are not those that were sealed",
}


def draws_of(session: Session, scope: Scope) -> Sequence[Draw]:
    """The draw, or those that are drawn in the period."""
    if scope.draw is not None:
        return [scope.draw]
    assert scope.since is not None
    assert scope.before is not None
    return draws_between(session, scope.since, scope.before)


def about(scope: Scope) -> str:
    """The draw's name, or the period in Manila's time; its end does not belong to it."""
    if scope.draw is not None:
        return scope.draw.name
    if scope.since is None or scope.before is None:
        return "now"
    since, before = (f"{at.astimezone(MANILA):%Y-%m-%d %H:%M}" for at in (scope.since, scope.before))
    return f"{since} to {before}, Manila"


def scope_facts(session: Session, scope: Scope) -> tuple[Fact, ...]:
    """Whose report it is; its draw with the seal, or its period."""
    whose = (
        Fact("top_id", "For user", scope.top.id, Kind.ID),
        Fact("top", "Username", scope.top.username),
        Fact("top_name", "Name", scope.top.full_name),
        Fact("top_role", "Role", scope.top.role),
    )
    if scope.draw is not None:
        return (*whose, *draw_facts(scope.draw), *seal_facts(session.get(Seal, scope.draw.id)))
    return (
        *whose,
        Fact("since", "From", scope.since, Kind.INSTANT),
        Fact("before", "Before", scope.before, Kind.INSTANT),
    )


def draw_facts(draw: Draw) -> tuple[Fact, ...]:
    return (
        Fact("draw_id", "Draw", draw.name),
        Fact("game", "Game", draw.game),
        Fact("date", "Date", draw.date, Kind.DATE),
        Fact("time", "Time", f"{draw.time:%H:%M}"),
        Fact("status", "State", draw.status),
        Fact("result", "Result", draw.result),
        Fact("version", "Version of the result", draw.result_version or None, Kind.COUNT),
    )


def seal_facts(seal: Seal | None) -> tuple[Fact, ...]:
    """What everybody may read of the seal; None: the draw is not sealed."""
    return (
        Fact("merkle_root", "Merkle root", seal and seal.merkle_root.hex()),
        Fact("tree_size", "Leaves", seal and seal.tree_size, Kind.COUNT),
        Fact("sealed_at", "Sealed", seal and seal.sealed_at, Kind.INSTANT),
        Fact("late", "Sealed late", seal and ("yes" if seal.late else "no")),
        Fact("restored", "Leaves restored from the database", seal and seal.restored, Kind.COUNT),
        Fact("gaps", "Serials never issued", seal and gaps_text(seal)),
    )


def gaps_text(seal: Seal) -> str:
    return ", ".join(f"{first} to {last}" for first, last in seal.gaps) or "none"


def against_tickets(session: Session, draw: Draw, sums: Sums) -> str:
    """SEALED: these sums are those that were equal to the tickets when the draw was sealed; COUNTED: not sealed yet."""
    seal = session.get(Seal, draw.id)
    if seal is None:
        return COUNTED
    return SEALED if sums.digest() == seal.sums_hash else DIFFERENT


def checked_fact(session: Session, draw: Draw, sums: Sums) -> Fact:
    """Whether the draw's sums were checked against its tickets; of one that is not sealed how far they go."""
    said = _CHECKED.get(against_tickets(session, draw, sums))
    if said is None:
        position = session.get(Position, draw.id)
        place = f"{position.serial}-{position.sub}" if position is not None else "0-0"
        never = " yet" if draw.status not in ("voiding", "void") else ""
        said = f"not sealed{never}: counted while storing, as far as {place} of the journal"
    return Fact("checked", "Checked against the tickets", said)


STANDING = Fact("standing", "Places", "everyone is counted where he stands now, wherever he stood when he sold")
