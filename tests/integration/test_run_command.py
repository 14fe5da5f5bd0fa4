"""`drawbreak run`: it comes up by itself, repairs itself, and leaves nothing behind."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from runtime.embedded_postgres import Postgres
from runtime.process import free_port

pytestmark = [
    pytest.mark.slow,
    pytest.mark.faults,
]

UP_SECONDS = 120
DOWN_SECONDS = 45
NOT_WANTED = ("DATABASE_URL", "OWNER_DATABASE_URL", "REDIS_URL", "BROKER_URL", "SUPERADMIN_PASSWORD")


class Run:
    """One running `drawbreak run` on a VAR and ports of its own."""

    def __init__(self, var_dir: Path) -> None:
        self.var_dir = var_dir
        self.port = free_port()
        # Found again by this word in their environment, whatever became of their parents.
        self.mark = secrets.token_hex(8)
        self.out = var_dir.parent / f"{self.mark}.out"
        environ = {key: value for key, value in os.environ.items() if key not in NOT_WANTED}
        environ |= {
            "VAR": str(var_dir),
            "PORT": str(self.port),
            "FLOWER_PORT": str(free_port()),
            "API_WORKERS": "1",
            "DRAWBREAK_TEST_RUN": self.mark,
        }
        with self.out.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "cli.main", "run"], env=environ, stdout=out, stderr=subprocess.STDOUT
            )

    def said(self) -> str:
        return self.out.read_text(errors="replace")

    def logs(self) -> str:
        """The last words of everybody."""
        files = sorted((self.var_dir / "log").glob("*.log"))
        return "\n".join(f"── {file.name}\n{file.read_text(errors='replace')[-2_000:]}" for file in files)

    def announced(self) -> bool:
        assert self.process.poll() is None, self.said()
        return "Docs " in self.said()

    def everything(self) -> list[psutil.Process]:
        """Every living process of this run."""
        return [process for process in psutil.process_iter() if self._is_ours(process)]

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            marked = process.environ().get("DRAWBREAK_TEST_RUN") == self.mark
            return marked and process.status() != psutil.STATUS_ZOMBIE
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return False

    def find(self, word: str) -> psutil.Process:
        """The process directly under supervisord whose command line has `word` in it."""
        children = psutil.Process(self.process.pid).children()
        return next(child for child in children if any(word in part for part in child.cmdline()))

    def draws(self) -> int:
        """How many are there to sell."""
        url = Postgres(self.var_dir / "postgres").url().replace("+psycopg", "", 1)
        with psycopg.connect(url) as sql:
            return len(sql.execute("SELECT FROM draws").fetchall())

    def answers(self) -> bool:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"http://127.0.0.1:{self.port}/health/live", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False


def wait_until(condition: Callable[[], object], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


@pytest.fixture
def run() -> Iterator[Run]:
    directory = Path(tempfile.mkdtemp(prefix="drawbreak-run-"))
    running = Run(directory / "var")
    yield running
    running.process.kill()
    running.process.wait()
    assert wait_until(lambda: not running.everything(), DOWN_SECONDS), running.everything()
    shutil.rmtree(directory)


def test_it_comes_up_repairs_itself_and_is_gone_after_kill_nine(run: Run) -> None:
    assert wait_until(run.announced, UP_SECONDS), run.said()
    assert run.answers()
    assert wait_until(lambda: "shown only now" in run.said(), UP_SECONDS), "the made password is shown"
    assert (run.var_dir / "keys" / "jwt.key").stat().st_mode & 0o777 == 0o600
    assert wait_until(run.draws, UP_SECONDS), "nothing to sell"

    first = run.find("granian")
    first.kill()
    assert wait_until(lambda: _replaced(run, "granian", first), UP_SECONDS), run.said()
    assert wait_until(run.answers, UP_SECONDS)

    run.process.kill()
    run.process.wait()
    assert wait_until(lambda: not run.everything(), DOWN_SECONDS), run.everything()


def _replaced(run: Run, word: str, old: psutil.Process) -> bool:
    try:
        return run.find(word) != old
    except (StopIteration, psutil.NoSuchProcess):
        return False


def test_sigterm_ends_everything_in_order(run: Run) -> None:
    assert wait_until(run.announced, UP_SECONDS), run.said()
    run.process.send_signal(signal.SIGTERM)
    assert wait_until(lambda: run.process.poll() is not None, 2 * DOWN_SECONDS), run.logs()
    assert run.process.returncode == 0, run.logs()
    # A helper process that holds nothing but a pipe to its parent may end a moment after it.
    assert wait_until(lambda: not run.everything(), DOWN_SECONDS), run.everything()
    log = (run.var_dir / "log" / "postgres.log").read_text()
    assert log.rstrip().endswith("database system is shut down"), run.logs()


def test_a_second_run_on_the_same_var_is_refused(run: Run) -> None:
    assert wait_until(run.announced, UP_SECONDS), run.said()
    environ = {**os.environ, "VAR": str(run.var_dir), "PORT": str(free_port())}
    second = subprocess.run(
        [sys.executable, "-m", "cli.main", "run"], env=environ, capture_output=True, text=True, timeout=60
    )
    assert second.returncode == 1
    assert "runs already" in second.stderr
