"""One terminal, a process of its own: `python -m faults.terminal`. It sells, voids, cancels and pays as customers come.

In come the job as one line of JSON, then orders, one a line: `{"pay": number, "code": …}` when somebody wants his
prize, `{"calm": true}` to sell no more, `{"stop": true}` to end. Out go lines that say how many orders are done. Its
book has every request before it leaves; a terminal that was killed begins with those that have no answer.
"""

from __future__ import annotations

import json
import queue
import signal
import sys
import threading
import time
from collections import deque
from pathlib import Path
from random import Random
from typing import Any

from demo.calls import Connection, NoAnswer
from demo.crowd import new_id, sale_body, slip
from demo.terminal import Cutoffs
from faults.book import Book, Entry
from faults.person import Ended, Login, Person

POLL_S = 5.0
FOLLOW_S = 1.0
THINK_S = (0.02, 0.12)
# What customers do. The rest buys one ticket.
TWICE_SHARE = 0.06  # sent a second time while the first is under way
BATCH_SHARE = 0.02
VOID_SHARE = 0.05
LEAVE_SHARE = 0.03  # leave before the answer comes; their id is cancelled
BATCH_TICKETS = (2, 6)
LATE_S = (-0.15, 0.08)  # around a cutoff
NEAR_S = 0.5
VOIDABLE_MAX = 50  # receipts that a customer may still come back with
PAYEE = {"name": "The holder of the ticket", "phone": "0917 000 0000", "id_no": "shown"}


