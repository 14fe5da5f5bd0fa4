"""What supervisord is told: the programs, in which order they end, and where their output goes."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runtime.process import ENDS_IN_S, socket_directory
from runtime.settings import Settings

# What ends sooner has not started: the next try waits, one second longer each time. Enough for a program to
# wait for its servers, load itself, and find that it cannot work.
START_SECONDS = 10
START_RETRIES = 1_000_000  # never give up

# What has not ended in order by then is killed. The machine may be slow.
KILL_AFTER_SECONDS = 2 * ENDS_IN_S

LOG_BYTES_MAX = "10MB"
LOGS_KEPT = 3

# Variables that no other program is given.
FOR_SETUP_ONLY = ("OWNER_DATABASE_URL", "SUPERADMIN_PASSWORD")

STDOUT = "/dev/stdout"

FLOWER_USER = "drawbreak"


@dataclass(frozen=True, kw_only=True)
class Program:
    """One entry; `words` follow `drawbreak`. One that runs `once` is repeated only if it fails."""

    name: str
    words: Sequence[str]
    group: str = "apps"
    once: bool = False
    talks: bool = False  # its output is for the person who started everything
    stop_signal: str = "TERM"
    stop_wait_seconds: int = KILL_AFTER_SECONDS


def programs(settings: Settings, embedded: frozenset[str]) -> list[Program]:
    """What runs here; `embedded` names the servers that are not somebody else's."""
    servers = [
        # SIGINT is PostgreSQL's fast shutdown; on SIGTERM it would wait for clients to leave.
        Program(name="postgres", words=("server", "postgres"), group="servers", stop_signal="INT"),
        Program(name="valkey", words=("server", "valkey"), group="servers"),
    ]
    setup = ["setup", "--keep-trying", *(["--embedded-postgres"] if "postgres" in embedded else [])]
    apps = [
        Program(name="setup", words=setup, once=True, talks=True),
        Program(name="api", words=("serve", "api")),
        Program(name="worker-persist", words=("serve", "worker-persist")),
        Program(name="worker-settle", words=("serve", "worker-settle")),
        Program(name="worker-reports", words=("serve", "worker-reports")),
        Program(name="worker-default", words=("serve", "worker-default")),
        Program(name="beat", words=("serve", "beat")),
        Program(name="announce", words=("announce",), once=True, talks=True),
    ]
    if settings.live:
        apps.append(Program(name="live", words=("serve", "live")))
    if settings.flower:
        apps.append(Program(name="flower", words=("serve", "flower")))
    return [server for server in servers if server.name in embedded] + apps


def supervisord_conf(settings: Settings, entries: Sequence[Program]) -> str:
    """The text of the configuration file."""
    var_dir = settings.var_dir
    log_dir = var_dir / "log"
    log_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    control = control_socket(var_dir)
    sections: dict[str, dict[str, object]] = {
        "supervisord": {
            "nodaemon": "true",
            "silent": "true",
            "logfile": log_dir / "supervisord.log",
            "logfile_maxbytes": LOG_BYTES_MAX,
            "logfile_backups": LOGS_KEPT,
            "pidfile": var_dir / "supervisord.pid",
            # Said so that it does not warn: whoever starts this as root means it.
            **({"user": "root"} if os.geteuid() == 0 else {}),
        },
        # For `supervisorctl -c VAR/supervisord.conf`; also keeps a second supervisord off the same VAR.
        "unix_http_server": {"file": control, "chmod": "0700"},
        "supervisorctl": {"serverurl": f"unix://{control}"},
        "rpcinterface:supervisor": {
            "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"
        },
    }
    # The last group ends first: applications while the servers still answer.
    for priority, group in enumerate(("servers", "apps"), start=1):
        members = [entry.name for entry in entries if entry.group == group]
        if members:
            sections[f"group:{group}"] = {"programs": ",".join(members), "priority": priority}
    for entry in entries:
        sections[f"program:{entry.name}"] = _section(entry, log_dir)
    return "\n".join(_render(name, options) for name, options in sections.items())


def _section(entry: Program, log_dir: Path) -> dict[str, object]:
    command = shlex.join([sys.executable, "-m", "cli.main", *entry.words])
    section: dict[str, object] = {
        "command": command,
        "autorestart": "unexpected" if entry.once else "true",
        "exitcodes": "0",
        "startsecs": 0 if entry.once else START_SECONDS,
        "startretries": START_RETRIES,
        "stopsignal": entry.stop_signal,
        "stopwaitsecs": entry.stop_wait_seconds,
        # The signal goes to the main process, which ends its children in order; SIGKILL goes to all.
        "stopasgroup": "false",
        "killasgroup": "true",
        "redirect_stderr": "true",
    }
    if entry.talks:
        return section | {"stdout_logfile": STDOUT, "stdout_logfile_maxbytes": 0}
    log = {
        "stdout_logfile": log_dir / f"{entry.name}.log",
        "stdout_logfile_maxbytes": LOG_BYTES_MAX,
        "stdout_logfile_backups": LOGS_KEPT,
    }
    return section | log


def _render(name: str, options: dict[str, object]) -> str:
    lines = [f"{key}={value}" for key, value in options.items()]
    return "\n".join([f"[{name}]", *lines, ""])


def control_socket(var_dir: Path) -> Path:
    """Where a running supervisord listens for `supervisorctl`."""
    return socket_directory(var_dir, "supervisor.sock") / "supervisor.sock"


def flower_password_file(var_dir: Path) -> Path:
    return var_dir / "keys" / "flower.password"
