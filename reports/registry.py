"""All kinds of reports by the names that requests call them."""

from __future__ import annotations

from collections.abc import Mapping

from reports import (
    audit,
    dead_letters,
    draw_sales,
    exposure,
    hierarchy,
    reconciliation,
    statement,
    unclaimed,
    winners,
)
from reports.kinds import About, ReportKind
from rules.rights import ADMINISTRATORS, Role

_ADMINS = ADMINISTRATORS | {Role.OPERATOR}
_COORDINATORS = _ADMINS | {Role.COORDINATOR}

KINDS: Mapping[str, ReportKind] = {
    "draw_sales": ReportKind(About.EITHER, _COORDINATORS, draw_sales.build),
    "statement": ReportKind(About.EITHER, frozenset(Role), statement.build),
    "hierarchy": ReportKind(About.EITHER, _COORDINATORS, hierarchy.build),
    "winners": ReportKind(About.DRAW, _COORDINATORS, winners.build),
    "exposure": ReportKind(About.DRAW, _COORDINATORS, exposure.build),
    "unclaimed": ReportKind(About.EITHER, _COORDINATORS, unclaimed.build),
    "reconciliation": ReportKind(About.DRAW_OR_LIVE, _ADMINS, reconciliation.build),
    "dead_letters": ReportKind(About.EITHER, _ADMINS, dead_letters.build),
    "audit": ReportKind(About.EITHER, _ADMINS, audit.build),
}
