"""The composition root of the worker processes: the Celery application that hands Resources to tasks."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import structlog
from celery import Celery
from celery.signals import celeryd_after_setup, setup_logging, task_success, worker_process_init, worker_shutting_down

from actions.reconcile import reconcile
from actions.resources import Resources, open_resources
from intake.gate_errors import Unreconciled
from models.session import make_sessions
from runtime.clock import Clock
from runtime.logging import configure_logging
from runtime.metrics import note_success
from runtime.process import ENDS_IN_S, collect_seldom, die_with_parent
from runtime.settings import Settings
from workers.steps import HELD_BACK
from workers.watchdog import HARD_AFTER_S, end_hard, end_watch, watch

if TYPE_CHECKING:
    from sqlalchemy.orm import Session, sessionmaker

    from workers.consumer import Keeper

CONNECTIONS = 3  # a task works on one at a time; a rebuild and a look without the lock take two more
FINISH_S = 5.0  # and the rest of ENDS_IN_S to stop what runs longer
assert FINISH_S < ENDS_IN_S
LETTER_STATEMENT_S = 5.0  # of the main process, which serves its pool and the broker with the same thread

TASK_MODULES = [
    "tasks.persist",
    "tasks.open_draws",
    "tasks.close_draws",
    "tasks.schedule",
    "tasks.seal",
    "tasks.settle",
    "tasks.check_pool",
    "tasks.void_draw",
    "tasks.sweep",
    "tasks.audit",
    "tasks.events",
    "tasks.claims",
    "tasks.notifications",
    "tasks.people",
    "tasks.make_report",
    "tasks.report_sweeps",
    "tasks.retries",
    "tasks.stuck",
]

# A line for every tick and every task, five a second on an idle machine: Flower shows those. And seventy for every PDF.
CHATTY_LOGGERS = ("celery.beat", "celery.worker.strategy", "celery.app.trace", "fontTools")

_log = structlog.get_logger()


class Application(Celery):
    """Celery with Resources, opened in each process when its first task asks for them."""

    task_cls = "workers.steps:Step"

    keeper: Keeper  # the main process's, once it consumes
    main_pid: int  # of the worker; set before its pool is forked

    _resources: Resources | None = None

    @property
    def resources(self) -> Resources:
        """This process's own; connections must not be shared across a fork."""
        if self._resources is None:
            settings = Settings.from_env(os.environ)
            self._resources = open_resources(settings, self, Clock(), connections=CONNECTIONS, witness=False)
        return self._resources

    @cached_property
    def letters(self) -> sessionmaker[Session]:
        """The main process's way to the database: it forks others, so no connection outlives what it is opened for."""
        url = Settings.from_env(os.environ).database_url
        return make_sessions(url, pool_size=0, statement_s=LETTER_STATEMENT_S)

    def run_with_resources(self, step: Callable[..., Any], *arguments: Any) -> Any:
        """Runs a step; one that finds the gate unreconciled has rolled back, so it is reconciled and run again."""
        if self.resources.gate.identity is None:
            reconcile(self.resources)
        try:
            return step(self.resources, *arguments)
        except Unreconciled as problem:
            _log.warning("gate_unreconciled", step=step.__name__, why=problem.why)
            reconcile(self.resources)
            return step(self.resources, *arguments)


app = Application("drawbreak", include=TASK_MODULES)
app.config_from_object("celeryconfig")


@setup_logging.connect
def _configure_logging(**_: Any) -> None:
    configure_logging(Settings.from_env(os.environ).log_level)
    for name in CHATTY_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)


@worker_process_init.connect
def _die_with_the_worker(**_: Any) -> None:
    """A pool process whose worker was killed would go on taking messages that nobody acknowledges."""
    die_with_parent(signal.SIGKILL, parent_pid=app.main_pid)
    collect_seldom()


@celeryd_after_setup.connect
def _watch(sender: str, instance: Any, **_: Any) -> None:
    """Before it connects: a worker may hang in that, too."""
    app.main_pid = os.getpid()
    watch(sender, instance.app.amqp.queues.consume_from, instance.concurrency)


@worker_shutting_down.connect
def _end_in_time(how: str, **_: Any) -> None:
    """What runs is finished; what takes longer than FINISH_S is stopped, and goes back to its queue.

    Without its broker a worker may hang in its own end, where it does not even look at signals.
    """
    end_watch()
    if how == "Warm":
        _later(FINISH_S, lambda: os.kill(os.getpid(), signal.SIGQUIT))
    _later(HARD_AFTER_S, end_hard)


def _later(seconds: float, what: Callable[[], object]) -> None:
    timer = threading.Timer(seconds, what)
    timer.daemon = True
    timer.start()


@task_success.connect
def _note_success(sender: Any, result: Any, **_: Any) -> None:
    if result != HELD_BACK:
        note_success(sender.name)
