"""Sessions: READ COMMITTED, bounded pool, timeouts set per connection."""

from __future__ import annotations

from sqlalchemy import create_engine
from sqlalchemy.orm import Session, sessionmaker

CONNECT_TIMEOUT_S = 3
POOL_WAIT_S = 3.0


def make_sessions(url: str, *, pool_size: int = 5, pool_wait_s: float = POOL_WAIT_S) -> sessionmaker[Session]:
    """A session factory on `url` with at most `pool_size` connections; it waits `pool_wait_s` seconds for one.

    `prepare_threshold=None` keeps the driver from naming prepared statements, which do not live behind PgBouncer's
    transaction mode; `pool_pre_ping` spends one round trip to notice a server that was restarted.
    """
    engine = create_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=pool_wait_s,
        pool_pre_ping=True,
        hide_parameters=True,  # an error's text goes to the log; what a statement was given may be a secret
        connect_args={"prepare_threshold": None, "connect_timeout": CONNECT_TIMEOUT_S},
    )
    return sessionmaker(engine, expire_on_commit=False)
