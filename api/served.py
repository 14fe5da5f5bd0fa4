"""What the process serves with, kept in the application's extensions by `create_app`."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime

from flask import Flask, current_app

from actions.resources import Resources
from api.background import Background
from api.probes import BrokerProbe
from api.refusal_writer import RefusalWriter
from api.tokens import Tokens

NAME = "drawbreak"


@dataclass(frozen=True)
class Served:
    """The application's parts."""

    res: Resources
    tokens: Tokens
    background: Background
    broker: BrokerProbe
    refusals: RefusalWriter
    started_at: datetime
    leaving: threading.Event  # set: the process is about to end, and sends everybody elsewhere


def served(app: Flask | None = None) -> Served:
    """The parts of this application, or of the current one."""
    found = (app or current_app).extensions[NAME]
    assert isinstance(found, Served)
    return found
