"""`drawbreak serve`: become one of the programs, once what it needs is there."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Mapping

import click
from sqlalchemy.exc import OperationalError, ProgrammingError

from cli.supervision import FLOWER_USER, FOR_SETUP_ONLY, flower_password_file
from migrations.runner import is_current
from runtime.process import DIE_WITH_PARENT, die_with_parent
from runtime.resp import pongs
from runtime.secret_files import read_secret
from runtime.settings import Settings

WAIT_SECONDS = 60

FLOWER_WAIT_MS = 5_000
FLOWER_TASKS_MAX = 20_000  # kept in its memory: an hour of an idle machine, which ticks five times a second

PYTHON_MODULE = (sys.executable, "-m")
CELERY = (*PYTHON_MODULE, "celery", "-A", "workers.app")


def _api(_: Settings) -> list[str]:
    return [*PYTHON_MODULE, "api.granian_server"]


def _live(_: Settings) -> list[str]:
    return [*PYTHON_MODULE, "live.granian_server"]


def _worker(name: str, queues: str, processes: int) -> Callable[[Settings], list[str]]:
    def command(settings: Settings) -> list[str]:
        level = settings.log_level.upper()
        return [*CELERY, "worker", "-Q", queues, "-c", str(processes), "-n", f"{name}@%h", "-l", level]

    return command


def _beat(settings: Settings) -> list[str]:
    # No pid file: one that a killed beat left would keep the next from starting.
    schedule = settings.var_dir / "beat-schedule"
    return [*CELERY, "beat", "-s", str(schedule), "--pidfile", "", "-l", settings.log_level.upper()]


def _flower(settings: Settings) -> list[str]:
    return [
        *PYTHON_MODULE, "celery", "-A", "workers.flower", "flower", f"--port={settings.flower_port}",
        # Looked at only: whoever has its password could else shut workers down and send any task.
        "--read-only", f"--max-tasks={FLOWER_TASKS_MAX}",
        # A worker that is busy answers late, and its queues would be missing on the pages.
        f"--inspect-timeout={FLOWER_WAIT_MS}",
    ]  # fmt: skip


COMMANDS: Mapping[str, Callable[[Settings], list[str]]] = {
    "api": _api,
    "worker-persist": _worker("persist", "persist", 2),
    "worker-settle": _worker("settle", "settle", 2),
    # By itself: long reports hold back other reports, and what goes out of the house; nothing else.
    "worker-reports": _worker("reports", "reports,notify", 3),
    # Opening, closing and sweeps: they must not wait behind a long seal.
    "worker-default": _worker("default", "default", 1),
    "live": _live,
    "beat": _beat,
    "flower": _flower,
}


@click.command(hidden=True)
@click.argument("name", type=click.Choice(list(COMMANDS)))
def serve(name: str) -> None:
    """Become the application NAME, after waiting up to a minute for its servers."""
    settings = Settings.from_env(os.environ)
    _wait_for_servers(settings)
    environ = {key: value for key, value in os.environ.items() if key not in FOR_SETUP_ONLY}
    if DIE_WITH_PARENT in environ:
        environ[DIE_WITH_PARENT] = "1"  # what it forks has another parent than the one named there
        if name != "api":
            # A worker never finishes its orderly shutdown when the broker is gone as well. Its children end
            # with it by Celery's own doing.
            die_with_parent(signal.SIGKILL)
    argv = COMMANDS[name](settings)
    os.execve(argv[0], argv, environ | _extra(name, settings))


def _extra(name: str, settings: Settings) -> dict[str, str]:
    if name == "flower":
        # It reads these itself. Not on the command line, which everyone on the machine can read.
        login = os.environ.get("FLOWER_BASIC_AUTH") or _flower_login(settings)
        return {"FLOWER_BASIC_AUTH": login, "FLOWER_ADDRESS": os.environ.get("FLOWER_ADDRESS", "127.0.0.1")}
    # Read by runtime.metrics. Flower's own metrics are its own affair.
    return {"PROMETHEUS_MULTIPROC_DIR": str(settings.metrics_dir)}


def _flower_login(settings: Settings) -> str:
    return f"{FLOWER_USER}:{read_secret(flower_password_file(settings.var_dir))}"


def _wait_for_servers(settings: Settings) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    pause = 0.2
    while missing := _missing(settings):
        if time.monotonic() > deadline:
            raise click.ClickException(f"gave up waiting: {missing}")
        time.sleep(pause)
        pause = min(pause * 1.5, 2.0)


def _missing(settings: Settings) -> str:
    """What is not there yet, in words; "" if all is."""
    # Sentinels answer for a server that they may not have found yet; the clients wait for that by themselves.
    if not settings.redis_url.startswith("sentinel") and not pongs(settings.redis_url):
        return "Redis does not answer"
    try:
        current = is_current(settings.database_url)
        return "" if current else "the schema is not the newest; run drawbreak setup"
    except (OperationalError, ProgrammingError) as error:
        return f"PostgreSQL: {error.orig}"
