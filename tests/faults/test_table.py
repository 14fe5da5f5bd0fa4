"""Every cell of docs/operating/when-parts-are-away.md: a part is taken away, and everybody goes on asking."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

from tests.faults.whole_lottery import FOLLOWS_S, LOSER, Case, Lottery, wait_for
from tests.service import PASSWORD

TABLE = Path(__file__).parents[2] / "docs" / "operating" / "when-parts-are-away.md"

# Servers are away in two ways, programs in one.
SERVERS = ("PostgreSQL", "gate", "broker")
GONE, HANGS = "gone", "hangs"

# The deadlines, at ten times their size on a busy machine: 1 s for the first that meets a hanging part, 100 ms then.
FIRST_S, THEN_S = 10.0, 1.0
UNDER_WAY_S = 2  # what a worker had taken up before is done by then
NOT_YET_S = 5  # what has not followed by then while its part was away waits for it

CLOSE = "close a draw"


class Cell(NamedTuple):
    """What the table says about one thing that people do while a part is away."""

    part: str
    way: str
    action: str
    says: str


def cells() -> list[Cell]:
    """Of the page's first table: what people do by rows, parts by columns."""
    lines = TABLE.read_text().splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("|"))
    rows = [
        [column.strip() for column in line.strip("|").split("|")]
        for line in takewhile(bool, lines[first:])
        if not line.startswith("|---")
    ]
    head, *body = rows
    return [
        Cell(part, way, re.sub(r" \(.*", "", row[0]), row[place])
        for place, part in enumerate(head[1:], start=1)
        for way in ((GONE, HANGS) if part in SERVERS else (GONE,))
        for row in body
    ]


CELLS = cells()
PARTS = list(dict.fromkeys((cell.part, cell.way) for cell in CELLS))


@dataclass
class Answer:
    """What somebody got while the part was away, and whether what follows from it came meanwhile and afterwards."""

    status: int
    code: str = ""
    retry_after: float = 0
    seconds: float = 0
    at_once: bool = False
    in_the_end: bool = False
    again: str = ""  # after a 503: what the same request gets when the part is back

    def as_cell(self) -> str:
        if self.status == 503:
            return "503"
        if self.status >= 300:
            return f"{self.status} {self.code}"
        return "works" if self.at_once else "later" if self.in_the_end else "lost"


# ── what people do, and what follows from it ────────────────────────────────────────────────────────────────

Asking = Callable[[Lottery, Case], tuple[int, dict[str, Any]]]
Following = Callable[[Lottery, Case], Any]


def enter_result(lottery: Lottery, case: Case) -> tuple[int, dict[str, Any]]:
    first = lottery.result(lottery.admins[0], case.to_settle, LOSER, confirm=False)
    return first if first[0] != 202 else lottery.result(lottery.admins[1], case.to_settle, LOSER, confirm=True)


def void_is_stored(lottery: Lottery, ticket_id: str) -> Any:
    return lottery.sql("SELECT 1 FROM voids WHERE ticket_id = %s", ticket_id)


def credit_is_there(lottery: Lottery, agent: str) -> Any:
    waiting = "SELECT count(*) FROM wallet_outbox WHERE user_id = %s AND applied_at IS NULL"
    return lottery.sql(waiting, lottery.ids[agent]) == 0


ACTIONS: dict[str, tuple[Asking, Following]] = {
    "sell": (
        lambda lottery, case: lottery.sell(lottery.selling, LOSER, case.new_id),
        lambda lottery, case: lottery.sql("SELECT 1 FROM tickets WHERE id = %s", case.new_id),
    ),
    "sell once more with the same id": (
        lambda lottery, case: lottery.sell(lottery.selling, LOSER, case.to_keep["id"]),
        lambda *_: True,
    ),
    "void a ticket": (
        lambda lottery, case: lottery.ask(
            lottery.seller, f"POST /tickets/{case.to_void['number']}/void", {"reason": "test"}
        ),
        lambda lottery, case: void_is_stored(lottery, case.to_void["id"]),
    ),
    "cancel an id": (
        lambda lottery, case: lottery.ask(
            lottery.seller, f"POST /tickets/by-id/{case.to_cancel['id']}/cancel", {"draw_id": lottery.selling}
        ),
        lambda lottery, case: void_is_stored(lottery, case.to_cancel["id"]),
    ),
    "find an own ticket by its id": (
        lambda lottery, case: lottery.ask(
            lottery.seller, f"GET /tickets/by-id/{case.to_keep['id']}?draw_id={lottery.selling}"
        ),
        lambda *_: True,
    ),
    "look at a ticket by its number": (
        lambda lottery, case: lottery.ask(lottery.seller, f"GET /tickets/{case.to_keep['number']}"),
        lambda *_: True,
    ),
    "list tickets": (lambda lottery, _: lottery.ask(lottery.seller, "GET /tickets"), lambda *_: True),
    "log in": (
        lambda lottery, _: lottery.service.call(
            "POST", "/v1/auth/login", {"username": lottery.other, "password": PASSWORD}
        ),
        lambda *_: True,
    ),
    "refresh a token": (
        lambda lottery, _: lottery.service.call("POST", "/v1/auth/refresh", None, lottery.refresh_token),
        lambda *_: True,
    ),
    "claim a prize": (
        lambda lottery, case: lottery.ask(
            lottery.seller, f"POST /tickets/{case.winning['number']}/claim", {"code": case.winning["code"]}
        ),
        lambda lottery, _: credit_is_there(lottery, lottery.seller),
    ),
    "load credit": (
        lambda lottery, _: lottery.load(lottery.other, 100),
        lambda lottery, _: credit_is_there(lottery, lottery.other),
    ),
    CLOSE: (
        lambda lottery, case: lottery.ask("superadmin", f"POST /draws/{case.to_close}/close"),
        lambda lottery, case: lottery.status_of(case.to_close) == "sealed",
    ),
    "enter a result": (enter_result, lambda lottery, case: lottery.status_of(case.to_settle) == "settled"),
}


