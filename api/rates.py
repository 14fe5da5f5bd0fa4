"""How often: requests of a user or an address, logins of an account, guesses at a password or a ticket's code.

Sales are counted in the gate, by the same call that decides them, and nothing here touches them. Everything else is
counted in the broker's Redis, so that all processes count together; while that is away each counts for itself, and
nothing is refused with an error of ours.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from threading import Lock
from typing import TypeVar

import structlog
from flask import Flask, Response, current_app, request
from flask_limiter import Limiter, RateLimitExceeded
from limits import RateLimitItem, RateLimitItemPerDay, RateLimitItemPerMinute, RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter, RateLimiter

from api import problems
from api.served import served
from intake.counters import counters
from rules.errors import Problem, SlowDown
from runtime.settings import Settings

NAME = "drawbreak-rates"

# Logins to one account from devices that it never logged in with, wherever they come from: what a guesser with
# many addresses can do. From a device that the account knows, the owner still gets in.
STRANGERS = RateLimitItemPerMinute(20, 15)
# The same from devices that it knows: their names can be guessed, too.
FAMILIAR = RateLimitItemPerMinute(100, 15)

# Wrong codes at one ticket: of one address or user; of all who verify it, without a login; of all who claim it. The
# last is the only one that strangers cannot use up.
GUESSES = RateLimitItemPerMinute(5)
VERIFY_GUESSES = RateLimitItemPerDay(20)
CLAIM_GUESSES = RateLimitItemPerDay(100)
# Whoever typed no wrong code for a ticket today is heard in any case: it may be its holder who stands before him.
FIRST_GUESS = RateLimitItemPerDay(1)
# One code of a ticket is looked at at a time, or many at once would all come before the first is counted.
GUESS_LOCKS = 256
GUESS_WAIT_S = 2.0

# The gate counts these, and probes must be answered whatever happens; documents are read by people and cost nothing.
# Logins have limits of their own: many agents stand behind a carrier's address.
LOGIN, REFRESH = "auth.login", "auth.refresh"
SALES = frozenset({"tickets.sell_ticket", "tickets.sell_tickets"})
UNCOUNTED_ROOMS = frozenset({"health", "metrics", "swagger_ui"})

# Whoever has one address of IPv6 has this much of the network.
IPV6_PREFIX = 64

T = TypeVar("T")
Count = tuple[RateLimitItem, tuple[str, ...]]

_log = structlog.get_logger()


@dataclass(frozen=True)
class Rates:
    """The limits of one application, and what counts them."""

    limiter: Limiter
    logins: RateLimitItem
    logins_of_address: RateLimitItem
    # For a storage that goes away between two counts of one request; the limiter has its own for the first.
    spare: MovingWindowRateLimiter
    asking: Callable[[], AbstractContextManager[None]]
    guessing: tuple[Lock, ...]


def install(app: Flask, settings: Settings) -> None:
    """Counts every request from now on; call it after the hooks that give a request its id and its address."""
    counted = counters(settings.broker_url, settings.api_threads, settings.breaker)
    limiter = Limiter(
        _bucket,
        storage_uri=counted.uri,
        storage_options=counted.options,
        strategy="moving-window",
        in_memory_fallback_enabled=True,
        swallow_errors=True,
    )
    # Its own hooks would look at every request, sales and probes too, and ask a storage that was away whether it is
    # back; so they are given to an application that serves nobody, and it is called here for what is counted.
    limiter.init_app(Flask(__name__, static_folder=None))
    limit = str(RateLimitItemPerSecond(settings.user_requests_per_s))
    count = limiter.shared_limit(limit, scope="requests", key_func=_bucket)(_let_through)

    def count_request() -> None:
        if not _is_uncounted():
            count()

    app.before_request(count_request)
    app.register_error_handler(RateLimitExceeded, _of_limit)
    app.extensions[NAME] = Rates(
        limiter,
        RateLimitItemPerMinute(settings.logins_per_min),
        RateLimitItemPerMinute(settings.logins_per_min_address),
        MovingWindowRateLimiter(MemoryStorage()),
        counted.asking,
        tuple(Lock() for _ in range(GUESS_LOCKS)),
    )


def login_attempt(username: str, address: str, device_known: bool) -> None:
    """Counts a login before its password is looked at. Raises SlowDown.

    `device_known`: the account has logged in from this device before; False for a username that nobody has.
    Attempts from such devices are counted apart from those of strangers, who so cannot lock the owner out, nor his
    neighbours behind one address.
    """
    rates = _rates()
    account, place = _digest(username.lower()), place_of(address)
    _take(rates, rates.logins, "owner" if device_known else "login", account, place)
    _take(rates, rates.logins_of_address, "familiar logins" if device_known else "logins", place)
    if device_known:
        _take(rates, FAMILIAR, "familiar", account)
    else:
        _take(rates, STRANGERS, "strangers", account)


def password_attempt(user_id: int) -> None:
    """Counts a password or one-time code that somebody with a token gives: as many as logins. Raises SlowDown."""
    rates = _rates()
    _take(rates, rates.logins, "password", str(user_id))


@contextmanager
def verifying(number: str, address: str) -> Iterator[Callable[[], None]]:
    """Around a look at the code of the ticket `number`, in its one spelling, for whoever asks from that address.

    Gives what is to be called when the code was wrong. Raises SlowDown, both before the look and by that call: then
    nothing may be answered about the code.
    """
    ticket = _digest(number)
    with _alone(ticket):
        counts: list[Count] = [(GUESSES, ("verify", ticket, place_of(address))), (VERIFY_GUESSES, ("verify", ticket))]
        _need_room(counts)
        yield lambda: _take_all(counts)


@contextmanager
def claiming(number: str, user_id: int) -> Iterator[Callable[[], None]]:
    """As `verifying`, for a claim by that user. Neither who verifies nor who guesses here locks out other counters."""
    ticket, user = _digest(number), str(user_id)
    first: Count = (FIRST_GUESS, ("claim-first", ticket, user))
    own: Count = (GUESSES, ("claim", ticket, user))
    everybodys: Count = (CLAIM_GUESSES, ("claim", ticket))
    with _alone(ticket):
        heard = _counting(_rates(), _full_until, first) is None
        _need_room([own] if heard else [own, everybodys])

        def wrong() -> None:
            if heard:
                for count in (first, everybodys):
                    _counting(_rates(), _refused_until, count)  # whether there was room or not
            _take_all([own] if heard else [own, everybodys])

        yield wrong


@contextmanager
def _alone(ticket: str) -> Iterator[None]:
    lock = _rates().guessing[int(ticket, 16) % GUESS_LOCKS]
    if not lock.acquire(timeout=GUESS_WAIT_S):
        raise SlowDown(retry_after=1)
    try:
        yield
    finally:
        lock.release()


def place_of(address: str) -> str:
    """What counts as one address: an IPv4 address, a network of IPv6."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return "nowhere"
    if found.version == 4:
        return str(found)
    return str(found.ipv4_mapped or ipaddress.ip_network((found, IPV6_PREFIX), strict=False).network_address)


