"""What is going to happen, decided before anything starts: pure, and always the same for one seed and length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, time
from random import Random

from demo.crowd import GAME, bet
from rules.draws import draw_name
from rules.games import outcomes

DAY = date(2026, 3, 2)  # only names the draws
FIRST_HOUR = 6

WORKERS = ("persist", "settle", "default")
POOLS = tuple(f"{name} pool" for name in WORKERS)

# What can be done to what. Each family deals from its own shuffled pack, so that everything comes about as often.
TARGETS = {
    "kill": ("api", "api worker", *WORKERS, *POOLS, "beat", "postgres", "postgres backend", "valkey"),
    "stop": ("api worker", *WORKERS, *POOLS, "beat", "postgres", "valkey"),
    "restart": ("api", *WORKERS, "beat", "postgres", "valkey"),
    "tear": ("cut before", "cut after", "delay", "double", "echo", "valkey connections", "postgres connections"),
    "fill": ("disk",),
    "cut": ("records", "bytes"),
    "reboot": ("terminal",),
}
# One round of faults; its order is the seed's.
ROUND = ("kill",) * 4 + ("stop",) * 2 + ("restart",) * 2 + ("tear",) * 4 + ("fill", "cut", "reboot")

BETWEEN_FAULTS_S = 3.5
STOP_S = (5.0, 20.0)
TEAR_S = (2.0, 6.0)
FULL_S = (2.0, 8.0)
CUT_RECORDS_MAX, CUT_BYTES_MAX = 30, 6_000

# One draw of each of these fates before any comes a second time.
FATES = ("plain", "corrected", "void", "closed early", "corrected twice", "plain", "void sealed", "corrected")
DRAWS_AFTER_S = 10.0  # from the cutoff to the moment it is drawn: what is not sealed by then is sealed late
PERIOD_S = (12.0, 40.0)  # from one draw's cutoff to the next one's, by the length of the run
SELLS_FOR = 1.8  # periods: there is always one that sells

LOAD_EVERY_S = 3.0
LOAD = (100_00, 5_000_00)


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong; `at` and `seconds` in seconds, `amount` what the kind counts in."""

    at: float
    kind: str
    target: str
    seconds: float = 0.0
    amount: int = 0

    def __str__(self) -> str:
        lasts = f" for {self.seconds:.1f} s" if self.seconds else ""
        amount = f" ({self.amount})" if self.amount else ""
        return f"{self.at:7.1f} s  {self.kind} {self.target}{amount}{lasts}"


@dataclass(frozen=True)
class DrawPlan:
    """A draw's life; times in seconds from the beginning, `results` what is entered one after the other."""

    name: str
    time: time
    opens: float
    cutoff: float
    fate: str
    results: tuple[str, ...]

    @property
    def draws(self) -> float:
        return self.cutoff + DRAWS_AFTER_S

    def __str__(self) -> str:
        drawn = f", drawn {', then '.join(self.results)}" if self.results else ""
        return f"{self.opens:7.1f} s  {self.name} opens, sells until {self.cutoff:.1f} s: {self.fate}{drawn}"


@dataclass(frozen=True)
class Load:
    """Credit given to a terminal, or taken from it where the amount is negative; centavos."""

    at: float
    terminal: int
    amount: int


@dataclass(frozen=True)
class Plan:
    seed: int
    seconds: float
    faults: Sequence[Fault]
    draws: Sequence[DrawPlan]
    loads: Sequence[Load]


def make_plan(seed: int, minutes: float, terminals: int) -> Plan:
    """Each part has a generator of its own, so that a change of one leaves the others as they were."""
    seconds = minutes * 60
    return Plan(
        seed,
        seconds,
        tuple(_faults(Random(f"{seed}/faults"), seconds)),
        tuple(_draws(Random(f"{seed}/draws"), seconds)),
        tuple(_loads(Random(f"{seed}/loads"), seconds, terminals)),
    )


def _endless(rng: Random, values: Sequence[str]) -> Iterator[str]:
    while True:
        yield from rng.sample(values, len(values))


def _faults(rng: Random, seconds: float) -> Iterator[Fault]:
    kinds = _endless(rng, ROUND)
    targets = {kind: _endless(rng, names) for kind, names in TARGETS.items()}
    at = BETWEEN_FAULTS_S
    while at < seconds:
        kind = next(kinds)
        yield _fault(rng, round(at, 1), kind, next(targets[kind]))
        at += BETWEEN_FAULTS_S * rng.uniform(0.3, 1.7)


def _fault(rng: Random, at: float, kind: str, target: str) -> Fault:
    lasts = {"stop": STOP_S, "fill": FULL_S, "tear": TEAR_S}.get(kind)
    if target.endswith("connections"):
        lasts = None
    most = {"records": CUT_RECORDS_MAX, "bytes": CUT_BYTES_MAX}.get(target)
    seconds = round(rng.uniform(*lasts), 1) if lasts else 0.0
    return Fault(at, kind, target, seconds, rng.randint(1, most) if most else 0)


def _draws(rng: Random, seconds: float) -> Iterator[DrawPlan]:
    shortest, longest = PERIOD_S
    period = min(longest, max(shortest, seconds / 12))
    fates = _endless(rng, FATES)
    for place in range(max(1, int(seconds / period))):
        cutoff = (place + 1) * period
        opens = max(0.0, cutoff - SELLS_FOR * period)
        fate = next(fates)
        count = {"corrected": 2, "corrected twice": 3}.get(fate, 0 if fate.startswith("void") else 1)
        at = time(FIRST_HOUR + place // 60, place % 60)
        yield DrawPlan(draw_name(GAME, DAY, at), at, round(opens, 1), round(cutoff, 1), fate, _results(rng, count))


def _results(rng: Random, count: int) -> tuple[str, ...]:
    """Numbers that people play, so that there are winners; each differs from the one before."""
    found: list[str] = []
    while len(found) < count:
        number = bet(rng).number
        if number in outcomes(GAME) and [number] != found[-1:]:
            found.append(number)
    return tuple(found)


def _loads(rng: Random, seconds: float, terminals: int) -> Iterator[Load]:
    at = LOAD_EVERY_S
    while at < seconds:
        amount = rng.randrange(LOAD[0], LOAD[1], 100)
        yield Load(round(at, 1), rng.randrange(terminals), amount if rng.random() < 0.7 else -amount)
        at += LOAD_EVERY_S * rng.uniform(0.5, 1.5)
