"""What can go wrong between us and the gate, as the two errors that callers tell apart."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from kombu import exceptions as broker_errors
from redis import exceptions as redis_errors

from intake.client import ServerChanged
from rules.errors import IntakeUnavailable
from runtime.breaker import Refused

RETRY_AFTER_S = 1

# What the client libraries raise, of the gate's server or the broker's, when it does not answer.
SERVER_AWAY = (redis_errors.ConnectionError, redis_errors.TimeoutError, broker_errors.OperationalError)


class Unreconciled(IntakeUnavailable):
    """The gate is being rebuilt; ask again with the same id."""

    def __init__(self, why: str = "unknown", *, damaged: bool = False) -> None:
        """`damaged`: the server is the one that was reconciled, but what it holds can't be sold on."""
        super().__init__(None, retry_after=RETRY_AFTER_S)
        self.why = why
        self.damaged = damaged


class DrawUnknown(LookupError):
    """The gate holds no such draw; PostgreSQL may."""


@contextmanager
def translated() -> Iterator[None]:
    """Turns the client library's errors into IntakeUnavailable, or Unreconciled where a reconcile comes first."""
    try:
        yield
    except redis_errors.NoScriptError as error:
        raise Unreconciled("the server has lost its scripts") from error
    except ServerChanged as error:
        raise Unreconciled("another server answers") from error
    except (
        redis_errors.OutOfMemoryError,
        redis_errors.BusyLoadingError,
        redis_errors.ReadOnlyError,
    ) as error:
        raise IntakeUnavailable(retry_after=RETRY_AFTER_S) from error
    except redis_errors.ConnectionError as error:
        raise IntakeUnavailable(retry_after=RETRY_AFTER_S) from error
    except redis_errors.ResponseError as error:
        # A script that stumbles over what it finds: nobody sells on that before a rebuild has made it anew.
        raise Unreconciled(f"a script failed: {error}", damaged=True) from error
    except (redis_errors.RedisError, Refused, OSError) as error:
        raise IntakeUnavailable(retry_after=RETRY_AFTER_S) from error
