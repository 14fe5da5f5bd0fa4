"""How often: requests of a user or an address, logins of an account, guesses at a password.

Sales are counted in the gate, by the same call that decides them. Everything here is counted in the broker's
Redis, so that all processes count together; while that is away each counts for itself, and nothing is refused
with an error of ours.
"""

from __future__ import annotations

import ipaddress
import time
from dataclasses import dataclass
from hashlib import blake2b

import structlog
from flask import Flask, Response, current_app, request
from flask_limiter import ApplicationLimit, Limiter, RateLimitExceeded
from limits import RateLimitItem, RateLimitItemPerMinute, RateLimitItemPerSecond
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

# The gate counts these, and probes must be answered whatever happens; documents are read by people and cost nothing.
SALES = frozenset({"tickets.sell_ticket", "tickets.sell_tickets"})
UNCOUNTED_ROOMS = frozenset({"health", "metrics", "swagger_ui"})

# Whoever has one address of IPv6 has this much of the network.
IPV6_PREFIX = 64

_log = structlog.get_logger()


@dataclass(frozen=True)
class Rates:
    """The limits of one application, and what counts them."""

    limiter: Limiter
    logins: RateLimitItem
    logins_of_address: RateLimitItem
    # For a storage that goes away between two counts of one request; the limiter has its own for the first.
    spare: MovingWindowRateLimiter


def install(app: Flask, settings: Settings) -> None:
    """Counts every request from now on; call it after the hooks that give a request its id and its address."""
    uri, options = counters(settings.broker_url, settings.api_threads)
    limit = str(RateLimitItemPerSecond(settings.user_requests_per_s))
    limiter = Limiter(
        _bucket,
        application_limits=[ApplicationLimit(limit, key_function=_bucket, exempt_when=_is_uncounted)],
        storage_uri=uri,
        storage_options=options,
        strategy="moving-window",
        in_memory_fallback_enabled=True,
        swallow_errors=True,
    )
    limiter.init_app(app)
    app.register_error_handler(RateLimitExceeded, _of_limit)
    app.extensions[NAME] = Rates(
        limiter,
        RateLimitItemPerMinute(settings.logins_per_min),
        RateLimitItemPerMinute(settings.logins_per_min_address),
        MovingWindowRateLimiter(MemoryStorage()),
    )


def login_attempt(username: str, address: str, device_known: bool) -> None:
    """Counts a login before its password is looked at. Raises SlowDown.

    `device_known`: the account has logged in from this device before; False for a username that nobody has.
    Such a device is held to its own number of attempts, and neither strangers nor neighbours behind the same
    address can use these up.
    """
    rates = _rates()
    account, place = _digest(username.lower()), place_of(address)
    if device_known:
        _take(rates, rates.logins, "owner", account, place)
        return
    _take(rates, rates.logins, "login", account, place)
    _take(rates, rates.logins_of_address, "logins", place)
    _take(rates, STRANGERS, "strangers", account)


def password_attempt(user_id: int) -> None:
    """Counts a password or one-time code that somebody with a token gives: as many as logins. Raises SlowDown."""
    rates = _rates()
    _take(rates, rates.logins, "password", str(user_id))


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
    try:
        until = _refused_until(rates.limiter.limiter, limit, key)
    except Exception:  # whatever the storage's client raises
        _log.warning("counted_in_memory", exc_info=True)
        until = _refused_until(rates.spare, limit, key)
    if until is not None:
        _log.warning("too_many", what=key[0], limit=str(limit))
        raise SlowDown(retry_after=_seconds_until(until))


def _refused_until(strategy: RateLimiter, limit: RateLimitItem, key: tuple[str, ...]) -> float | None:
    """None: counted. Else when there is room again, in seconds of the epoch."""
    return None if strategy.hit(limit, *key) else strategy.get_window_stats(limit, *key).reset_time


def _seconds_until(instant: float) -> int:
    return max(1, int(instant - time.time() + 1))


def _bucket() -> str:
    return f"{_who()}/{'tickets' if request.blueprint == 'tickets' else 'all'}"


def _who() -> str:
    """The user whose token this is, verified; else the address."""
    if header := request.headers.get("Authorization"):
        try:
            return f"user/{served().tokens.cached_actor(header).id}"
        except Problem:
            pass
    return f"address/{place_of(request.remote_addr or '')}"


def _is_uncounted() -> bool:
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
