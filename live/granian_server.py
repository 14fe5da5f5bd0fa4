"""The server of live events: `python -m live.granian_server`. One process: a client that polls must always meet the
same one, so several are put side by side on ports of their own, behind a proxy that sends each client to one of them.
"""

from __future__ import annotations

import os

from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.log import LogLevels

from runtime.process import allow_files, share_heaps
from runtime.settings import Settings

SERVER_PID = "DRAWBREAK_LIVE_SERVER"  # the variable that tells its process whose it is
OTHER_FILES = 256
HEAPS = 2
KILL_AFTER_S = 5


def main() -> None:
    settings = Settings.from_env(os.environ)
    os.environ[SERVER_PID] = str(os.getpid())
    share_heaps(HEAPS)
    files = allow_files(settings.live_connections + OTHER_FILES)
    Granian(
        "live.app:app",
        address=settings.api_host,
        port=settings.live_port,
        interface=Interfaces.ASGI,
        http=HTTPModes.http1,
        websockets=True,
        workers=1,
        backpressure=min(settings.live_connections, max(1, files - OTHER_FILES)),
        log_level=LogLevels(settings.log_level),
        respawn_failed_workers=True,
        workers_kill_timeout=KILL_AFTER_S,
    ).serve()


if __name__ == "__main__":
    main()
