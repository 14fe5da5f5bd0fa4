"""Telling workers that there is something to do. A lost ring costs nothing: sweeps look for themselves."""

from __future__ import annotations

import logging
import queue
import threading
from typing import Any, NamedTuple, Protocol

import redis
from celery import Celery

from intake import keys
from intake.gate_errors import translated

RINGS_MAX = 1_000
# A ring that waited longer than this has been overtaken by a sweep.
EXPIRES_S = 10
# One that must be answered is rung anew after so long, until it was.
AGAIN_S = 30

# The same for every application on the broker: how long a message may be worked on before another worker gets it.
VISIBILITY_TIMEOUT_S = 360

_log = logging.getLogger(__name__)


class Publisher(Protocol):
    """What sends a task's message by its name: a Celery application."""

    def send_task(self, name: str, **options: Any) -> Any: ...


class _Ring(NamedTuple):
    task: str
    arguments: tuple[Any, ...]
    again: bool


# The tasks that are rung for, and the queue of each; moving a task's code never moves its name.
QUEUES = {
    "tickets.persist": "persist",
    "draws.open": "default",
    "draws.close": "default",
    "draws.seal": "settle",
    "draws.settle": "settle",
    "draws.void": "settle",
    "draws.check": "settle",
    "wallets.push": "default",
    "events.send": "default",
    # Not before the sweeps, since somebody outside may let it wait for seconds, nor behind reports that wait.
    "notifications.deliver": "notify",
    "reports.make": "reports",
    "reports.expire": "reports",
}
# Of every other task.
DEFAULT_QUEUE = "default"

# The header of a message that is never held back, however often its task has failed: somebody says that it is time.
AGAIN = "again"


class Doorbell:
    """Publishes task messages from a thread of its own: half a millisecond each, and never in a caller's way."""

    def __init__(self, app: Publisher, client: redis.Redis) -> None:
        self._app = app
        self._client = client
        self._rings: queue.Queue[_Ring] = queue.Queue(RINGS_MAX)
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def ring(self, task: str, *arguments: Any, again: bool = False) -> None:
        """Asks for a task by its name. Never blocks, never raises; a full queue drops the ring.

        `again`: for a task that failed; it is tried even if it would be held back for that.
        """
        try:
            self._rings.put_nowait(_Ring(task, arguments, again))
        except queue.Full:
            return
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._publish_all, name="doorbell", daemon=True)
                self._thread.start()

    def unring(self, draw: str) -> None:
        """Takes a journal's bell away, before it is read: what comes later rings anew."""
        with translated():
            self._client.delete(keys.bell(draw))

    def _publish_all(self) -> None:
        while True:
            ring = self._rings.get()
            try:
                self._app.send_task(
                    ring.task,
                    args=ring.arguments,
                    queue=QUEUES.get(ring.task, DEFAULT_QUEUE),
                    headers={AGAIN: True} if ring.again else {},
                    expires=AGAIN_S if ring.again else EXPIRES_S,
                    ignore_result=True,
                    retry=False,
                )
            except Exception:  # whatever the broker's library raises: the sweep comes within a second
                _log.warning("a ring was lost: %s", ring.task, exc_info=True)


def producer(broker_url: str) -> Publisher:
    """A Celery application that only publishes."""
    app = Celery("drawbreak", broker=broker_url, set_as_current=False)
    app.conf.update(
        broker_connection_retry=False,
        broker_transport_options={
            "socket_timeout": 2,
            "socket_connect_timeout": 2,
            "visibility_timeout": VISIBILITY_TIMEOUT_S,
        },
        task_ignore_result=True,
    )
    publisher: Publisher = app
    return publisher
