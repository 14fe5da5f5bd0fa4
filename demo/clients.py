"""A process of terminals, `python -m demo.clients`: started by `demo.sale`, which speaks to it over its pipes.

In come the job as one line of JSON and then the line `go`; out go lines of JSON that say how far it is.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

from demo.calls import Caller
from demo.crowd import Counter
from demo.terminal import Book, Cutoffs, Terminal

# Terminals poll the draws every 5 s at most; all of one process look at one answer.
POLL_S = 5.0
REPORT_S = 0.2
CLOCK_READINGS = 3  # before the doors open, when nothing else delays an answer


def main() -> int:
    job = json.loads(sys.stdin.readline())
    draws: list[str] = job["draws"]
    cutoffs = Cutoffs()
    callers = [Caller(job["port"], item["username"], item["password"]) for item in job["terminals"]]
    for caller in callers:
        caller.login()
    for _ in range(CLOCK_READINGS):
        _poll(callers[0], draws, cutoffs)
    watcher = Caller(job["port"], job["terminals"][0]["username"], job["terminals"][0]["password"])
    terminals = [
        Terminal(caller, _counter(item), draws, cutoffs, _book(job, item), job["seed"])
        for caller, item in zip(callers, job["terminals"], strict=True)
    ]
    _say(ready=True)
    if not sys.stdin.readline():
        return 1
    for terminal in terminals:
        terminal.start()
    threading.Thread(target=_keep_polling, args=(watcher, draws, cutoffs), daemon=True).start()
    return _report(terminals)


def _counter(item: dict[str, Any]) -> Counter:
    return Counter(item["index"], tuple(item["customers"]), tuple(item["late"]), item["credit"])


def _book(job: dict[str, Any], item: dict[str, Any]) -> Book:
    return Book(Path(job["folder"]) / f"{item['username']}.jsonl")


def _report(terminals: list[Terminal]) -> int:
    """Says how far the terminals are until all are done; the exit code."""
    while True:
        alive = any(terminal.is_alive() for terminal in terminals)
        answered = [sum(column) for column in zip(*(t.answered for t in terminals), strict=True)]
        _say(answered=answered, regular_left=sum(t.regular_left for t in terminals))
        failed = [f"{t.name}: {t.failure!r}" for t in terminals if t.failure is not None]
        if failed:
            _say(failed=failed[0])
            return 1
        if not alive:
            return 0
        time.sleep(REPORT_S)


def _say(**what: Any) -> None:
    print(json.dumps(what), flush=True)


def _keep_polling(caller: Caller, draws: list[str], cutoffs: Cutoffs) -> None:
    while True:
        _poll(caller, draws, cutoffs)
        time.sleep(POLL_S)


def _poll(caller: Caller, draws: list[str], cutoffs: Cutoffs) -> None:
    day = draws[0].split("-")[1]
    asked_at = time.time()
    path = f"/v1/draws?game={draws[0].split('-')[0]}&date={day[:4]}-{day[4:6]}-{day[6:]}"
    cutoffs.take(caller.must("GET", path)["items"], asked_at, time.time())


if __name__ == "__main__":
    sys.exit(main())