def _rates() -> Rates:
    found = current_app.extensions[NAME]
    assert isinstance(found, Rates)
    return found


def _take(rates: Rates, limit: RateLimitItem, *key: str) -> None:
    _refuse_after(_counting(rates, _refused_until, (limit, key)), (limit, key))


def _take_all(counts: list[Count]) -> None:
    rates = _rates()
    for limit, key in counts:
        _take(rates, limit, *key)


def _need_room(counts: list[Count]) -> None:
    """Counts nothing. Raises SlowDown where nothing more can be counted."""
    rates = _rates()
    for count in counts:
        _refuse_after(_counting(rates, _full_until, count), count)


def _counting(rates: Rates, ask: Callable[[RateLimiter, Count], T], count: Count) -> T:
    try:
        with rates.asking():
            return ask(rates.limiter.limiter, count)
    except Exception:  # whatever the storage's client raises
        _log.warning("counted_in_memory", exc_info=True)
        return ask(rates.spare, count)


def _refuse_after(until: float | None, count: Count) -> None:
    limit, key = count
    if until is not None:
        _log.warning("too_many", what=key[0], limit=str(limit))
        raise SlowDown(retry_after=_seconds_until(until))


def _refused_until(strategy: RateLimiter, count: Count) -> float | None:
    """None: counted. Else when there is room again, in seconds of the epoch."""
    limit, key = count
    return None if strategy.hit(limit, *key) else strategy.get_window_stats(limit, *key).reset_time


def _full_until(strategy: RateLimiter, count: Count) -> float | None:
    """As `_refused_until`, but counts nothing."""
    limit, key = count
    return None if strategy.test(limit, *key) else strategy.get_window_stats(limit, *key).reset_time


def _seconds_until(instant: float) -> int:
    return max(1, int(instant - time.time() + 1))


def _let_through() -> None:
    """What the library puts its limit around."""


def _bucket() -> str:
    return f"{_who()}/{'tickets' if request.blueprint == 'tickets' else 'all'}"


def _who() -> str:
    """The user whose token this is, verified; else the address."""
    if header := request.headers.get("Authorization"):
        try:
            tokens = served().tokens
            if request.endpoint == REFRESH:
                return f"session/{tokens.refresher(header).session}"
            return f"user/{tokens.cached_actor(header).id}"
        except Problem:
            pass
    return f"address/{place_of(request.remote_addr or '')}"


def _is_uncounted() -> bool:
    if request.endpoint == LOGIN:
        return True
    return request.endpoint in SALES or request.blueprint in UNCOUNTED_ROOMS or request.method == "OPTIONS"


def _of_limit(_: RateLimitExceeded) -> Response:
    breached = _rates().limiter.current_limit
    try:
        until = float(breached.window.reset_time) if breached else 0.0
    except Exception:  # the storage went away since it refused
        until = 0.0
    return problems.answer(SlowDown(retry_after=_seconds_until(until)))


def _digest(text: str) -> str:
    """A key of one length for whatever somebody sends as a username."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
