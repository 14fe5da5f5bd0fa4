"""Lifetime of processes: a child ends with its parent, and a socket path that fits."""

from __future__ import annotations

import ctypes
import fcntl
import gc
import hashlib
import os
import resource
import signal
import socket
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

# The variable by which a process is told to end with its parent: "1", or the parent's process id.
DIE_WITH_PARENT = "DIE_WITH_PARENT"

# After SIGTERM every program of ours finishes or gives back what it has begun, and ends within so long.
ENDS_IN_S = 10

COLLECT_AFTER = 50_000  # objects made and not released; these are a few megabytes

M_ARENA_MAX = -8  # <malloc.h>
PR_SET_PDEATHSIG = 1  # <linux/prctl.h>

# sun_path holds 108 bytes on Linux and 104 on macOS, the closing zero included.
SOCKET_PATH_CHARS_MAX = 100


class Locked(RuntimeError):
    """Another process uses this directory."""


def die_with_parent(sig: signal.Signals = signal.SIGTERM, *, parent_pid: int | None = None) -> None:
    """Ask the kernel to send `sig` to this process when its parent dies. Does nothing outside Linux.

    The request survives exec, not fork. It follows the *thread* that started this process, so start children
    from a main thread. `parent_pid` is the parent as the caller knows it: if it is gone already, this exits.
    """
    if not sys.platform.startswith("linux"):
        return
    expected = os.getppid() if parent_pid is None else parent_pid
    _prctl(sig)
    if os.getppid() != expected:  # it died before the kernel was asked
        os._exit(1)


def _prctl(sig: int) -> None:
    # Looked up here and not at import: ctypes is only needed by the few processes that ask.
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, int(sig), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")


def spawn_options(sig: signal.Signals) -> dict[str, Any]:
    """Keyword arguments for `subprocess.Popen`: a session of its own, and `sig` when this process dies."""
    return {"start_new_session": True, "preexec_fn": _in_child(sig)}


def _in_child(sig: signal.Signals) -> Callable[[], None] | None:
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None, use_errno=True)  # before the fork: no imports or lookups in the child
    parent_pid = os.getpid()

    def ask() -> None:
        libc.prctl(PR_SET_PDEATHSIG, int(sig), 0, 0, 0)
        if os.getppid() != parent_pid:
            os._exit(1)

    return ask


def collect_seldom() -> None:
    """For a process that has loaded everything: what it holds by now stays, and needs no looking at.

    By default every 700 new objects are looked at for cycles, which a batch of tickets makes by the thousand and never
    in cycles: that took an eighth of a seal's time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, *gc.get_threshold()[1:])


def share_heaps(count: int) -> None:
    """Lets the threads of this process and its children share so many heaps. Does nothing without glibc."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if sys.platform.startswith("linux") and mallopt is not None:
        mallopt(M_ARENA_MAX, count)


def allow_files(count: int) -> int:
    """Sees to it that this process and its children may have so many files and connections open, or as many as the
    system lets them; gives how many that are, `count` at most."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return most


def lock_directory(directory: Path) -> int:
    """Hold `directory`/lock for as long as the returned descriptor, or a child that inherits it, is open.

    Raises `Locked` when somebody else holds it.
    """
    fd = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise Locked(f"{directory} is used by another process") from None
    return fd


def socket_directory(home: Path, longest_name: str) -> Path:
    """A 0700 directory whose sockets have paths that fit: `home`/s, else one under the temporary directory.

    The short one has a name that others can guess, so it is refused unless it is ours alone.
    """
    directory = home / "s"
    if len(str(directory / longest_name)) > SOCKET_PATH_CHARS_MAX:
        digest = hashlib.sha256(str(home).encode()).hexdigest()[:12]
        directory = Path(tempfile.gettempdir()) / f"drawbreak-{digest}"
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.mkdir(mode=0o700, exist_ok=True)
    status = directory.lstat()
    # A server that root starts may own its directory under another uid; root can enter it all the same.
    if status.st_mode & 0o077 or (os.geteuid() != 0 and status.st_uid != os.geteuid()):
        raise PermissionError(f"{directory} must be a directory of this user alone (mode 0700)")
    return directory


def free_port() -> int:
    """A TCP port of the loopback interface that nobody uses at this moment."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
