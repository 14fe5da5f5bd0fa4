"""Sessions: READ COMMITTED, bounded pool, and nobody waits without end for a server that does not answer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import psycopg
from psycopg.abc import RV, PQGen
from sqlalchemy import Engine, NullPool, QueuePool, create_engine, event, text
from sqlalchemy import exc as sql_errors
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import PoolProxiedConnection

from runtime.breaker import Breaker, Refused, Rule

POOL_WAIT_S = 3.0
ANSWER_S = 3.0
# Below the soft time limit of a task, which may be one long statement.
STATEMENT_S = 240.0
# A snapshot holds no row, so it may do nothing for longer than others, who do: as long as a task may take.
SNAPSHOT_IDLE_S = 300
# The least that the driver knows, for a server that takes connections and says nothing.
CONNECT_S = 2

# A host that is gone says nothing either: the kernel gives up after so long.
GONE_AFTER_S = 15
_TCP = {
    "keepalives_idle": 5,
    "keepalives_interval": 5,
    "keepalives_count": 2,
    "tcp_user_timeout": GONE_AFTER_S * 1000,
}


class NoAnswer(sql_errors.TimeoutError):
    """The database does not answer, or has not been answering and is not asked."""


class Connection(psycopg.Connection[Any]):
    """One that does not wait for ever: the driver has no timeout for an answer of its own."""

    answer_s = ANSWER_S
    statement_s = STATEMENT_S

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        # Nothing but the pool's ping runs outside of a transaction.
        is_ping = self.autocommit
        try:
            return super().wait(gen, interval, timeout or (self.answer_s if is_ping else self.statement_s))
        except psycopg.OperationalError as error:
            # Neither the server's own words nor a connection that broke: time is up.
            if error.sqlstate is None and not self.closed:
                self.close()  # nobody knows what would still be answered here
                if is_ping:  # a connection that broke is made anew; in place of one that hangs another would hang
                    raise NoAnswer("the database does not answer") from error
            raise


def make_sessions(
    url: str,
    *,
    pool_size: int = 5,
    pool_wait_s: float = POOL_WAIT_S,
    answer_s: float = ANSWER_S,
    statement_s: float = STATEMENT_S,
    breaker: Rule | None = None,
) -> sessionmaker[Session]:
    """A session factory on `url` with at most `pool_size` connections; it waits `pool_wait_s` seconds for one.

    A connection must answer within `answer_s` seconds when it is taken from the pool, and each statement within
    `statement_s`; then it is closed. With a `breaker`, whoever wants a connection while the database does not answer
    is refused at once: NoAnswer. With a `pool_size` of 0 each session opens a connection and closes it: for a process
    that forks others.

    `prepare_threshold=None` keeps the driver from naming prepared statements, which do not live behind PgBouncer's
    transaction mode; `pool_pre_ping` spends one round trip to notice a server that was restarted.
    """
    pool: dict[str, Any] = {"poolclass": NullPool}
    if pool_size:
        pool = {"pool_size": pool_size, "max_overflow": 0, "pool_timeout": pool_wait_s, "pool_pre_ping": True}
    engine = partial(_engine, url, answer_s, statement_s)
    if breaker is None:
        return sessionmaker(engine(**pool), expire_on_commit=False)
    prober = engine(poolclass=NullPool)
    guard = Breaker("database", breaker, failed=_failed, probe=lambda: prober.connect().close())
    guarded = engine(**pool, poolclass=_guarded(guard))
    event.listen(guarded, "engine_disposed", lambda _: guard.stop())
    return sessionmaker(guarded, expire_on_commit=False)


@contextmanager
def snapshot(sessions: sessionmaker[Session]) -> Iterator[Session]:
    """A session that sees one state of the database from its first query to its end, and writes nothing."""
    with sessions() as session:
        session.connection(execution_options={"isolation_level": "REPEATABLE READ", "postgresql_readonly": True})
        session.execute(text(f"SET LOCAL idle_in_transaction_session_timeout = '{SNAPSHOT_IDLE_S}s'"))
        yield session


def _engine(url: str, answer_s: float, statement_s: float, **pool: Any) -> Engine:
    engine = create_engine(
        url,
        **pool,
        hide_parameters=True,  # an error's text goes to the log; what a statement was given may be a secret
        connect_args={"prepare_threshold": None, "connect_timeout": CONNECT_S, **_TCP},
    )

    def connect(_: Any, __: Any, arguments: list[Any], options: dict[str, Any]) -> Connection:
        made = Connection.connect(*arguments, **options)
        made.answer_s, made.statement_s = answer_s, statement_s
        return made

    event.listen(engine, "do_connect", connect)
    return engine


def _guarded(breaker: Breaker) -> type[QueuePool]:
    """A pool whose every connection passes the breaker, used ones after they have answered a ping."""

    class Guarded(QueuePool):
        def connect(self) -> PoolProxiedConnection:
            try:
                with breaker.calling():
                    return super().connect()
            except Refused as error:
                raise NoAnswer("the database has not been answering") from error

    return Guarded


def _failed(error: Exception) -> bool | None:
    if isinstance(error, NoAnswer | psycopg.Error):
        return True
    return None  # a pool that has none left says nothing of the server
