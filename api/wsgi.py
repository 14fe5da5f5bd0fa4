"""What an HTTP server loads: `api.wsgi:app`."""

from __future__ import annotations

import os
import signal

from api.app import create_app
from api.granian_server import LEAVE, SERVER_PID
from api.served import served
from runtime.logging import configure_logging
from runtime.process import collect_seldom, die_with_parent
from runtime.settings import Settings

# A worker whose server was killed would run on beside those of the next one. It may have been killed while this one
# was loading; and until it serves, this one hears no signal but SIGKILL.
_server = os.environ.get(SERVER_PID)
die_with_parent(signal.SIGKILL, parent_pid=int(_server) if _server else None)

_settings = Settings.from_env(os.environ)
configure_logging(_settings.log_level)

app = create_app(_settings)

collect_seldom()

signal.signal(LEAVE, lambda *_: served(app).leaving.set())
