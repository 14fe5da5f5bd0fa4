"""Making the people of the day through the API: superadmins, administrators, coordinators, terminals below them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from demo.calls import Caller
from demo.crowd import Counter
from runtime.secret_files import new_password

TERMINALS_OF_A_COORDINATOR = 13
# What they earn on sales, in basis points.
TERMINAL_BP, COORDINATOR_BP = 500, 100


@dataclass(frozen=True)
class Terminal:
    """A terminal's login, who it is, and what it sells."""

    user_id: int
    password: str
    coordinator: str
    coordinator_id: int
    counter: Counter


@dataclass(frozen=True)
class People:
    """Everybody who has a login."""

    superadmins: tuple[Caller, Caller]
    admins: tuple[Caller, Caller]
    terminals: Sequence[Terminal]


def make_people(superadmin: Caller, counters: Sequence[Counter], done: Callable[[int], None]) -> People:
    """Makes them all and loads their credit; `done` is told of each terminal. Raises Unexpected."""
    deputy = _make(superadmin, "superadmin-b", "superadmin", "Second superadmin")
    first, second = (_make(superadmin, f"admin-{letter}", "admin", "Administrator") for letter in "ab")
    groups = [list(counters[start :: _coordinators(counters)]) for start in range(_coordinators(counters))]
    coordinators = []
    for number, group in enumerate(groups, 1):
        name = f"coordinator-{number}"
        coordinator = _make(first, name, "coordinator", f"Coordinator {number}", COORDINATOR_BP)
        credit = sum(counter.credit for counter in group)
        _load(first, coordinator.user_id, credit, f"float-{number}")
        coordinators.append((coordinator, group))
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda pair: _terminals(pair[0], pair[1], done), coordinators))
    for coordinator, _ in coordinators:
        coordinator.close()
    terminals = sorted((t for group in made for t in group), key=lambda t: t.counter.index)
    return People((superadmin, deputy), (first, second), terminals)


def _coordinators(counters: Sequence[Counter]) -> int:
    return -(-len(counters) // TERMINALS_OF_A_COORDINATOR)


def _make(above: Caller, username: str, role: str, full_name: str, commission_bp: int = 0) -> Caller:
    password = new_password()
    body = {
        "username": username,
        "password": password,
        "role": role,
        "full_name": full_name,
        "commission_bp": commission_bp,
    }
    above.must("POST", "/v1/users", body)
    caller = Caller(above.port, username, password)
    caller.login()
    return caller


def _terminals(coordinator: Caller, group: Sequence[Counter], done: Callable[[int], None]) -> list[Terminal]:
    """A coordinator's load comes out of the coordinator's own wallet."""
    found = []
    for counter in group:
        password = new_password()
        body = {
            "username": counter.name,
            "password": password,
            "role": "agent",
            "full_name": f"Terminal {counter.index + 1}",
            "commission_bp": TERMINAL_BP,
        }
        user_id = int(coordinator.must("POST", "/v1/users", body)["id"])
        _load(coordinator, user_id, counter.credit, f"load-{counter.index}")
        found.append(Terminal(user_id, password, coordinator.username, coordinator.user_id, counter))
        done(1)
    return found


def _load(above: Caller, user_id: int, centavos: int, key: str) -> None:
    body = {"amount": centavos, "kind": "load", "note": "the day's credit"}
    above.must("POST", f"/v1/users/{user_id}/credit", body, key=key)
