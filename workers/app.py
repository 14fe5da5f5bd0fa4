"""The composition root of the worker processes: the Celery application that hands Resources to tasks."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable
from typing import Any

import structlog
from celery import Celery
from celery.signals import setup_logging, worker_process_init

from actions.reconcile import reconcile
from actions.resources import Resources, open_resources
from intake.gate_errors import Unreconciled
from runtime.clock import Clock
from runtime.logging import configure_logging
from runtime.process import die_with_parent
from runtime.settings import Settings

CONNECTIONS = 3  # a task works on one at a time; a rebuild and a look without the lock take two more

TASK_MODULES = [
    "tasks.persist",
    "tasks.open_draws",
    "tasks.close_draws",
    "tasks.schedule",
    "tasks.seal",
    "tasks.settle",
    "tasks.void_draw",
    "tasks.sweep",
    "tasks.audit",
    "tasks.claims",
    "tasks.people",
]

# A line for every tick and every task, five a second on an idle machine: Flower shows those.
CHATTY_LOGGERS = ("celery.beat", "celery.worker.strategy", "celery.app.trace")

_log = structlog.get_logger()


class Application(Celery):
    """Celery with Resources, opened in each process when its first task asks for them."""

    _resources: Resources | None = None

    @property
    def resources(self) -> Resources:
        """This process's own; connections must not be shared across a fork."""
        if self._resources is None:
            settings = Settings.from_env(os.environ)
            self._resources = open_resources(settings, self, Clock(), connections=CONNECTIONS, witness=False)
        return self._resources

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
    die_with_parent(signal.SIGKILL)