# ── taking parts away ───────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def without(lottery: Lottery, part: str, way: str) -> Iterator[None]:
    service = lottery.service
    if part == "broker" and way == GONE:
        lottery.broker.stop()
        yield
        lottery.broker.start()
    elif way == HANGS:
        assert lottery.broker.process is not None
        pid = {
            "PostgreSQL": lambda: service.processes("postgres", "-D")[0].pid,
            "gate": lambda: service.processes("valkey-server")[0].pid,
            "broker": lambda: lottery.broker.process and lottery.broker.process.pid,
        }[part]()
        main = psutil.Process(pid)
        main.suspend()  # first, so that nothing is born behind our back
        stopped = [main, *main.children()]
        for process in stopped:
            process.suspend()
        yield
        for process in stopped:
            process.resume()
    else:
        program = {"PostgreSQL": "servers:postgres", "gate": "servers:valkey"}.get(part, f"apps:{part.lower()}")
        service.end(program)
        yield
        service.begin(program)


def play(lottery: Lottery, part: str, way: str) -> dict[str, Answer]:
    """Everything that people do, once, without the part."""
    case = lottery.cases[part, way]
    lottery.log_in()
    case.to_void, case.to_cancel, case.to_keep = (lottery.sell(lottery.selling, LOSER)[1] for _ in range(3))
    said = {cell.action: cell.says for cell in CELLS if (cell.part, cell.way) == (part, way)}
    answers: dict[str, Answer] = {}
    with without(lottery, part, way):
        time.sleep(UNDER_WAY_S)
        for action, (asking, _) in ACTIONS.items():
            began = time.monotonic()
            status, body = asking(lottery, case)
            seconds = time.monotonic() - began
            answers[action] = Answer(status, body.get("code", ""), body.get("retry_after", 0), seconds)
        taken = {action: answer for action, answer in answers.items() if answer.status < 300}
        for action, answer in taken.items():
            follows = ACTIONS[action][1]
            patience = FOLLOWS_S if said[action] == "works" else NOT_YET_S
            answer.at_once = wait_for(lambda follows=follows: follows(lottery, case), patience)
    lottery.service.wait_whole()
    for action, answer in taken.items():
        follows = ACTIONS[action][1]
        answer.in_the_end = wait_for(lambda follows=follows: follows(lottery, case))
    if part == "gate":
        answers[CLOSE].in_the_end = wait_for(lambda: ACTIONS[CLOSE][1](lottery, case))
    for action in answers.keys() - taken.keys():
        answers[action].again = ask_until_answered(lottery, case, ACTIONS[action][0])
    return answers


def ask_until_answered(lottery: Lottery, case: Case, asking: Asking) -> str:
    """The first answer that is no 503: "done", or a problem's code."""
    deadline = time.monotonic() + FOLLOWS_S
    while True:
        status, body = asking(lottery, case)
        if status != 503 or time.monotonic() > deadline:
            return "done" if status < 300 else str(body["code"])
        time.sleep(0.2)


@pytest.fixture(scope="module")
def lottery(servers_dir: Path) -> Iterator[Lottery]:
    made = Lottery(servers_dir / "table", PARTS)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def answers(request: pytest.FixtureRequest, lottery: Lottery) -> dict[str, Answer]:
    return play(lottery, *request.param)


pytestmark = [pytest.mark.faults, pytest.mark.long, pytest.mark.timeout(900)]


@pytest.mark.parametrize(
    ("answers", "cell"),
    [pytest.param((cell.part, cell.way), cell, id=f"{cell.part}-{cell.way}-{cell.action}") for cell in CELLS],
    indirect=["answers"],
    scope="module",
)
def test_what_the_table_says_is_so(answers: dict[str, Answer], cell: Cell) -> None:
    answer = answers[cell.action]
    assert answer.as_cell() == cell.says, answer
    assert answer.seconds < FIRST_S
    if cell.says == "503":
        assert answer.code in ("database_unavailable", "intake_unavailable")
        assert answer.retry_after >= 1
        # Of a hanging part nobody knows what it will still do with what it was sent.
        assert answer.again == "done" or (cell.action, answer.again) == ("void a ticket", "already_voided")


@pytest.mark.parametrize("answers", [(part, HANGS) for part in SERVERS], indirect=True, scope="module")
def test_after_the_first_nobody_waits_for_a_hanging_part(answers: dict[str, Answer]) -> None:
    refused = [answer.seconds for answer in answers.values() if answer.status == 503]
    assert sum(refused) < FIRST_S + THEN_S * len(refused)


@pytest.mark.parametrize("answers", [("gate", GONE), ("gate", HANGS)], indirect=True, scope="module")
def test_a_draw_that_somebody_wanted_to_close_closes_when_the_gate_is_back(answers: dict[str, Answer]) -> None:
    assert answers[CLOSE].in_the_end


def test_the_table_is_whole() -> None:
    assert {cell.action for cell in CELLS} == ACTIONS.keys()
    assert {cell.says for cell in CELLS} <= {"works", "later", "503"}
