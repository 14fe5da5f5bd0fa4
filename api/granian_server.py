"""The HTTP server: `python -m api.granian_server`. Bounded queues, and an end in order.

At SIGTERM each process first tells everybody to come back on another connection: whoever keeps one open gets the answer
to his request with `Connection: close`, and `/health/ready` says 503, so that a balancer sends nothing new. Only then
it takes no more connections, answers what it has begun, and ends. Without this a request that is on its way on an open
connection while that is closed would be lost; its terminal would send it again, but need not.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress

import structlog
from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.log import LogLevels

from runtime.logging import configure_logging
from runtime.process import ENDS_IN_S, allow_files, share_heaps
from runtime.settings import Settings

_log = structlog.get_logger()

LEAVE = signal.SIGUSR1  # tells a process to send people away
SERVER_PID = "DRAWBREAK_API_SERVER"  # the variable that tells its processes whose they are

LEAVING_S = 2.0
# Longer than a statement of the API, which is what answers may wait for.
KILL_AFTER_S = 7

# Of each process. Terminals keep theirs between two sales, and the kernel does not spread them evenly: one too many
# would wait to be heard until another left. A connection has one request at a time, so no more than these wait for a
# thread.
CONNECTIONS = 4096
OTHER_FILES = 256  # of each process: its own connections, among others

# By default each thread has a heap of its own, and a login takes 64 MB for its hash: they grew to twice their size.
HEAPS = 2
# What may wait in the kernel to be accepted; more are refused there.
BACKLOG = 1024

assert LEAVING_S + KILL_AFTER_S < ENDS_IN_S


class Server(Granian):  # type: ignore[misc, valid-type]
    """Granian, which sends people away before it closes."""

    def shutdown(self, exit_code: int = 0) -> None:
        for worker in self.wrks:
            with suppress(ProcessLookupError):
                os.kill(worker.inner.pid, LEAVE)
        time.sleep(LEAVING_S)
        super().shutdown(exit_code)


def main() -> None:
    settings = Settings.from_env(os.environ)
    os.environ[SERVER_PID] = str(os.getpid())
    share_heaps(HEAPS)
    files = allow_files(CONNECTIONS + OTHER_FILES)
    if files < CONNECTIONS + OTHER_FILES:
        configure_logging(settings.log_level)
        _log.warning("few_files", wanted=CONNECTIONS + OTHER_FILES, allowed=files)
    Server(
        "api.wsgi:app",
        address=settings.api_host,
        port=settings.port,
        interface=Interfaces.WSGI,
        http=HTTPModes.http1,
        websockets=False,
        workers=settings.api_workers,
        blocking_threads=settings.api_threads,
        backlog=BACKLOG,
        backpressure=min(CONNECTIONS, max(1, files - OTHER_FILES)),
        log_level=LogLevels(settings.log_level),
        respawn_failed_workers=True,
        workers_kill_timeout=KILL_AFTER_S,
    ).serve()


if __name__ == "__main__":
    main()
