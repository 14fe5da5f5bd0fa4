"""The parts of the fault suite: its plan, books, line, and knife; each against the real thing."""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from faults import disk
from faults.book import Book, read_book
from faults.plan import FATES, TARGETS, make_plan
from faults.tail import cut, newest
from runtime.embedded_valkey import Valkey
from runtime.process import free_port
from runtime.resp import ask

# ── the plan ──────────────────────────────────────────────────────────────────────────────────────────────


def test_the_same_seed_gives_the_same_plan_and_another_one_another() -> None:
    assert make_plan(7, 10, 8) == make_plan(7, 10, 8)
    assert make_plan(7, 10, 8).faults != make_plan(8, 10, 8).faults
    assert make_plan(7, 10, 8).draws != make_plan(8, 10, 8).draws


@pytest.mark.parametrize("seed", range(5))
def test_ten_minutes_break_everything_and_show_every_fate(seed: int) -> None:
    plan = make_plan(seed, 10, 8)
    broken = {(fault.kind, fault.target) for fault in plan.faults}
    assert broken == {(kind, target) for kind, targets in TARGETS.items() for target in targets}
    assert {draw.fate for draw in plan.draws} == set(FATES)
    stops = [fault.seconds for fault in plan.faults if fault.kind == "stop"]
    assert 5 <= min(stops) <= max(stops) <= 20
    assert all(0 < fault.at < plan.seconds for fault in plan.faults)


def test_the_minute_that_ci_plays_has_a_fault_of_every_kind() -> None:
    script = (Path(__file__).parents[2] / ".ci" / "run").read_text()
    seed, minutes = re.findall(r"make faults SEED=(\d+) MINUTES=(\d+)", script)[0]
    plan = make_plan(int(seed), float(minutes), 8)
    assert {fault.kind for fault in plan.faults} == TARGETS.keys()
    assert {"void"} < {draw.fate for draw in plan.draws} & {"void", "corrected", "closed early"}


@pytest.mark.parametrize("minutes", [0.5, 1, 10, 30])
def test_there_is_always_a_draw_that_sells_and_none_outlives_the_plan(minutes: float) -> None:
    plan = make_plan(1, minutes, 8)
    for second in range(int(plan.draws[-1].cutoff)):
        assert any(draw.opens <= second < draw.cutoff for draw in plan.draws)
    assert max(draw.cutoff for draw in plan.draws) <= plan.seconds
    for draw in plan.draws:
        assert all(first != second for first, second in zip(draw.results, draw.results[1:], strict=False))


# ── books ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_book_keeps_what_was_asked_and_forgets_a_line_that_a_kill_tore(tmp_path: Path) -> None:
    path = tmp_path / "book"
    book = Book(path)
    answered, waiting = (book.asked("sale", "POST", "/v1/tickets", {"id": name}, "") for name in "ab")
    book.answered(answered, 201, {"serial": 1}, ["no answer"])
    with path.open("ab") as file:
        file.write(b'{"n": 2, "status": 201, "ans')
    (first, second) = read_book(path)
    assert (first.status, first.answer, first.tries) == (201, {"serial": 1}, ["no answer"])
    assert (second.status, second.body) == (0, {"id": "b"})
    again = Book(path)
    assert [entry.n for entry in again.entries if not entry.status] == [waiting.n]
    again.answered(again.asked("sale", "POST", "/v1/tickets", {"id": "c"}, ""), 409, {"code": "sold_out"}, [])
    assert [(entry.n, entry.code) for entry in read_book(path)] == [(1, ""), (2, ""), (3, "sold_out")]


# ── the knife ─────────────────────────────────────────────────────────────────────────────────────────────

APPEND = "redis.call('HINCRBY', 'h', 'n', 1) return redis.call('XADD', KEYS[1], ARGV[1] .. '-0', 'r', 't|' .. ARGV[1])"


@pytest.fixture
def valkey(servers_dir: Path, tmp_path: Path) -> Iterator[Valkey]:
    server = Valkey(servers_dir / tmp_path.name).start()
    yield server
    server.stop()


def serials(server: Valkey, draw: str) -> int:
    return int(ask(server.url(), "XLEN", f"draw:{draw}:journal")[1:])


@pytest.mark.parametrize("how", [{"records": 3}, {"bytes_": 1}, {"bytes_": 777}, {"bytes_": 10_000_000}])
def test_what_is_cut_off_is_known_to_the_record(valkey: Valkey, how: dict[str, int]) -> None:
    url = valkey.url()
    for serial in range(1, 21):
        for draw in ("A", "B"):
            ask(url, "EVAL", APPEND, "1", f"draw:{draw}:journal", str(serial))
        ask(url, "SET", "noise", "\r\n*3\r\n$4\r\nXADD")
    before = {draw: serials(valkey, draw) for draw in ("A", "B")}
    assert valkey.process is not None
    valkey.process.kill()
    valkey.process.wait()
    done = cut(newest(valkey.home / "data" / "appendonlydir"), at=time.time(), **how)
    valkey.start()
    for draw, count in before.items():
        lost = [record for record in done.records if record.draw == draw]
        assert serials(valkey, draw) == count - len(lost)
        assert [record.serial for record in lost] == list(range(count - len(lost) + 1, count + 1))
        assert all(record.text == f"t|{record.serial}" for record in lost)
    assert len(done.records) == how.get("records", len(done.records))


