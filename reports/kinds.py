"""The kinds of reports: what each is about, who may ask for it, and what makes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from sqlalchemy.orm import Session

from intake.gate import Gate
from intake.journal import Journal
from models.draws import Draw
from models.people import User
from reports.document import Document
from rules.rights import Role


@dataclass(frozen=True)
class Sources:
    """Where figures come from. `session` is read from only, in one snapshot. `claim_days`: of the settings."""

    session: Session
    gate: Gate
    journal: Journal
    now: datetime
    claim_days: int


@dataclass(frozen=True)
class Scope:
    """Of what a report is: a draw, or a period (`since` <= … < `before`), or neither; and of whom.

    `top`: the user whose subtree is shown: whoever asked, or the agent of a statement. Superadmins and operators see
    everyone (models.people.sees_everyone). Nothing outside that subtree may be in the document.
    """

    top: User
    draw: Draw | None = None
    since: datetime | None = None
    before: datetime | None = None


class About(Enum):
    """What a kind needs to be told."""

    DRAW = "a draw"
    EITHER = "a draw, or a period"
    PERIOD = "a period"
    DRAW_OR_LIVE = "a draw, or nothing: all that are not sealed yet"
    NOTHING = "nothing"


@dataclass(frozen=True)
class ReportKind:
    """One kind. `build` may raise NoSuchDraw, NotSettled and the like for what cannot be reported (yet)."""

    about: About
    roles: frozenset[Role]
    build: Callable[[Sources, Scope], Document]
