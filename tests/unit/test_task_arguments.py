"""What a task is asked with is seen by whoever looks at Flower, the logs or dead letters."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

# A draw's name, a user's id, a delivery's number, a report's id. Whoever adds one says here that anybody may read it.
NAMES_AND_NUMBERS = {"name", "user_id", "delivery_id", "report_id"}

LISTS = """
import inspect
from workers.app import app
app.loader.import_default_modules()
for name, task in app.tasks.items():
    if not name.startswith("celery."):
        print(name, *inspect.signature(task.run).parameters)
"""


def test_no_task_takes_anything_but_names_and_numbers(tmp_path: Path) -> None:
    environ = {"VAR": str(tmp_path), "JWT_KEY": "a1" * 32, "CODE_KEY": "b2" * 32}
    environ |= {"DATABASE_URL": "postgresql+psycopg://app@/none", "REDIS_URL": "redis://127.0.0.1:1/0"}
    told = subprocess.run(
        [sys.executable, "-c", LISTS], env={**os.environ, **environ}, capture_output=True, text=True, check=True
    ).stdout
    parameters = {name: set(rest) for name, *rest in map(str.split, told.splitlines())}
    assert "tickets.persist" in parameters
    assert {name: odd for name, taken in parameters.items() if (odd := taken - NAMES_AND_NUMBERS)} == {}
