"""Where people of an older system stand: whether their tree is one, and joins the tree that is there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from actions.csv_rows import Row, Table
from rules.rights import Role, may_stand_under


class Standing(NamedTuple):
    """Somebody who is a user already; `suspended` is asked of parents only."""

    id: int
    role: Role
    ancestors: list[int]
    suspended: bool


def names_of(users: Table | None) -> dict[str, Row]:
    """The rows of a users file by username; of a name that is there twice the first."""
    named: dict[str, Row] = {}
    for row in users.rows if users else ():
        name = row.get("username", str)
        if name is not None:
            named.setdefault(name, row)
    return named


def check_tree(users: Table, named: Mapping[str, Row], here: Mapping[str, Standing]) -> None:
    """Finds names that are taken or there twice, parents who are nowhere, and places that a role cannot have."""
    rings = _on_rings(named)
    for row in users.rows:
        name, role, parent = row.get("username", str), row.get("role", Role), row.get("parent", str)
        if name is not None and named[name] is not row:
            users.find(row.line, "username", f"{name} is in line {named[name].line} already")
        if name in here:
            users.find(row.line, "username", f"{name} is taken: there is such a user")
        if role is Role.OPERATOR and (row.get("credit_limit", int) or 0) > 0:
            users.find(row.line, "credit_limit", "an operator has no credit")
        if parent is None:
            continue
        if parent not in named and parent not in here:
            if users.readable:
                users.find(row.line, "parent", f"there is no user {parent}, neither in this file nor here")
            continue
        if name in rings:
            users.find(row.line, "parent", f"{name} would stand below himself")
        above = here[parent].role if parent in here else named[parent].get("role", Role)
        if role is not None and above is not None and not may_stand_under(role, above):
            users.find(row.line, "parent", f"no {role} stands under a user with the role {above}")
        if parent in here and here[parent].suspended:
            users.find(row.line, "parent", f"{parent} is suspended, or a coordinator above him")


def levels(named: Mapping[str, Row]) -> Iterator[list[tuple[str, Row]]]:
    """The people of a checked file, those first whose parents are here, then those right below them, and so on."""
    below: dict[str, list[tuple[str, Row]]] = {}
    for name, row in named.items():
        below.setdefault(_parent(row), []).append((name, row))
    level = [person for parent, people in below.items() if parent not in named for person in people]
    while level:
        yield level
        level = [person for name, _ in level for person in below.get(name, ())]


def _parent(row: Row) -> str:
    return row.get("parent", str) or ""


def _on_rings(named: Mapping[str, Row]) -> set[str]:
    """Who comes upon himself on the way up."""
    rings: set[str] = set()
    seen: set[str] = set()
    for start in named:
        way: dict[str, None] = {}
        name = start
        while name in named and name not in seen and name not in way:
            way[name] = None
            name = _parent(named[name])
        if name in way:
            on_way = list(way)
            rings.update(on_way[on_way.index(name) :])
        seen.update(way)
    return rings
