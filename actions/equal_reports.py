"""When two requests for a report are equal, and how long what was made for one of them is good for the other."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from models.draws import Draw
from models.people import User, is_suspended
from models.reports import add_by_itself, stamp_of_claims, stamp_of_tree
from rules.reports import LASTING, request_digest
from rules.rights import ADMINISTRATORS, Role


class Wanted(NamedTuple):
    """What is asked for; `top`: whose subtree is shown."""

    kind: str
    format: str
    top: User
    draw: Draw | None = None
    since: datetime | None = None
    before: datetime | None = None


class Equality(NamedTuple):
    """Two requests of an owner with the same digest are equal; `lasting`: for as long as the file is kept."""

    digest: bytes
    lasting: bool


def equality(session: Session, wanted: Wanted) -> Equality:
    """A report about a settled draw lasts until anything of it is corrected, paid or held, or somebody is hired or
    moved whom it might show; any other shows what changes all the time."""
    draw = wanted.draw
    if draw is None or draw.status != "settled" or wanted.kind not in LASTING:
        return Equality(_digest(wanted), False)
    return Equality(_digest(wanted, [*_stamp(session, draw), *_stamp_of_people(session, wanted.top)]), True)


def ask_for_settled(session: Session, draw: Draw, sellers: Sequence[int]) -> None:
    """The draw's report for every administrator, and his statement for every agent who sold in it, as PDF to be signed.

    To be called in the transaction that settles the draw, at its end. Each is the same as if its owner asked for it
    right afterwards; a worker makes them after the commit.
    """
    about = _stamp(session, draw)
    of_house = select(User).where(User.role.in_(ADMINISTRATORS), ~is_suspended()).order_by(User.id)
    agents = select(User).where(User.id.in_(sellers), User.role == Role.AGENT).order_by(User.id)
    for kind, owners in (("draw_sales", of_house), ("statement", agents)):
        tops = session.scalars(owners).all()
        digests = [_digest(Wanted(kind, "pdf", top, draw), [*about, *_stamp_of_people(session, top)]) for top in tops]
        add_by_itself(session, kind, "pdf", draw.id, [top.id for top in tops], digests)


def _digest(wanted: Wanted, stamp: Sequence[int] = ()) -> bytes:
    draw = None if wanted.draw is None else wanted.draw.id
    told = wanted.kind, wanted.format, wanted.top.id, draw, wanted.since, wanted.before
    return request_digest(*told, stamp=stamp)


def _stamp(session: Session, draw: Draw) -> list[int]:
    return [draw.result_version, *stamp_of_claims(session, draw.id)]


def _stamp_of_people(session: Session, top: User) -> list[int]:
    """Nobody stands below an agent."""
    return [] if Role(top.role) is Role.AGENT else [stamp_of_tree(session)]