class Terminal:
    """Works off its customers and orders in one thread."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.orders: queue.Queue[dict[str, Any]] = queue.Queue()
        self.ended = threading.Event()
        self._book = Book(Path(job["book"]))
        login = Login(job["port"], job["username"], job["password"], refreshes=True)
        self._me = Person(login, self._book, self.ended)
        self._rng = Random(f"{job['seed']}/{job['username']}/{len(self._book.entries)}")
        self._cutoffs = Cutoffs()
        self._open: list[str] = []
        self._next_poll = self._next_look = 0.0
        self._recent: deque[tuple[str, str]] = deque(maxlen=VOIDABLE_MAX)  # (draw, number)
        self._waiting: dict[int, int] = {}  # claims another person has to approve: orders that wait for each
        self._selling, self._done = True, 0

    def run(self) -> None:
        """Until it is told to stop."""
        self._finish_earlier_life()
        while True:
            while not self.orders.empty():
                if not self._carry_out(self.orders.get()):
                    return
            self._follow_claims()
            if self._selling:
                self._poll()
                self._serve()
            time.sleep(self._rng.uniform(*THINK_S))

    def _finish_earlier_life(self) -> None:
        followed = {entry.answer["id"] for entry in self._book.entries if entry.call == "follow" and entry.answer}
        found = {entry.path for entry in self._book.entries if entry.call == "find"}
        for entry in self._book.entries:
            if not entry.status:
                self._me.finish(entry)
            if entry.call == "cancel" and _receipt_of(entry) not in found:
                self._find_if_sold(entry)
            if entry.call == "claim" and entry.status == 202 and entry.answer["claim_id"] not in followed:
                self._waiting[entry.answer["claim_id"]] = 0  # nobody counts the orders of an earlier life

    # ── orders ────────────────────────────────────────────────────────────────────────────────────────────────

    def _carry_out(self, order: dict[str, Any]) -> bool:
        if "pay" in order:
            body = {"code": order["code"], "payee": PAYEE}
            entry = self._me.do("claim", "POST", f"/v1/tickets/{order['pay']}/claim", body)
            if entry.status == 202:
                claim_id = entry.answer["claim_id"]
                self._waiting[claim_id] = self._waiting.get(claim_id, 0) + 1
            else:
                self._say_done()
        self._selling = self._selling and "calm" not in order
        return "stop" not in order

    def _follow_claims(self) -> None:
        """A claim that another person has to approve: nothing is handed out before it is paid."""
        if not self._waiting or time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + FOLLOW_S
        for claim_id in list(self._waiting):
            answer = self._me.look(f"/v1/claims/{claim_id}")
            if answer.status == 200 and answer.body["status"] == "pending":
                continue
            path = f"/v1/claims/{claim_id}"
            self._book.answered(self._book.asked("follow", "GET", path, None, ""), answer.status, answer.body, [])
            self._say_done(self._waiting.pop(claim_id))

    def _say_done(self, orders: int = 1) -> None:
        self._done += orders
        print(json.dumps({"done": self._done}), flush=True)

    # ── customers ─────────────────────────────────────────────────────────────────────────────────────────────

    def _poll(self) -> None:
        if time.monotonic() < self._next_poll:
            return
        self._next_poll = time.monotonic() + POLL_S
        asked_at = time.time()
        answer = self._me.look("/v1/draws?status=open")
        if answer.status == 200:
            self._open = [draw["id"] for draw in answer.body["items"]]
            self._cutoffs.take(answer.body["items"], asked_at, time.time())

    def _serve(self) -> None:
        """One customer; at a cutoff he comes at the last moment, or a little later."""
        if not self._open:
            return
        draw = self._rng.choice(self._open)
        left = self._cutoffs.seconds_left(draw)
        if left < NEAR_S:
            time.sleep(max(0.0, left + self._rng.uniform(*LATE_S)))
            self._open.remove(draw)
        self._customer(draw)

    def _customer(self, draw: str) -> None:
        wish = self._rng.random()
        if (wish := wish - VOID_SHARE) < 0:
            self._void()
        elif (wish := wish - LEAVE_SHARE) < 0:
            self._leave(draw)
        elif (wish := wish - BATCH_SHARE) < 0:
            count = self._rng.randint(*BATCH_TICKETS)
            tickets = [self._sale(draw) for _ in range(count)]
            entry = self._me.do("batch", "POST", "/v1/tickets/batch", {"tickets": tickets})
            for body, result in zip(tickets, entry.answer["results"], strict=True):
                self._refused(body, result.get("error", {}).get("code", ""), entry)
        else:
            self._sell(self._sale(draw), twice=wish < TWICE_SHARE)

    def _sale(self, draw: str) -> dict[str, Any]:
        return sale_body(new_id(self._rng), draw, slip(self._rng))

    def _sell(self, body: dict[str, Any], *, twice: bool) -> None:
        first = self._book.asked("sale", "POST", "/v1/tickets", body, "")
        under_way = self._me.start("/v1/tickets", body) if twice else None
        entry = self._me.finish(first)
        second = self._second_answer(body, under_way) if under_way is not None else entry
        for sold in (entry, second):
            if sold.status < 300:
                self._recent.append((body["draw_id"], sold.answer["number"]))
                return
        self._refused(body, entry.code, entry)

    def _refused(self, body: dict[str, Any], code: str, entry: Entry) -> None:
        """Sells no more for a draw that is over. Where a try got no answer it may still come, and find room by then."""
        if code in ("cutoff_passed", "draw_not_open") and body["draw_id"] in self._open:
            self._open.remove(body["draw_id"])
        if code in ("sold_out", "insufficient_credit") and entry.tries:
            self._find_if_sold(self._me.do("cancel", "POST", *_cancel(body)))

    def _find_if_sold(self, cancel: Entry) -> None:
        """What was sold and can no longer be taken back has a receipt."""
        if cancel.status == 409:
            self._me.do("find", "GET", _receipt_of(cancel))

    def _second_answer(self, body: dict[str, Any], under_way: Connection) -> Entry:
        """Whatever it says is written down, too: it must be the same receipt."""
        second = self._book.asked("sale", "POST", "/v1/tickets", body, "")
        try:
            answer = under_way.receive()
        except NoAnswer:
            answer = None
        finally:
            under_way.close()
        if answer is None or answer.status in (401, 429) or answer.status >= 500:
            return self._me.finish(second)
        self._book.answered(second, answer.status, answer.body, [])
        return second

    def _void(self) -> None:
        if self._recent:
            place = self._rng.randrange(len(self._recent))
            _, number = self._recent[place]
            del self._recent[place]
            self._me.do("void", "POST", f"/v1/tickets/{number}/void", {"reason": "the customer changed his mind"})

    def _leave(self, draw: str) -> None:
        """The customer leaves: his sale may be under way, or was never sent; either way its id dies."""
        body = self._sale(draw)
        # Written down before the sale leaves: whoever is killed in between must know of it.
        cancel = self._book.asked("cancel", "POST", *_cancel(body), "")
        under_way = self._me.start("/v1/tickets", body) if self._rng.random() < 0.7 else None
        if under_way is not None and self._rng.random() < 0.5:
            under_way.close()
        self._find_if_sold(self._me.finish(cancel))
        if under_way is not None:
            under_way.close()


def _cancel(body: dict[str, Any]) -> tuple[str, dict[str, str]]:
    """(path, body) that kills the id of a sale."""
    return f"/v1/tickets/by-id/{body['id']}/cancel", {"draw_id": body["draw_id"]}


def _receipt_of(cancel: Entry) -> str:
    """The path of the receipt to an id that was to be cancelled."""
    return f"{cancel.path.removesuffix('/cancel')}?draw_id={cancel.body['draw_id']}"


def listen(terminal: Terminal) -> None:
    """Takes orders until nobody gives any more."""
    for line in sys.stdin:
        terminal.orders.put(json.loads(line))
    terminal.orders.put({"stop": True})
    terminal.ended.set()


def main() -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started it ends it
    terminal = Terminal(json.loads(sys.stdin.readline()))
    threading.Thread(target=listen, args=(terminal,), daemon=True).start()
    try:
        terminal.run()
    except Ended:
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
