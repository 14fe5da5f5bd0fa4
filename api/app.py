"""The composition root of the HTTP process."""

from __future__ import annotations

import atexit
import threading

from flask import Flask

from actions.resources import Resources, open_resources
from api import (
    audit,
    auth,
    claims,
    dead_letters,
    documents,
    draws,
    figures,
    games,
    health,
    hooks,
    lane,
    metrics,
    notifications,
    people,
    printing,
    problems,
    rates,
    refusals,
    reports,
    results,
    tickets,
)
from api.background import Background
from api.bodies import BATCH_BYTES_MAX
from api.fields import DigitsConverter
from api.forwarded import behind_proxies
from api.probes import BrokerProbe
from api.refusal_writer import RefusalWriter
from api.served import NAME, Served, served
from api.tokens import Tokens
from intake.doorbell import Publisher, producer
from models.session import make_sessions
from runtime.clock import Clock
from runtime.settings import Settings

SQL_CONNECTIONS_MIN = 4
THREADS_PER_SQL_CONNECTION = 3
SQL_WAIT_S = 0.5

# In the order of the OpenAPI document.
_ROOMS = (
    *(auth, people, draws, figures, games, results, tickets, printing, claims, reports),
    *(notifications, dead_letters, audit, health, metrics, documents),
)


def create_app(settings: Settings, resources: Resources | None = None) -> Flask:
    """The application, its background threads running; `close` ends them. Asks no server for anything."""
    publisher = producer(settings.broker_url)
    res = resources or _open(settings, publisher)
    app = Flask("api", static_folder=None)
    # Otherwise `//` is answered with a redirect, as HTML, to the host that the request names.
    app.url_map.merge_slashes = False
    app.url_map.converters["int"] = DigitsConverter
    app.config["MAX_CONTENT_LENGTH"] = BATCH_BYTES_MAX
    # Every uncaught exception becomes a problem document, in tests as in production.
    app.config["PROPAGATE_EXCEPTIONS"] = False
    background, refused = Background(res), RefusalWriter(res.sessions)
    app.extensions[NAME] = Served(
        res,
        Tokens(app, settings, res.clock),
        background,
        BrokerProbe(publisher),
        refused,
        res.clock.now(),
        threading.Event(),
    )
    app.wsgi_app = lane.beside(app)  # type: ignore[assignment, method-assign]
    hooks.install(app, settings)
    # Outermost: the hooks look at the scheme, too.
    app.wsgi_app = behind_proxies(app.wsgi_app, settings.trusted_proxies)  # type: ignore[assignment, method-assign]
    rates.install(app, settings)
    refusals.install(app)
    problems.handle_all(app, background.wake)
    document = documents.describe(app)
    for room in _ROOMS:
        document.register_blueprint(room.blueprint)
    for threads in (background, refused):
        threads.start()
        atexit.register(threads.stop)
    return app


def _open(settings: Settings, publisher: Publisher) -> Resources:
    """Far fewer ways to PostgreSQL than threads, and no patience: when it hangs, threads are left for sales."""
    sessions = make_sessions(
        settings.database_url,
        pool_size=max(SQL_CONNECTIONS_MIN, settings.api_threads // THREADS_PER_SQL_CONNECTION),
        pool_wait_s=SQL_WAIT_S,
        answer_s=settings.database_answer_ms / 1000,
        statement_s=settings.database_statement_ms / 1000,
        breaker=settings.breaker,
    )
    return open_resources(
        settings, publisher, Clock(), connections=settings.api_threads, witness=True, sessions=sessions
    )


def close(app: Flask) -> None:
    """Ends the background threads; for tests and orderly stops."""
    for threads in (served(app).refusals, served(app).background):
        threads.stop()
        atexit.unregister(threads.stop)
