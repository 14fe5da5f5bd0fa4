"""The administrators' side of the day: three draws, their cutoffs, their results, until they are settled."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from datetime import time as Time

from demo.calls import Caller, Unexpected
from demo.crowd import GAME
from demo.people import People
from rules.draws import draw_name
from runtime.clock import Clock

OPENED_AGO = timedelta(hours=17)  # what a draw of 14:00 has been open for since the evening before
CUTOFF_AHEAD = timedelta(hours=2)  # until it is moved to where the sale is over
# Terminals learn of a moved cutoff within five seconds; the seal needs about two after the cutoff.
NOTICE_S = 6.5
SEAL_S = 8.0
BETWEEN_CUTOFFS_S = 1.0
POLL_S = 0.1
SETTLE_WAIT_S = 120


@dataclass
class DrawOfTheDay:
    """One draw, what is drawn, and how far it is; times in seconds since 1970."""

    name: str
    date: date
    time: Time
    number: str
    stage: str = "selling"
    cutoff: float | None = None  # once it has been moved
    draws_at: float = 0.0
    seal_seconds: float = 0.0  # from the cutoff to the published seal
    settle_seconds: float = 0.0  # from the confirmed result
    late: bool = False  # sealed only after two superadmins asked for it


class Day:
    """Moves cutoffs from the caller's thread; each draw's end is waited for in a thread of its own."""

    def __init__(self, people: People, when: date, numbers: Sequence[tuple[Time, str]]) -> None:
        self.draws = [DrawOfTheDay(draw_name(GAME, when, at), when, at, number) for at, number in numbers]
        self.failure: BaseException | None = None
        self._people = people
        self._clock = Clock()
        self._threads: list[threading.Thread] = []

    def make_draws(self) -> None:
        """Raises Unexpected."""
        now = self._clock.now()
        for place, draw in enumerate(self.draws):
            cutoff = now + CUTOFF_AHEAD + timedelta(hours=place)
            times = {"opens_at": now - OPENED_AGO, "cutoff_at": cutoff, "draws_at": cutoff + timedelta(minutes=5)}
            body = {"game": GAME, "date": f"{draw.date}", "time": f"{draw.time:%H:%M}"}
            body |= {name: instant.isoformat() for name, instant in times.items()}
            self._people.admins[0].must("POST", "/v1/draws", body)

    def call_cutoff(self, place: int) -> None:
        """Moves the draw's cutoff to NOTICE_S from now, and has it drawn SEAL_S later. Raises Unexpected."""
        draw = self.draws[place]
        earlier = [other.cutoff for other in self.draws[:place] if other.cutoff is not None]
        cutoff = self._clock.now() + timedelta(seconds=NOTICE_S)
        if earlier:
            gap = datetime.fromtimestamp(max(earlier) + BETWEEN_CUTOFFS_S, tz=cutoff.tzinfo)
            cutoff = max(cutoff, gap)
        draws_at = cutoff + timedelta(seconds=SEAL_S)
        body = {"cutoff_at": cutoff.isoformat(), "draws_at": draws_at.isoformat(), "reason": "sales are over"}
        self._people.admins[0].must("PATCH", f"/v1/draws/{draw.name}", body)
        draw.cutoff, draw.draws_at = cutoff.timestamp(), draws_at.timestamp()
        draw.stage = "cutoff near"
        thread = threading.Thread(target=self._end, args=(draw,), daemon=True)
        self._threads.append(thread)
        thread.start()

    @property
    def settled(self) -> bool:
        """Raises what stopped a draw."""
        if self.failure is not None:
            raise self.failure
        return all(draw.stage == "settled" for draw in self.draws)

    # ── after the cutoff ──────────────────────────────────────────────────────────────────────────────────────

    def _end(self, draw: DrawOfTheDay) -> None:
        try:
            first, second = (admin.twin() for admin in self._people.admins)
            self._wait_for(first, draw, "sealed")
            draw.seal_seconds = time.time() - draw.draws_at + SEAL_S
            time.sleep(max(0.0, draw.draws_at - time.time() + 0.05))
            entry = {"number": draw.number, "date": f"{draw.date}", "time": f"{draw.time:%H:%M}"}
            first.must("POST", f"/v1/draws/{draw.name}/result", entry)
            started = time.monotonic()
            second.must("POST", f"/v1/draws/{draw.name}/result/confirm", entry)
            self._wait_for(first, draw, "settled")
            draw.settle_seconds = time.monotonic() - started
            draw.stage = "settled"
        except BaseException as error:  # the caller's thread raises it
            self.failure = error

    def _wait_for(self, admin: Caller, draw: DrawOfTheDay, status: str) -> None:
        """Follows the draw from its cutoff until it has that status. Raises Unexpected."""
        assert draw.cutoff is not None
        time.sleep(max(0.0, draw.cutoff - time.time()))
        while (found := admin.must("GET", f"/v1/draws/{draw.name}")["status"]) != status:
            draw.stage = found
            if found == "closed" and time.time() > draw.draws_at and not draw.late:
                self._seal_late(draw)
            if time.time() > draw.cutoff + SETTLE_WAIT_S:
                raise Unexpected(f"{draw.name} is still {found} {SETTLE_WAIT_S} s after its cutoff")
            time.sleep(POLL_S)
        if status != "settled":  # that one is shown once its time has been taken
            draw.stage = status

    def _seal_late(self, draw: DrawOfTheDay) -> None:
        """A slow machine: what was not sealed before it was drawn takes two superadmins' word."""
        first, second = (superadmin.twin() for superadmin in self._people.superadmins)
        first.must("POST", f"/v1/draws/{draw.name}/seal", {"reason": "the machine was too slow"})
        second.must("POST", f"/v1/draws/{draw.name}/seal/confirm")
        draw.late = True
