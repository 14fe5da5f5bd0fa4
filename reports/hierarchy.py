"""The tree of those who sell: area, coordinator, agent; everybody with all that is below him."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from models.people import User, sees_everyone
from models.reporting import Person, people_named
from reports import figures
from reports.about import STANDING, about, draws_of, scope_facts
from reports.document import Column, Document, Fact, Kind, Table
from reports.figures import Figures, add, figures_of_all, nothing, row, total
from reports.kinds import Scope, Sources

_COLUMNS = (
    Column("depth", "Level", Kind.COUNT),
    Column("path", "Place"),
    Column("user_id", "Id", Kind.ID),
    Column("username", "Username"),
    Column("full_name", "Name"),
    Column("role", "Role"),
    Column("agents", "Agents who sold", Kind.COUNT),
    *figures.COLUMNS,
)


def build(sources: Sources, scope: Scope) -> Document:
    """About a draw, or all that are drawn in a period. Each row holds everything at and below its user.

    Only those are in it at or below whom something was sold, won or earned. The rows do not sum to anything, since
    each is contained in the one above it: the sums are in the facts.
    """
    session, top = sources.session, scope.top
    draws = draws_of(session, scope)
    own = figures_of_all(session, draws, top)
    people = people_named(session, own)
    above = {user for person in people.values() for user in person.ancestors} | {top.id}
    people |= people_named(session, above - people.keys())
    chains = {user: _chain(top, user, person) for user, person in people.items()}
    sums = total(list(own.values()))
    facts = (
        *scope_facts(session, scope),
        Fact("draws", "Draws", len(draws), Kind.COUNT),
        *(Fact(column.name, column.title, sums[column.name], column.kind) for column in figures.COLUMNS),
        STANDING,
    )
    rows = _rows(people, chains, own)
    return Document(
        "hierarchy", "Sales by place", about(scope), facts, (Table("tree", "From the top", _COLUMNS, rows),)
    )


def _chain(top: User, user: int, person: Person) -> list[int]:
    """From `top` (or a root, where he sees everyone) down to the user; nothing for one above `top`."""
    chain = [*person.ancestors, user]
    if sees_everyone(top):
        return chain
    return chain[chain.index(top.id) :] if top.id in chain else []


def _rows(
    people: Mapping[int, Person], chains: Mapping[int, list[int]], own: Mapping[int, Figures]
) -> Iterator[tuple[object, ...]]:
    sums: dict[int, Figures] = {}
    agents: dict[int, int] = {}
    for user, its in own.items():
        for above in chains.get(user, ()):
            add(sums.setdefault(above, nothing()), its)
            agents[above] = agents.get(above, 0) + (its["tickets"] > 0)
    places = {user: tuple(people[one].username for one in chain) for user, chain in chains.items() if chain}
    for user in sorted(sums, key=lambda user: places[user]):
        person, place = people[user], places[user]
        named = (len(place) - 1, " > ".join(place), user, person.username, person.full_name, person.role)
        yield (*named, agents[user], *row(sums[user]))
