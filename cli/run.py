"""`drawbreak run`: the whole system on one machine, under supervisord."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import click

from cli.supervision import STDOUT, control_socket, flower_password_file, programs, supervisord_conf
from runtime.embedded_postgres import OWNER_ROLE, Postgres
from runtime.embedded_valkey import Valkey
from runtime.environment import Reader, directory
from runtime.process import DIE_WITH_PARENT
from runtime.secret_files import ensure_secret, new_password
from runtime.settings import Settings

# The first start makes a database cluster; on a slow disk that takes most of it.
ANNOUNCE_WAIT_SECONDS = 60


@click.command()
def run() -> None:
    """Start everything in the foreground: servers, API, workers, beat, Flower. Ctrl-C ends it.

    PostgreSQL and Redis are started here unless DATABASE_URL and REDIS_URL name others. Data, keys and logs
    are kept under VAR (var/run).
    """
    environ = dict(os.environ)
    read = Reader(environ)
    var_dir = read("VAR", "var/run", _supervised_directory)
    read.check()
    var_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    environ["VAR"] = str(var_dir)
    _check_alone(var_dir)
    embedded = _provide_servers(environ, var_dir)
    _provide_keys(environ, var_dir)
    settings = Settings.from_env(environ)
    _check_port(settings.api_host, settings.port)
    shutil.rmtree(settings.metrics_dir, ignore_errors=True)  # nobody counts yet; metrics of an older version go
    conf = var_dir / "supervisord.conf"
    _write_private(conf, supervisord_conf(settings, programs(settings, embedded)))
    # The programs end with this very process, which supervisord becomes.
    environ[DIE_WITH_PARENT] = str(os.getpid())
    click.echo(f"drawbreak starts; data, keys and logs are under {var_dir}")
    sys.stdout.flush()
    _make_stdout_reopenable()
    command = [sys.executable, "-m", "supervisor.supervisord", "-n", "-c", str(conf)]
    os.execve(sys.executable, command, environ)


def _supervised_directory(text: str) -> Path:
    path = directory(text)
    # supervisord's file knows no way to write them: it expands "%", some values twice, and ";" starts a comment.
    if set("%;\n") & set(str(path)):
        raise ValueError("must be a path without % and ;")
    return path


def _provide_servers(environ: dict[str, str], var_dir: Path) -> frozenset[str]:
    """Fill in the URLs that are not given. Returns which servers are to be started here."""
    embedded = set()
    if not environ.get("DATABASE_URL"):
        postgres = Postgres(var_dir / "postgres")
        environ["DATABASE_URL"] = postgres.url()
        environ["OWNER_DATABASE_URL"] = postgres.url(OWNER_ROLE)
        embedded.add("postgres")
    if not environ.get("REDIS_URL"):
        environ["REDIS_URL"] = Valkey(var_dir / "valkey").url()
        embedded.add("valkey")
    return frozenset(embedded)


def _provide_keys(environ: dict[str, str], var_dir: Path) -> None:
    for variable, name in (("JWT_KEY", "jwt.key"), ("CODE_KEY", "code.key")):
        if not environ.get(variable):
            ensure_secret(var_dir / "keys" / name)
    ensure_secret(flower_password_file(var_dir), new_password)


def _check_alone(var_dir: Path) -> None:
    with socket.socket(socket.AF_UNIX) as probe:
        if probe.connect_ex(str(control_socket(var_dir))) == 0:
            raise click.ClickException(f"drawbreak runs already on VAR {var_dir}")


def _check_port(host: str, port: int) -> None:
    """Say at once what the API would otherwise find out again and again."""
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            raise click.ClickException(f"PORT {port} on {host} cannot be used: {error.strerror}") from error


def _write_private(path: Path, text: str) -> None:
    draft = path.with_suffix(".new")
    with os.fdopen(os.open(draft, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)


def _make_stdout_reopenable() -> None:
    """supervisord opens /dev/stdout by name, which fails for sockets and after a change of user.

    Then `cat` passes on what comes.
    """
    try:
        os.close(os.open(STDOUT, os.O_WRONLY | os.O_APPEND))
    except OSError:
        # A session of its own: it must not end with Ctrl-C before the last words are said.
        cat = subprocess.Popen(["cat"], stdin=subprocess.PIPE, start_new_session=True)
        assert cat.stdin is not None
        os.dup2(cat.stdin.fileno(), sys.stdout.fileno())


@click.command(hidden=True)
def announce() -> None:
    """Say where everything is once the API answers."""
    settings = Settings.from_env(os.environ)
    host = "127.0.0.1" if settings.api_host in ("0.0.0.0", "::") else settings.api_host
    base = f"http://{host}:{settings.port}"
    while not _answers(f"{base}/health/live"):
        click.echo(f"the API does not answer yet; see {settings.var_dir / 'log'}")
    click.echo(f"API     {base}\nDocs    {base}/v1/docs")
    if settings.live:
        click.echo(f"Live    http://{host}:{settings.live_port}/socket.io")
    if settings.flower:
        login = f"login drawbreak, password in {flower_password_file(settings.var_dir)}"
        click.echo(f"Flower  http://127.0.0.1:{settings.flower_port}  ({login})")


def _answers(url: str) -> bool:
    # Straight to the address, whatever proxy the environment names.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + ANNOUNCE_WAIT_SECONDS
    while time.monotonic() < deadline:
        try:
            with opener.open(url, timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    return False