# ── the line ──────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[int]:
    """The port of a server that answers so."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


class Counting(BaseHTTPRequestHandler):
    """Answers with the number of the request; what was not whole does not count."""

    seen: list[bytes]

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        body = self.rfile.read(length)
        if len(body) < length:
            return
        self.seen.append(body)
        answer = str(len(self.seen)).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def upstream() -> Iterator[tuple[int, list[bytes]]]:
    seen: list[bytes] = []
    handler = type("Handler", (Counting,), {"seen": seen})
    with serving(handler) as port:
        yield port, seen


@pytest.mark.parametrize(
    ("fate", "answered", "passed"),
    [("cut before", 0, 0), ("cut after", 0, 8), ("delay", 8, 8), ("double", 8, 16), ("echo", 8, 16), ("", 8, 8)],
)
def test_each_fate_of_a_request(upstream: tuple[int, list[bytes]], fate: str, answered: int, passed: int) -> None:
    port, seen = upstream
    own, command = free_port(), [sys.executable, "-m", "faults.proxy"]
    with subprocess.Popen(
        [*command, str(own), str(port), "1"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as proxy:
        assert proxy.stdin is not None
        assert proxy.stdout is not None
        assert proxy.stdout.readline() == "ready\n"
        proxy.stdin.write(json.dumps({fate: 1.0} if fate else {}) + "\n")
        proxy.stdin.flush()
        time.sleep(0.2)
        got = sum(_posted(own) for _ in range(8))
        deadline = time.monotonic() + 30
        while len(seen) < passed and time.monotonic() < deadline:
            time.sleep(0.1)
        proxy.stdin.close()
        assert json.loads(proxy.stdout.readline()) == {fate or "passed": 8}
    assert (got, len(seen)) == (answered, passed)


def _posted(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("POST", "/", b"x" * 1000)
        return connection.getresponse().read().isdigit()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


# ── a terminal's orders ───────────────────────────────────────────────────────────────────────────────────

TOKENS = {"access_token": "a", "refresh_token": "r"}
CLAIM = "/v1/tickets/3D-1/claim"


class Desk(BaseHTTPRequestHandler):
    """Answers a claim with one that another person has to approve, who does so after the third time."""

    claims: list[str]

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == CLAIM:
            self.claims.append(self.path)
        self._answer(*((202, {"claim_id": 5}) if self.path == CLAIM else (200, TOKENS)))

    def do_GET(self) -> None:
        status = "paid" if len(self.claims) == 3 else "pending"
        self._answer(200, {"items": []} if self.path.startswith("/v1/draws") else {"id": 5, "status": status})

    def _answer(self, status: int, answer: object) -> None:
        raw = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def desk() -> Iterator[int]:
    with serving(type("Handler", (Desk,), {"claims": []})) as port:
        yield port


def test_orders_that_wait_for_the_same_claim_are_all_counted_and_none_of_an_earlier_life(
    desk: int, tmp_path: Path
) -> None:
    path = tmp_path / "book"
    before = Book(path)
    before.answered(before.asked("claim", "POST", "/v1/tickets/3D-0/claim", {}, ""), 202, {"claim_id": 4}, [])
    job = {"port": desk, "username": "agent", "password": "x", "seed": 1, "book": str(path)}
    orders = [{"pay": "3D-1", "code": "c"}] * 3
    with subprocess.Popen(
        [sys.executable, "-m", "faults.terminal"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as terminal:
        assert terminal.stdin is not None
        assert terminal.stdout is not None
        for line in ({**job}, {"calm": True}, *orders):
            terminal.stdin.write(json.dumps(line) + "\n")
            terminal.stdin.flush()
        counts = [0]
        while counts[-1] < len(orders):
            counts.append(json.loads(terminal.stdout.readline())["done"])
        terminal.stdin.write(json.dumps({"stop": True}) + "\n")
        terminal.stdin.flush()
        assert terminal.wait(30) == 0
    assert counts[-1] == len(orders)
    followed = {entry.path for entry in read_book(path) if entry.call == "follow"}
    assert followed == {"/v1/claims/4", "/v1/claims/5"}


# ── the disk ──────────────────────────────────────────────────────────────────────────────────────────────

ON_A_DISK = """
import errno, sys
from pathlib import Path
from faults.disk import Disk
home = Path(sys.argv[1])
disk = Disk(home, "")
disk.mount()
(home / "kept").write_text("kept")
disk.fill()
try:
    (home / "more").write_bytes(b"x" * 100_000)
except OSError as error:
    print(errno.errorcode[error.errno])
disk.empty()
(home / "more").write_bytes(b"x" * 100_000)
disk.keep()
"""


def test_the_disk_is_full_and_then_it_is_not_and_what_was_on_it_is_kept(tmp_path: Path) -> None:
    home = tmp_path / "home"
    if missing := disk.missing_namespace():
        assert not os.environ.get("CI"), missing
        pytest.skip(missing)
    command = [*disk.ENTER, "--", sys.executable, "-c", ON_A_DISK, str(home)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("ENOSPC\n", "")
    assert sorted(path.name for path in home.iterdir()) == ["kept", "more"]
