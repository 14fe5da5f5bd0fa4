"""What an HTTP server loads: `api.wsgi:app`."""

from __future__ import annotations

import os
import signal

from api.app import create_app
from api.granian_server import LEAVE
from api.served import served
from runtime.logging import configure_logging
from runtime.process import die_with_parent
from runtime.settings import Settings

# A worker whose server was killed would hold its witness slot and answer nobody.
die_with_parent()

_settings = Settings.from_env(os.environ)
configure_logging(_settings.log_level)

app = create_app(_settings)

signal.signal(LEAVE, lambda *_: served(app).leaving.set())
